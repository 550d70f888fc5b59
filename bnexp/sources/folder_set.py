"""The dataset `image_folder`: listed, decoded once, and taken from the cache from then on."""

import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.data_section import DataConfig
from bnexp.config.datasets import DatasetInfo
from bnexp.errors import BnexpError, Interrupted
from bnexp.sources.decode import Images, decode
from bnexp.sources.image_cache import About, cache_name, find_cache, read_cache, write_cache
from bnexp.sources.image_folder import TEST_SHARE, Listing, list_images
from bnexp.sources.place import own_path

SHOWN = 10
"""Broken images that a message names."""


@dataclass(frozen=True)
class FolderSet:
    """The images of a folder.

    Attributes:
        listing: the files.
        about: what is known of them.
        cache: where their pixels lie, or None.
        decoded: their pixels, where they have just been decoded.
    """

    listing: Listing
    about: About
    cache: Path | None
    decoded: Images | None

    def images(self) -> Images:
        """Return the images as uint8 (N, C, H, W); a damaged cache is decoded over."""
        if self.decoded is not None:
            return self.decoded
        if self.cache is not None:
            kept = read_cache(self.cache, self.about)
            if kept is not None:
                return kept
            with contextlib.suppress(OSError):
                self.cache.unlink()  # so that the next run writes it anew
        return _decode(self.listing, self.about.shape[1:])[1]

    @property
    def test_examples(self) -> int:
        """Images of the test set: those in `test/`, else a fifth of all."""
        if self.about.train_examples is not None:
            return len(self.about.labels) - self.about.train_examples
        return max(round(len(self.about.labels) * TEST_SHARE), 1)


def open_folder(data: DataConfig, data_dir: Path) -> FolderSet:
    """Return the images of the folder that `data.path` names, decoding them if that was not done before.

    Raises:
        ConfigError: the folder is missing or not made of parts and classes.
        BnexpError: images are broken and `data.skip_broken` is not set, or nothing is left of a class.
        Interrupted: by Ctrl-C; no cache is left half written.
    """
    listing = list_images(own_path(data, data_dir))
    name, fingerprint = cache_name(listing.folder, data.image_size), listing.fingerprint()
    if found := find_cache(data_dir, name, fingerprint):
        opened = FolderSet(listing, found[1], found[0], None)
    else:
        try:
            about, images = _decode(listing, data.image_size)
            opened = FolderSet(listing, about, write_cache(data_dir, name, about, images), images)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted while {listing.folder} was decoded; nothing was kept of it") from None
    _refuse_broken(opened, data.skip_broken)
    return opened


def folder_info(data: DataConfig, data_dir: Path) -> DatasetInfo:
    """Return shape and sizes of the folder that `data.path` names, and what is worth a note."""
    opened = open_folder(data, data_dir)
    about, notes = opened.about, []
    if about.broken:
        notes.append(f"{_counted(opened)} cannot be read and left out: {_named(about, 3, ', ')}.")
    if about.sizes > 1:
        height, width = about.shape[1:]
        rule = "data.image_size" if data.image_size else "the median; data.image_size sets it"
        notes.append(f"images of {about.sizes:,} sizes are scaled and cropped to {height} x {width} ({rule}).")
    train = len(about.labels) - opened.test_examples
    summary = f"images in {opened.listing.folder}"
    return DatasetInfo(summary, about.shape, len(about.classes), train, opened.test_examples, tuple(notes))


def _decode(listing: Listing, image_size: tuple[int, int] | None) -> tuple[About, Images]:
    """Decode every image of the listing; return what is known of those that could be read, and their pixels."""
    found = decode(listing.folder, [file.path for file in listing.files], image_size)
    split, shape = listing.train_files, found.images.shape[1:]
    about = About(
        fingerprint=listing.fingerprint(),
        shape=(shape[0], shape[1], shape[2]),
        classes=listing.classes,
        labels=tuple(listing.files[number].label for number in found.numbers),
        train_examples=None if split is None else sum(number < split for number in found.numbers),
        broken=tuple((listing.files[broken.number].path, broken.reason) for broken in found.broken),
        sizes=found.sizes,
    )
    return about, found.images


def _refuse_broken(opened: FolderSet, skip_broken: bool) -> None:
    about, folder = opened.about, opened.listing.folder
    if about.broken and not skip_broken:
        named = _named(about, SHOWN, "\n  ")
        more = len(about.broken) - SHOWN
        raise BnexpError(
            f"{folder}: {_counted(opened)} cannot be read:\n  {named}\n"
            + (f"  and {more:,} more\n" if more > 0 else "")
            + "mend or delete them, or leave them out with data.skip_broken: true"
        )
    left = Counter(about.labels[: about.train_examples])
    for label, name in enumerate(about.classes):
        if not left[label]:
            raise BnexpError(f"{folder}: no image of class {name} can be read")
    if not opened.test_examples:
        raise BnexpError(f"{folder}: no image of the test set can be read")


def _counted(opened: FolderSet) -> str:
    return f"{len(opened.about.broken):,} of {len(opened.listing.files):,} images"


def _named(about: About, limit: int, between: str) -> str:
    return between.join(f"{path}: {reason}" for path, reason in about.broken[:limit])
