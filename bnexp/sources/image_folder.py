"""A folder of images: which files make which part and class. Nothing is opened here.

Either `train/` and `test/`, each with one folder per class, or one folder of class folders, of which a fixed,
stratified fifth becomes the test set. Images are the files directly in a class folder with a known ending; other files
and hidden ones are passed over. Classes are counted from 0 in the order of their names.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bnexp.errors import ConfigError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
TEST_SHARE = 0.2
"""Part of the images that becomes the test set where the folder does not say."""


@dataclass(frozen=True)
class ImageFile:
    """One image: its path below the folder, its class, and what tells whether it changed."""

    path: str
    label: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder, those to train on first.

    Attributes:
        folder: where they lie.
        classes: names, in order.
        files: sorted by part, class and name.
        train_files: how many of them are in `train/`; None when there is one folder of class folders.
    """

    folder: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    train_files: int | None

    def fingerprint(self) -> str:
        """Return a digest of names, sizes and times of change: another one when the folder has changed."""
        lines = (f"{file.path}\0{file.size}\0{file.mtime_ns}\n" for file in self.files)
        text = f"{self.train_files}\n{'/'.join(self.classes)}\n{''.join(lines)}"
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def list_images(folder: Path) -> Listing:
    """Return the images below a folder.

    Raises:
        ConfigError: no such folder, or its folders are not parts and classes with images; the message names which.
    """
    try:
        names = _folders_in(folder)
        if "train" in names or "test" in names:
            return _list_parts(folder, names)
        files = tuple(_files_of(folder, "", names))
        return Listing(folder, _at_least_two(folder, names), files, None)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None


def _list_parts(folder: Path, names: list[str]) -> Listing:
    for part, other in (("train", "test"), ("test", "train")):
        if part not in names:
            raise ConfigError(
                f"{folder}: has {other}/ but no {part}/; expected both, each with a folder per class, or one folder "
                "per class and neither"
            )
    classes = _folders_in(folder / "train")
    in_test = _folders_in(folder / "test")
    if unknown := [name for name in in_test if name not in classes]:
        raise ConfigError(
            f"{folder / 'test' / unknown[0]}: a class that train/ does not have; known: {_few(classes)}"
            + (f" (and {len(unknown) - 1} more such classes)" if len(unknown) > 1 else "")
        )
    _at_least_two(folder / "train", classes)
    train = tuple(_files_of(folder, "train/", classes))
    test = tuple(_files_of(folder, "test/", [name for name in classes if name in in_test], classes))
    if not test:
        raise ConfigError(f"{folder / 'test'}: no images; expected a folder per class, such as {classes[0]}/")
    return Listing(folder, tuple(classes), (*train, *test), len(train))


def _at_least_two(folder: Path, classes: list[str]) -> tuple[str, ...]:
    if len(classes) < 2:
        found = f"1 folder ({classes[0]}/)" if classes else "no folders"
        raise ConfigError(f"{folder}: {found}; expected a folder per class, at least 2 classes")
    return tuple(classes)


def _folders_in(folder: Path) -> list[str]:
    if not os.path.isdir(folder):
        raise ConfigError(f"{folder}: no such folder; expected images in a folder per class (data.path)")
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def _files_of(folder: Path, part: str, present: list[str], classes: list[str] | None = None) -> Iterator[ImageFile]:
    labels = {name: label for label, name in enumerate(classes or present)}
    for name in present:
        with os.scandir(folder / part / name) as entries:
            found = [
                ImageFile(f"{part}{name}/{entry.name}", labels[name], status.st_size, status.st_mtime_ns)
                for entry in entries
                if entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".")
                if entry.is_file() and (status := entry.stat())
            ]
        if not found:
            raise ConfigError(
                f"{folder / part / name}: no images in this class; expected files ending in {', '.join(ENDINGS)}"
            )
        yield from sorted(found, key=lambda file: file.path)


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
