"""Find the files of a dataset on another machine, or bring them there once; without torch.

What a node has counts as the same where names, sizes and times are: to read all of it takes minutes where it is large.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs

from bnexp.config.data_section import OWN_PATHS, DataConfig, DatasetName, OwnData
from bnexp.data.sources.place import own_path
from bnexp.document.writing import counted
from bnexp.errors import ConfigError

MOST_BYTES = 4 * 2**30
"""Files of a dataset that are brought; what is larger belongs on a file system that all machines share."""

_S = 10**9
_IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_IDX_FOLDERS: dict[DatasetName, tuple[str, ...]] = {
    "mnist": ("MNIST/raw", "MNIST", "mnist", ""),
    "fashion_mnist": ("FashionMNIST/raw", "FashionMNIST", "fashion-mnist", ""),
    "kmnist": ("KMNIST/raw", "KMNIST", "kmnist", ""),
}
_ARCHIVES: dict[DatasetName, str] = {
    "cifar10": "cifar-10-binary.tar.gz",
    "cifar100": "cifar-100-binary.tar.gz",
}
"""Where `data/load.py` finds the published datasets in a data folder; a test holds the two together."""


@dataclass(frozen=True)
class DataFiles:
    """The files of a dataset on the machine of the caller.

    Attributes:
        root: the folder above them, absolute.
        sizes: in bytes, by their names below it.
        times: when they were last changed, in nanoseconds, by their names; none for published ones, which never change.
        path: what the config says, where that leads to them from anywhere; None where they lie in the data folder.
    """

    root: str
    sizes: Mapping[str, int]
    times: Mapping[str, int]
    path: str | None = None

    @property
    def digest(self) -> str:
        """A short name for them; others of the same names and sizes have another one."""
        known_by = [self.root, dict(self.sizes), dict(self.times)]
        return hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest()[:24]

    def lie_in(self, place: Path) -> bool:
        """Tell whether files of these names and sizes lie in a folder."""
        try:
            return all((place / name).stat().st_size == size for name, size in self.sizes.items())
        except OSError:
            return False

    def are_those_in(self, place: Path) -> bool:
        """Tell whether they lie in a folder, changed in the same second, too: as large may be what has other pixels."""
        with suppress(OSError):
            there = {name: (place / name).stat().st_mtime_ns for name in self.times}
            return self.lie_in(place) and all(there[name] // _S == time // _S for name, time in self.times.items())
        return False

    def leading_to(self, place: Path) -> dict[str, Path]:
        """Return where the config's path leads where the files lie in `place`; nothing where that is known."""
        if self.path is None or str(place) == self.root:
            return {}
        is_folder = os.path.abspath(Path(self.path).expanduser()) == self.root
        return {self.path: place if is_folder else place / next(iter(self.sizes))}

    def read(self) -> dict[str, bytes]:
        """Return their contents.

        Raises:
            ConfigError: they are too many bytes to be brought to other machines.
        """
        if (size := sum(self.sizes.values())) > MOST_BYTES:
            raise ConfigError(
                f"{self.root}: {counted(len(self.sizes), 'file')} of {size / 1e9:.1f} GB in all, which a node does not "
                f"have with the same sizes and times, and more than the {MOST_BYTES / 1e9:.1f} GB that are brought to "
                "it; put them on a file system that all nodes share, or copy them there with rsync -a"
            )
        return {name: (Path(self.root) / name).read_bytes() for name in self.sizes}


class DatasetsHere:
    """The datasets of a sweep on the machine of the caller, each looked up and read once for all runs that have it.

    Args:
        data_dir: where datasets lie here.
        put: makes contents available to other machines; what it returns is handed to them.
    """

    def __init__(self, data_dir: Path, put: Callable[[dict[str, bytes]], Any]) -> None:
        self._data_dir, self._put = data_dir, put
        self._files: dict[str, list[DataFiles]] = {}
        self._places: dict[str, dict[str, str | None]] = {}
        self._contents: dict[str, Any] = {}

    def files_of(self, data: DataConfig) -> list[DataFiles]:
        """Return the files of a dataset, as the function does."""
        key = data.model_dump_json()
        if key not in self._files:
            self._files[key] = files_of(data, self._data_dir)
        return self._files[key]

    def contents_of(self, files: DataFiles) -> Any:
        """Return what stands for the contents of files.

        Raises:
            ConfigError: they are too large.
        """
        if files.digest not in self._contents:
            self._contents[files.digest] = self._put(files.read())
        return self._contents[files.digest]

    def places_of(self, data: DataConfig) -> dict[str, str | None]:
        """Return where a dataset lies, for the records of a run: `data_dir` and `data_path`."""
        key = data.model_dump_json()
        if key not in self._places:
            path = os.path.abspath(own_path(data, self._data_dir)) if isinstance(data, OwnData) else None
            self._places[key] = {"data_dir": str(self._data_dir), "data_path": path}
        return self._places[key]


def files_of(data: DataConfig, data_dir: Path) -> list[DataFiles]:
    """Return the files of a dataset on this machine, those of each folder together; none where it has or needs none."""
    if isinstance(data, OwnData):
        return _own_files(data, data_dir)
    for folder in _IDX_FOLDERS.get(data.dataset, ()):
        both = [[os.path.join(folder, name + end) for end in ("", ".gz")] for name in _IDX_FILES]
        here = [[name for name in pair if (data_dir / name).is_file()] for pair in both]
        if all(here):
            return [replace(_measured(data_dir, [name for pair in here for name in pair]), times={})]
    archive = _ARCHIVES.get(data.dataset)
    return [replace(_measured(data_dir, [archive]), times={})] if archive and (data_dir / archive).is_file() else []


def _own_files(data: OwnData, data_dir: Path) -> list[DataFiles]:
    """Return the files of a set of the user's own, and of its validation part where that lies at a place of its own."""
    elsewhere, inside = list[DataFiles](), list[str]()
    for key in OWN_PATHS:
        if not (written := getattr(data, key)):
            continue
        place, path = own_path(data, data_dir, key), Path(written).expanduser()
        if path.is_absolute() or ".." in path.parts:
            root = place if place.is_dir() else place.parent
            elsewhere.append(_measured(root, _names(place, root), written))
        else:
            inside += _names(place, data_dir)
    return [*([_measured(data_dir, inside)] if inside else []), *elsewhere]


def _names(place: Path, root: Path) -> list[str]:
    return sorted(_below(place, root)) if place.is_dir() else [os.path.relpath(place, root)]


def find(files: DataFiles, own_data_dir: Path) -> Path | None:
    """Return the folder on this machine that holds a caller's files: that of the same name, or the data folder here."""
    places = [Path(files.root), *([own_data_dir] if files.path is None else [])]
    brought = _brought(files)
    return next(filter(files.are_those_in, places), brought if files.lie_in(brought) else None)


def bring(files: DataFiles, contents: Mapping[str, bytes]) -> Path:
    """Write a caller's files to the user's cache on this machine, in one move, and return the folder above them."""
    place = _brought(files)
    aside = place.with_name(f".{place.name}.{secrets.token_hex(8)}.tmp")
    try:
        for name in files.sizes:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_bytes(contents[name])
        if place.exists() and not files.lie_in(place):
            shutil.rmtree(place)
        if not place.exists():
            aside.rename(place)
    except OSError:
        if not files.lie_in(place):  # another process may have brought them meanwhile
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place


def _brought(files: DataFiles) -> Path:
    return Path(platformdirs.user_cache_dir("bnexp", appauthor=False)) / "datasets" / files.digest


def _below(folder: Path, root: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        paths = (os.path.join(place, name) for name in names)
        yield from (os.path.relpath(path, root) for path in paths if os.path.isfile(path))


def _measured(root: Path, names: list[str], path: str | None = None) -> DataFiles:
    found = {name: (root / name).stat() for name in names}
    sizes, times = ({name: getattr(one, what) for name, one in found.items()} for what in ("st_size", "st_mtime_ns"))
    return DataFiles(os.path.abspath(root), sizes, times, path)
