"""Decoded images, kept in the user's cache folder so that a folder of images is decoded once.

A file holds the images of one folder, in NumPy's own format (.npz, nothing pickled, with a checksum of each array),
written aside and moved into place. Its name ends in the key of what was decoded: a digest of every byte of every image
file, of their names, and of the rules by which they were read. Sizes and times do not count: they stay when folders are
swapped or archives unpacked. So a folder is the same under all its names, and another one as soon as a byte changes.

Nothing is trusted that somebody else could have written: the folder and its files must be the user's own, and no one
else may write to them.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from shlex import quote

import numpy as np
import PIL
import platformdirs
from PIL import features

import bnexp
from bnexp.data.sources.arrays import BadArraysError, read_arrays
from bnexp.data.sources.decode import CHUNK, MAX_SET_BYTES, Images
from bnexp.data.sources.pixels import MAX_FILE_BYTES
from bnexp.processes import usable_cores

FORMAT = 2
MAX_ABOUT_BYTES = 2**27
"""Bytes of the facts about the images: the labels of as many 16 x 16 images as fit in memory take no more."""
_AT_ONCE = 2**20
_OTHERS_CAN_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class About:
    """The facts about its images in a cache file.

    Attributes:
        key: the digest of what was decoded.
        folder: where that lay.
        shape: channels, height and width.
        labels: class of each image that could be read.
        train_examples: how many of them, from the first, are to train on; None when the folder does not say.
        broken: path and reason of each image that could not be read.
        sizes: how many different sizes the images had.
        val_examples: how many, after those to train on, are to validate on; None when the folder does not say.
        formats, changed, lost: for the account, as in `Decoded`.
        findings: doubts and notes on the pictures.
        checksum: CRC-32 of the pixels: those of the file are the ones that all this was said of.
    """

    key: str
    folder: str
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
    checksum: int = 0


def content_key(paths: Sequence[str], names: Sequence[str], rules: object) -> str:
    """Return the digest of every byte of the files at `paths`, of their `names`, and of how they are read.

    `rules`, plain values, are what else decides. A file that cannot be read counts with the reason.
    """
    chunks = [paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor(usable_cores()) as executor:
        digests = list(executor.map(lambda chunk: [_content(path) for path in chunk], chunks))
    whole = hashlib.blake2b(json.dumps([FORMAT, _reading(), rules]).encode(), digest_size=16)
    for name, digest in zip(map(os.fsencode, names), (digest for chunk in digests for digest in chunk), strict=True):
        whole.update(len(name).to_bytes(8, "big") + name + digest)
    return whole.hexdigest()


@cache
def _reading() -> list[str | None]:
    """Return what images are read with: the versions of the decoders, and the code that asks them."""
    code = hashlib.sha256()
    with contextlib.suppress(OSError):  # an installation without sources
        for module in sorted(Path(__file__).parent.glob("*.py")):
            code.update(module.read_bytes())
    decoders = [features.version(name) for name in ("jpg", "libjpeg_turbo", "webp", "libtiff", "zlib")]
    return [bnexp.__version__, PIL.__version__, *decoders, code.hexdigest()]


def _content(path: str) -> bytes:
    """Return the digest of a file. Python's own file objects would take five times as long on small ones."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        return hashlib.sha256(f"unreadable {error.errno}".encode()).digest()
    try:
        status, digest = os.fstat(descriptor), hashlib.sha256()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return hashlib.sha256(f"no file to read {status.st_size}".encode()).digest()
        while content := os.read(descriptor, _AT_ONCE):
            digest.update(content)
        return digest.digest()
    except OSError as error:
        return hashlib.sha256(f"unreadable {error.errno}".encode()).digest()
    finally:
        os.close(descriptor)


def cache_folder() -> Path | None:
    """Return the folder of the cache, which need not be there yet; None for a user without a home."""
    folder = Path(platformdirs.user_cache_dir("bnexp", appauthor=False)) / "images"
    return folder if folder.is_absolute() else None


def why_not_trusted(path: Path) -> str | None:
    """Say who else could have written a folder or file, and what to do; None where it is the user's own, or missing."""
    try:
        statuses = (os.lstat(path), os.stat(path))
    except OSError:
        return None
    if not hasattr(os, "geteuid"):
        return None
    if any(status.st_uid != os.geteuid() for status in statuses):
        return f"{path} belongs to another user; the variable XDG_CACHE_HOME names another place"
    if statuses[1].st_mode & _OTHERS_CAN_WRITE:
        return f"others can write to {path}; rm -r {quote(str(path))} deletes it, and it is made anew for you alone"
    return None


def cache_files(pattern: str = "*.npz") -> list[Path]:
    """Return the files of the cache that can be trusted, by name."""
    folder = cache_folder()
    if folder is None or why_not_trusted(folder):
        return []
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.glob(pattern) if path.is_file() and not why_not_trusted(path))
    return []


def find_cache(key: str) -> tuple[Path, About] | None:
    """Return the cache file of what has this key, and what it says, or None."""
    for path in cache_files(f"*-{key}.npz"):
        about = read_about(path)
        if about is not None and about.key == key:
            return path, about
    return None


def read_about(path: Path) -> About | None:
    """Return what a cache file says of its images, or None where it is damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        values = json.loads(read_arrays(path, ["about"], MAX_ABOUT_BYTES)["about"].tobytes())
        lists = {key: tuple(values[key]) for key in ("shape", "classes", "labels")}
        rows = {key: tuple(map(tuple, values[key])) for key in ("broken", "formats", "changed", "lost", "findings")}
        about = About(**{**values, **lists, **rows})
        if _is_sound(about):
            return about
    return None


def checksum_of(images: Images) -> int:
    """Return the CRC-32 of the pixels of images."""
    return zlib.crc32(np.ascontiguousarray(images).data)


def read_cache(path: Path, about: About) -> Images | None:
    """Return the images of a cache file, uint8 (N, C, H, W), or None where it turns out to be damaged."""
    try:
        images = read_arrays(path, ["images"], MAX_SET_BYTES)["images"]
    except (OSError, BadArraysError):
        return None
    fits = images.dtype == np.uint8 and images.shape == (len(about.labels), *about.shape)
    return images if fits and checksum_of(images) == about.checksum else None


def write_cache(about: About, images: Images, place: Sequence[object]) -> Path | None:
    """Write a cache file in one move, and return where; None where none can be written.

    It replaces what an earlier state of the same `place` left: its folders, and the options of reading, plain values.
    """
    folder = cache_folder()
    text = np.frombuffer(json.dumps(asdict(about)).encode(), dtype=np.uint8)
    place_id = hashlib.blake2b(json.dumps(place).encode(), digest_size=6).hexdigest()
    name = f"{place_id}-{about.key}.npz"
    with contextlib.suppress(OSError):
        if folder is None:
            return None
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if why_not_trusted(folder):
            return None
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as aside:
            np.savez(Path(aside) / name, about=text, images=images)
            (Path(aside) / name).chmod(0o600)
            (Path(aside) / name).replace(folder / name)
        for former in folder.glob(f"{place_id}-*.npz"):
            if former.name != name:
                former.unlink(missing_ok=True)
        return folder / name
    return None


def _is_sound(about: About) -> bool:
    """Tell whether figures and words are possible ones: a disk may have damaged the file."""
    parts, counted = (about.train_examples or 0, about.val_examples or 0), (*about.changed, *about.lost)
    counts = (*(count for _, count in about.formats), *(count for _, count, _ in counted))
    numbers = (*about.shape, *about.labels, about.sizes, about.checksum, *parts, *counts)
    sentences = (
        *(word for pair in about.broken for word in pair),
        *(word for words in about.findings for word in words),
    )
    kinds = (*(name for name, _ in about.formats), *(word for what, _, path in counted for word in (what, path)))
    words = (about.key, about.folder, *about.classes, *sentences, *kinds)
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
