"""Decoded images, kept so that a folder is decoded once.

One file per folder and `data.image_size`, in NumPy's own format (.npz, nothing pickled, with a checksum of each
array), written aside and moved into place. It holds the fingerprint of the folder: once that has changed, the images
are decoded anew. It lies in `.bnexp-cache/` in the data folder, or in the user's cache where that cannot be written.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bnexp.sources.decode import Images

FORMAT = 1


@dataclass(frozen=True)
class About:
    """What a cache file says about its images.

    Attributes:
        fingerprint: of the folder that they come from.
        shape: channels, height and width.
        classes: their names.
        labels: class of each image that could be read.
        train_examples: how many of them, from the first, are to train on; None when the folder does not say.
        broken: path and reason of each image that could not be read.
        sizes: how many different sizes the images had.
    """

    fingerprint: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    train_examples: int | None
    broken: tuple[tuple[str, str], ...]
    sizes: int


def cache_name(folder: Path, image_size: tuple[int, int] | None) -> str:
    """Return the name of the file for a folder and a size."""
    key = json.dumps([FORMAT, os.path.abspath(folder), image_size])
    return f"{folder.name}-{hashlib.blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=6).hexdigest()}.npz"


def cache_folders(data_dir: Path) -> Iterator[Path]:
    """Yield where a cache may lie, the preferred place first."""
    yield data_dir / ".bnexp-cache"
    with contextlib.suppress(RuntimeError):  # no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnexp"


def find_cache(data_dir: Path, name: str, fingerprint: str) -> tuple[Path, About] | None:
    """Return the cache file that fits the folder as it is now, and what it says, or None."""
    for place in cache_folders(data_dir):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            with open(place / name, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = _about(json.loads(arrays["about"].tobytes()))
            if about.fingerprint == fingerprint:
                return place / name, about
    return None


def read_cache(path: Path) -> Images | None:
    """Return the images of a cache file, uint8 (N, C, H, W), or None where it turns out to be damaged."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            images: Images = arrays["images"]
            return images
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def write_cache(data_dir: Path, name: str, about: About, images: Images) -> Path | None:
    """Write a cache file in one move, and return where; None where no place can be written."""
    text = np.frombuffer(json.dumps(asdict(about)).encode(), dtype=np.uint8)
    for place in cache_folders(data_dir):
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".writing-", dir=place) as aside:
                np.savez(Path(aside) / name, about=text, images=images)
                (Path(aside) / name).replace(place / name)
            return place / name
    return None


def _about(values: dict[str, Any]) -> About:
    lists = {key: tuple(values[key]) for key in ("shape", "classes", "labels")}
    return About(**{**values, **lists, "broken": tuple((path, reason) for path, reason in values["broken"])})
