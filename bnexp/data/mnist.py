"""MNIST, Fashion-MNIST and Kuzushiji-MNIST: downloaded, checked byte for byte, and never half used.

torchvision knows the addresses and the checksums of the archives, and its folder, such as `MNIST/raw/`, is where a
download goes. Other people ship the same four files elsewhere, packed or not, and packed anew: what a file holds
decides, not how it was packed. They are read here, in the bytes that were checked: torchvision would prefer the
unchecked `processed/` of its old versions, and its import takes longer than all the rest of a start.
"""

import http.client
import math
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bnexp.config.data_section import DatasetName
from bnexp.data.download import FETCHED_AGAIN, Wanted, fetching, gunzip, md5, packed_limit, retrieve
from bnexp.data.parts import ImageSet, Part
from bnexp.data.torchvision_import import torchvision_datasets
from bnexp.errors import BnexpError
from bnexp.files import read_file

CLASSES = 10

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class IdxFile:
    """One file of the set, by its name without `.gz`.

    Its MD5 is not always known; then that of the published archive stands in, whose last bytes hold the file's CRC-32.
    """

    name: str
    examples: int
    md5: str | None = None
    archive_md5: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 28, 28) of images or (N,) of labels, one byte each."""
        return (self.examples, 28, 28) if "images" in self.name else (self.examples,)

    @property
    def header(self) -> bytes:
        """The first bytes: a magic number for bytes in so many dimensions, and the extent of each."""
        return bytes((0, 0, 8, len(self.shape))) + b"".join(extent.to_bytes(4, "big") for extent in self.shape)

    @property
    def size(self) -> int:
        """Bytes of the intact file."""
        return len(self.header) + math.prod(self.shape)

    @property
    def archive(self) -> str:
        """Name of the file as it is published."""
        return f"{self.name}.gz"

    def path_in(self, folder: Path) -> Path:
        """Return the file in a folder, or its archive where only that is there; Kaggle has a dot before `idx`."""
        names = (self.name, self.archive, *(name.replace("-idx", ".idx") for name in (self.name, self.archive)))
        return next((folder / name for name in names if (folder / name).is_file()), folder / self.name)


@dataclass(frozen=True)
class IdxSet:
    """A dataset in MNIST's file format, under the name that torchvision gives it.

    The files are the images and the labels to train on, and the images and the labels of the test.
    """

    torchvision_class: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    published_as: str
    """the folder of its authors and of Debian's package"""

    def folder(self, data_dir: Path) -> Path:
        """Return the folder that holds all files, packed or not; torchvision's, where none does."""
        of_torchvision = data_dir / self.torchvision_class / "raw"
        places = (of_torchvision, of_torchvision.parent, data_dir / self.published_as, data_dir)
        return next((place for place in places if not self.missing(place)), of_torchvision)

    def missing(self, folder: Path) -> list[str]:
        """Return the names of the files that a folder holds neither packed nor unpacked."""
        return [file.name for file in self.files if not file.path_in(folder).is_file()]


MNIST = IdxSet(
    "MNIST",
    (
        IdxFile("train-images-idx3-ubyte", 60_000, md5="6bbc9ace898e44ae57da46a324031adb"),
        IdxFile("train-labels-idx1-ubyte", 60_000, md5="a25bea736e30d166cdddb491f175f624"),
        IdxFile("t10k-images-idx3-ubyte", 10_000, md5="2646ac647ad5339dbf082846283269ea"),
        IdxFile("t10k-labels-idx1-ubyte", 10_000, md5="27ae3e4e09519cfbb04c329615203637"),
    ),
    published_as="mnist",
)
FASHION_MNIST = IdxSet(
    "FashionMNIST",
    (
        IdxFile("train-images-idx3-ubyte", 60_000, md5="f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        IdxFile("train-labels-idx1-ubyte", 60_000, md5="9018921c3c673c538a1fc5bad174d6f9"),
        IdxFile("t10k-images-idx3-ubyte", 10_000, md5="8181f5470baa50b63fa0f6fddb340f0a"),
        IdxFile("t10k-labels-idx1-ubyte", 10_000, md5="15d484375f8d13e6eb1aabb0c3f46965"),
    ),
    published_as="fashion-mnist",
)
KMNIST = IdxSet(
    "KMNIST",
    (
        IdxFile("train-images-idx3-ubyte", 60_000, archive_md5="bdb82020997e1d708af4cf47b453dcf7"),
        IdxFile("train-labels-idx1-ubyte", 60_000, archive_md5="e144d726b3acfaa3e44228e80efcd344"),
        IdxFile("t10k-images-idx3-ubyte", 10_000, archive_md5="5c965bf0a639b31b8f53240b1b52f4d7"),
        IdxFile("t10k-labels-idx1-ubyte", 10_000, archive_md5="7320c461ea6c1c855c0b718fb2a4b134"),
    ),
    published_as="kmnist",
)
IDX_SETS = (MNIST, FASHION_MNIST, KMNIST)


def load_idx_set(idx_set: IdxSet, dataset: DatasetName, data_dir: Path, download: bool) -> ImageSet:
    """Return the dataset; torchvision's folder lies in `data_dir`, and `download` fetches what is missing.

    Raises:
        ConfigError: missing and not to be had.
        BnexpError: a file is truncated or corrupt; the message names it.
    """
    folder = idx_set.folder(data_dir)
    if missing := idx_set.missing(folder):
        wanted = Wanted(dataset, folder, missing, "packed as .gz or not")
        if not download:
            raise wanted.refused("downloading is off (data.download: false)")
        _download(idx_set, wanted, data_dir)
    images, labels, test_images, test_labels = (_read(folder, file) for file in idx_set.files)
    # (N, H, W) -> (N, 1, H, W)
    train, test = Part(images.unsqueeze(1), labels.long()), Part(test_images.unsqueeze(1), test_labels.long())
    return ImageSet(train, test)


def _download(idx_set: IdxSet, wanted: Wanted, data_dir: Path) -> None:
    """Fetch the set, unpack it and move it into place file by file."""
    published = getattr(torchvision_datasets(), idx_set.torchvision_class)
    checksums = dict(published.resources)
    with fetching(wanted, data_dir) as aside:
        for file in idx_set.files:
            packed = aside / file.archive
            _fetch(published.mirrors, packed, checksums[file.archive], packed_limit(file.size))
            (aside / file.name).write_bytes(gunzip(packed.read_bytes(), file.size))
        wanted.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(aside.iterdir()):
            path.replace(wanted.folder / path.name)


def _fetch(mirrors: Sequence[str], path: Path, checksum: str, limit: int) -> None:
    """Download a file from the first place that has it, or raise what the last one answered."""
    for mirror in mirrors[:-1]:
        with suppress(OSError, http.client.HTTPException):
            return retrieve(f"{mirror}{path.name}", path, checksum, limit)
    return retrieve(f"{mirrors[-1]}{path.name}", path, checksum, limit)


def _read(folder: Path, file: IdxFile) -> Tensor:
    """Return the bytes of a file, packed or not, in its shape, after their size and checksum were found right."""
    path = file.path_in(folder)
    try:
        if path.suffix == ".gz":
            content = np.frombuffer(bytearray(gunzip(read_file(path, packed_limit(file.size)), file.size)), np.uint8)
            size = content.size
        else:
            size = path.stat().st_size
            content = np.fromfile(path, dtype=np.uint8, count=file.size if size == file.size else 0)
    except (OSError, EOFError, zlib.error) as error:
        raise BnexpError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if content.size != file.size:
        found = f"{size:,} bytes, expected {file.size:,}"
        if own := _count_of_another(path, file):
            raise BnexpError(
                f"{path}: {found}: a set of {own:,} examples, which is not the published one; for one of your own, "
                "data.dataset: npz and np.savez (docs/config.md)"
            )
        raise BnexpError(f"{path}: {found}: truncated or not this file; {FETCHED_AGAIN}")
    if not _is_intact(content, file, path.with_name(file.archive)):
        _refuse_other_set(path, md5(content.data))
        raise BnexpError(f"{path}: corrupt: its checksum is not that of the published file; {FETCHED_AGAIN}")
    return torch.from_numpy(content[len(file.header) :]).view(file.shape)


def _count_of_another(path: Path, file: IdxFile) -> int:
    """Return how many examples a whole file of the same format holds that is another set; 0 for a damaged one."""
    with path.open("rb") as stored:
        start = stored.read(len(file.header))
    axes = len(file.shape)
    extents = [int.from_bytes(start[place : place + 4], "big") for place in range(4, 4 + 4 * axes, 4)]
    whole = start[:4] == file.header[:4] and path.stat().st_size == len(file.header) + math.prod(extents)
    return extents[0] if whole else 0


def _refuse_other_set(path: Path, digest: str) -> None:
    """Refuse a file of another set of the same format, by the name of that set."""
    for idx_set in IDX_SETS:
        if digest in {file.md5 for file in idx_set.files}:
            raise BnexpError(
                f"{path}: this is a file of {idx_set.torchvision_class}; move its files into a folder "
                f"{idx_set.published_as}/ of the data folder, or ask for that dataset"
            )


def _is_intact(content: Bytes, file: IdxFile, archive: Path) -> bool:
    """Tell whether a file of the right size holds what was published, as far as its checksums can tell.

    Without a checksum of the file itself, header and labels must be possible ones, it is no file of another set, and
    an archive beside it stands in. An archive that is not the published one says nothing about the file that is used.
    """
    digest = md5(content.data)
    if file.md5 is not None:
        return digest == file.md5
    start = len(file.header)
    if content[:start].tobytes() != file.header or (len(file.shape) == 1 and content[start:].max() >= CLASSES):
        return False
    if any(digest == other.md5 for idx_set in IDX_SETS for other in idx_set.files):
        return False
    try:
        packed = read_file(archive, packed_limit(file.size))
    except OSError:
        return True
    return md5(packed) != file.archive_md5 or zlib.crc32(content.data) == int.from_bytes(packed[-8:-4], "little")
