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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bnexp.data.sources.arrays import BadArraysError, read_arrays
from bnexp.data.sources.decode import MAX_SET_BYTES, Images, Wanted

FORMAT = 2
MAX_ABOUT_BYTES = 2**27
"""Bytes of the facts about the images: the labels of as many 16 x 16 images as fit in memory take no more."""


@dataclass(frozen=True)
class About:
    """The facts about its images in a cache file.

    Attributes:
        shape: channels, height and width.
        labels: class of each image that could be read.
        train_examples: how many of them, from the first, are to train on; None when the folder does not say.
        broken: path and reason of each image that could not be read.
        sizes: how many different sizes the images had.
        val_examples: how many, after those to train on, are to validate on; None when the folder does not say.
        formats, changed, lost: for the account, as in `Decoded`.
        findings: doubts and notes on the pictures.
    """

    fingerprint: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    train_examples: int | None
    broken: tuple[tuple[str, str], ...]
    sizes: int
    val_examples: int | None = None
    formats: tuple[tuple[str, int], ...] = ()
    changed: tuple[tuple[str, int, str], ...] = ()
    lost: tuple[tuple[str, int, str], ...] = ()
    findings: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def cache_name(folder: Path, wanted: Wanted) -> str:
    """Return the name of the file for a folder and what is asked of its images."""
    key = json.dumps([FORMAT, os.path.abspath(folder), wanted.image_size, wanted.background])
    return f"{folder.name}-{hashlib.blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=6).hexdigest()}.npz"


def cache_folders(data_dir: Path) -> Iterator[Path]:
    """Yield where a cache may lie, the preferred place first."""
    yield data_dir / ".bnexp-cache"
    with contextlib.suppress(RuntimeError):  # no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnexp"


def find_cache(data_dir: Path, name: str, fingerprint: str) -> tuple[Path, About] | None:
    """Return the cache file that fits the folder as it is now, and what it says, or None."""
    for place in cache_folders(data_dir):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            values = json.loads(read_arrays(place / name, ["about"], MAX_ABOUT_BYTES)["about"].tobytes())
            lists = {key: tuple(values[key]) for key in ("shape", "classes", "labels")}
            rows = {key: tuple(map(tuple, values[key])) for key in ("broken", "formats", "changed", "lost", "findings")}
            about = About(**{**values, **lists, **rows})
            if about.fingerprint == fingerprint and _is_sound(about):
                return place / name, about
    return None


def read_cache(path: Path, about: About) -> Images | None:
    """Return the images of a cache file, uint8 (N, C, H, W), or None where it turns out to be damaged."""
    try:
        images = read_arrays(path, ["images"], MAX_SET_BYTES)["images"]
    except (OSError, BadArraysError):
        return None
    return images if images.dtype == np.uint8 and images.shape == (len(about.labels), *about.shape) else None


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


def _is_sound(about: About) -> bool:
    """Tell whether figures and words are possible ones: the file may lie where others can write."""
    parts = (about.train_examples or 0, about.val_examples or 0)
    counted = (*about.changed, *about.lost)
    counts = (*(count for _, count in about.formats), *(count for _, count, _ in counted))
    numbers = (*about.shape, *about.labels, about.sizes, *parts, *counts)
    told = (*(word for pair in about.broken for word in pair), *(word for words in about.findings for word in words))
    kinds = (*(name for name, _ in about.formats), *(word for what, _, path in counted for word in (what, path)))
    words = (*about.classes, *told, *kinds)
    return (
        all(type(number) is int for number in numbers)
        and all(isinstance(word, str) for word in words)
        and len(about.shape) == 3
        and min(about.shape) > 0
        and all(0 <= label < len(about.classes) for label in about.labels)
        and min(parts) >= 0
        and sum(parts) <= len(about.labels)
        and all(len(pair) == 2 for pair in (*about.broken, about.findings))
    )
