"""Read the dataset `image_folder`: list its files, decode them once, and take them from the cache from then on.

A folder holds either `train/` and `test/`, each with one folder per class, or class folders, of which a fixed,
stratified fifth becomes the test set. Images are the files directly in a class folder with a known ending; other files
and hidden ones are passed over. Classes are counted from 0 in the order of their names.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.data_section import DatasetInfo, ImageFolderData, NpzData, unequal_counts
from bnexp.data.sources.decode import Images, decode
from bnexp.data.sources.image_cache import (
    About,
    cache_folder,
    content_key,
    find_cache,
    read_cache,
    why_not_trusted,
    write_cache,
)
from bnexp.data.sources.place import own_path
from bnexp.document.writing import at_most, first_few
from bnexp.errors import BnexpError, ConfigError, Interrupted

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
TEST_SHARE = 0.2
"""Part of the images that becomes the test set where the folder does not say."""
SHOWN = 10
"""Broken images that a message names."""


@dataclass(frozen=True)
class ImageFile:
    """One image: its path below the folder, its class, and size and time, by which a change shows."""

    path: str
    label: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder, sorted by part, those to train on first, class and name.

    `train_files` are those in `train/`; None when there is one folder of class folders.
    """

    folder: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    train_files: int | None

    def key(self, options: object) -> str:
        """Return the digest of all that the images depend on: every byte, names, parts, and `options` of reading."""
        return content_key(self.folder, [file.path for file in self.files], [self.classes, self.train_files, options])


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
            f"{folder / 'test' / unknown[0]}: a class that train/ does not have; known: {first_few(classes, 8)}"
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
            files = [
                ImageFile(f"{part}{name}/{entry.name}", labels[name], status.st_size, status.st_mtime_ns)
                for entry in entries
                if entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".")
                if entry.is_file() and (status := entry.stat())
            ]
        if not files:
            raise ConfigError(
                f"{folder / part / name}: no images in this class; expected files ending in {', '.join(ENDINGS)}"
            )
        yield from sorted(files, key=lambda file: file.path)


@dataclass(frozen=True)
class FolderSet:
    """The images of a folder, and what is known of them; their pixels lie in a cache, or have just been decoded."""

    listing: Listing
    about: About
    cache: Path | None
    decoded: Images | None

    def images(self) -> Images:
        """Return the images as uint8 (N, C, H, W); a damaged cache is decoded over."""
        if self.decoded is not None:
            return self.decoded
        if self.cache is not None:
            if (images := read_cache(self.cache, self.about)) is not None:
                return images
            with contextlib.suppress(OSError):
                self.cache.unlink()  # so that the next run writes it anew
        return _decode(self.listing, self.about.key, self.about.shape[1:])[1]

    def on_cache(self) -> list[str]:
        """Say once, when the images have just been decoded, where they are kept, or why they are not."""
        if self.decoded is None:
            return []
        if self.cache is None:
            folder = cache_folder()
            why = folder and why_not_trusted(folder)
            return [f"The decoded images are not kept: {why or f'nothing can be written to {folder}'}."]
        size = round(self.cache.stat().st_size / 1e6)
        kept = f"{f'{size:,} MB' if size else 'Under 1 MB'} of decoded images are kept in {self.cache.parent}"
        return [f"{kept}; bnexp data cache lists and clears them."]

    @property
    def test_examples(self) -> int:
        """Images of the test set: those in `test/`, else a fifth of all."""
        if self.about.train_examples is not None:
            return len(self.about.labels) - self.about.train_examples
        return max(round(len(self.about.labels) * TEST_SHARE), 1)


_READING = set(ImageFolderData.model_fields) - set(NpzData.model_fields)
"""The options of reading images, which no other dataset has."""


def open_folder(data: ImageFolderData, data_dir: Path, *, anew: bool = False) -> FolderSet:
    """Return the images of the folder that `data.path` names, decoding them if that was not done before, or `anew`.

    Raises:
        ConfigError: the folder is missing or not made of parts and classes.
        BnexpError: images are broken and `data.skip_broken` is not set, or nothing is left of a class.
        Interrupted: by Ctrl-C; no cache is left half written.
    """
    listing, options = list_images(own_path(data, data_dir)), data.model_dump(mode="json", include=_READING)
    key = listing.key(options)
    if not anew and (found := find_cache(key)):
        opened = FolderSet(listing, found[1], found[0], None)
    else:
        try:
            about, images = _decode(listing, key, data.image_size)
            changed = listing.key(options) != key  # while it was read: images of both states are of neither
            opened = FolderSet(listing, about, None if changed else write_cache(about, images, options), images)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted while {listing.folder} was decoded; nothing was kept of it") from None
    _refuse_broken(opened, data.skip_broken)
    return opened


def folder_info(data: ImageFolderData, data_dir: Path) -> DatasetInfo:
    """Return shape and sizes of the folder that `data.path` names, and what is worth a note."""
    opened = open_folder(data, data_dir)
    about, notes = opened.about, []
    if about.broken:
        notes.append(f"{_counted(opened)} cannot be read and left out: {', '.join(_named(about)[:3])}.")
    if about.sizes > 1:
        height, width = about.shape[1:]
        rule = "data.image_size" if data.image_size else "the median; data.image_size sets it"
        notes.append(f"images of {about.sizes:,} sizes are scaled and cropped to {height} x {width} ({rule}).")
    notes += opened.on_cache()
    train = len(about.labels) - opened.test_examples
    summary = f"images in {opened.listing.folder}"
    counts = unequal_counts(about.labels[: about.train_examples], len(about.classes))
    return DatasetInfo(summary, about.shape, len(about.classes), train, opened.test_examples, tuple(notes), counts)


def _decode(listing: Listing, key: str, image_size: tuple[int, int] | None) -> tuple[About, Images]:
    """Decode every image of the listing; return what is known of those that could be read, and their pixels."""
    decoded = decode(listing.folder, [file.path for file in listing.files], image_size)
    split, shape = listing.train_files, decoded.images.shape[1:]
    about = About(
        key=key,
        folder=os.path.abspath(listing.folder),
        shape=(shape[0], shape[1], shape[2]),
        classes=listing.classes,
        labels=tuple(listing.files[number].label for number in decoded.numbers),
        train_examples=None if split is None else sum(number < split for number in decoded.numbers),
        broken=tuple((listing.files[broken.number].path, broken.reason) for broken in decoded.broken),
        sizes=decoded.sizes,
    )
    return about, decoded.images


def _refuse_broken(opened: FolderSet, skip_broken: bool) -> None:
    about, folder = opened.about, opened.listing.folder
    if about.broken and not skip_broken:
        named = "\n  ".join(at_most(_named(about), SHOWN))
        raise BnexpError(
            f"{folder}: {_counted(opened)} cannot be read:\n  {named}\n"
            "mend or delete them, or leave them out with data.skip_broken: true"
        )
    left = Counter(about.labels[: about.train_examples])
    for label, name in enumerate(about.classes):
        if not left[label]:
            raise BnexpError(f"{folder}: no image of class {name} can be read")
    if not opened.test_examples:
        raise BnexpError(f"{folder}: no image of the test set can be read")


def _counted(opened: FolderSet) -> str:
    return f"{len(opened.about.broken):,} of {len(opened.listing.files):,} images"


def _named(about: About) -> list[str]:
    return [f"{path}: {reason}" for path, reason in about.broken]
