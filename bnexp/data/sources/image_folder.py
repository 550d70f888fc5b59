"""Read the dataset `image_folder`: list its files, decode them once, and take them from the cache from then on.

Where nothing is there to test on, a fixed, stratified fifth of the images to train on becomes the test set. Every file
that is not used is counted with a reason.
"""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bnexp.config.data_section import DatasetInfo, ImageFolderData, NpzData, unequal_counts
from bnexp.data.sources.account import TRACE, Account, Counted, Tally
from bnexp.data.sources.composition import Findings, Labels, look_at_labels, look_at_pictures
from bnexp.data.sources.decode import CROPPED, Decoded, Images, Wanted, decode
from bnexp.data.sources.folder_listing import Listing, list_images
from bnexp.data.sources.image_cache import (
    About,
    cache_folder,
    checksum_of,
    find_cache,
    read_cache,
    why_not_trusted,
    write_cache,
)
from bnexp.data.sources.place import own_path
from bnexp.data.sources.traits import telltale_traits
from bnexp.data.sources.transparency import BACKGROUNDS, FADED, FAINT
from bnexp.document.writing import at_most
from bnexp.errors import BnexpError, Interrupted

TEST_SHARE = 0.2
"""Part of the images that becomes the test set where the folder does not say."""
SHOWN = 10
"""Broken images that a message names."""


@dataclass(frozen=True)
class FolderSet:
    """The images of a folder, and what is known of them; their pixels lie in a cache, or have just been decoded."""

    listing: Listing
    about: About
    cache: Path | None
    decoded: Images | None
    wanted: Wanted

    def images(self) -> Images:
        """Return the images as uint8 (N, C, H, W); a damaged cache is decoded over."""
        if self.decoded is not None:
            return self.decoded
        if self.cache is not None:
            if (images := read_cache(self.cache, self.about)) is not None:
                return images
            with contextlib.suppress(OSError):
                self.cache.unlink()  # so that the next run writes it anew
        wanted = Wanted(self.about.shape[1:], self.wanted.background)
        return _decode(self.listing, self.about.key, wanted)[1]

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
    def splits_test(self) -> bool:
        """Whether the test set is to be split off the images to train on."""
        return self.about.train_examples is None or self._divided == len(self.about.labels)

    @property
    def _divided(self) -> int:
        return (self.about.train_examples or 0) + (self.about.val_examples or 0)

    @property
    def train_examples(self) -> int:
        """Images to train on, of which a test set may still be split off."""
        return len(self.about.labels) if self.about.train_examples is None else self.about.train_examples

    @property
    def test_examples(self) -> int:
        """Images of the test set: those in `test/`, else a fifth of those to train on."""
        if self.splits_test:
            return max(round(self.train_examples * TEST_SHARE), 1)
        return len(self.about.labels) - self._divided

    def account(self) -> Account:
        """Return what was found in the folder against what is used."""
        broken = Tally()
        for path, reason in self.about.broken:
            broken.add(f"broken: {reason}", path)
        passed_over = (*broken.counts(), *self.listing.passed_over)
        changed = tuple(Counted(*kind) for kind in self.about.changed)
        found = Account(self.listing.seen, len(self.about.labels), "file", self.about.formats, passed_over, changed)
        labels = {part: own.tolist() for part, own in self.part_labels().items()}
        return found.of_classes(labels, self.about.classes, self.listing.folder)

    def part_labels(self) -> dict[str, Labels]:
        """Return the labels (N,) of each part that is there."""
        labels = np.array(self.about.labels, dtype=np.int64)
        ends = [self.train_examples, self._divided or len(labels)]
        train, val, test = np.split(labels, ends)
        parts = {"train": train, "val": val, "test": test}
        return {part: found for part, found in parts.items() if len(found)}


_READING = set(ImageFolderData.model_fields) - set(NpzData.model_fields)
"""The options of reading images, which no other dataset has."""


def open_folder(data: ImageFolderData, data_dir: Path, *, anew: bool = False) -> FolderSet:
    """Return the images of the folder that `data.path` names, decoding them if that was not done before, or `anew`.

    Raises:
        ConfigError: the folder is missing or not made of parts and classes.
        BnexpError: images are broken and `data.skip_broken` is not set, nothing is left of a class, or
            `data.background` hides what transparency shows.
        Interrupted: by Ctrl-C; no cache is left half written.
    """
    val_folder = own_path(data, data_dir, "val_path") if data.val_path else None
    listing = list_images(own_path(data, data_dir), data.class_level, val_folder)
    wanted = Wanted(data.image_size, data.background or "white")
    options = data.model_dump(mode="json", include=_READING)
    key = listing.key(options)
    if not anew and (found := find_cache(key)):
        opened = FolderSet(listing, found[1], found[0], None, wanted)
    else:
        try:
            about, images = _decode(listing, key, wanted)
            changed = listing.key(options) != key  # while it was read: images of both states are of neither
            place = [*(os.path.realpath(at) for at in (listing.folder, val_folder) if at), options]
            cache = None if changed else write_cache(about, images, place)
            opened = FolderSet(listing, about, cache, images, wanted)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted while {listing.folder} was decoded; nothing was kept of it") from None
    _refuse_broken(opened, data.skip_broken)
    _refuse_lost(opened)
    return opened


_DOUBTED = {
    CROPPED: " at {size}; another shape in data.image_size, or padding them before, keeps more",
    FADED: ", so that shapes are lost on it; --set data.background=gray shows them",
    FAINT: ", and fade into the background: was their transparency saved in 0 .. 1? Without it: "
    "magick mogrify -alpha off FILES",
}
"""Changes of an image that cost content, and how a doubt on more than a trace of them goes on."""


def folder_info(data: ImageFolderData, data_dir: Path) -> DatasetInfo:
    """Return shape and sizes of the folder that `data.path` names, and what is worth a note or a doubt."""
    opened = open_folder(data, data_dir)
    about, account = opened.about, opened.account()
    test = opened.test_examples
    train = opened.train_examples - test * opened.splits_test
    taken = None if about.val_examples is not None else round(train * data.val_fraction)
    findings = look_at_labels(
        opened.part_labels(), about.classes, test_examples=test if opened.splits_test else None, val_examples=taken
    ) + Findings(*about.findings)
    lost = [f"{Counted(*kind).count:,} images" for kind in about.lost if kind[0] == opened.wanted.background]
    hidden = [f"{found} show nothing on data.background: {opened.wanted.background}." for found in lost]
    size = " x ".join(map(str, about.shape[1:]))
    hidden += [
        f"{count:,} of {len(about.labels):,} images, such as {path}, are {what}{_DOUBTED[what].format(size=size)}."
        for what, count, path in about.changed
        if what in _DOUBTED and count > TRACE * len(about.labels)
    ]
    rule = "data.image_size" if data.image_size else "the median; data.image_size sets it"
    scaled = [f"images of {about.sizes:,} sizes are scaled and cropped to {size} ({rule})."] * (about.sizes > 1)
    return DatasetInfo(
        summary=f"images in {opened.listing.folder}",
        shape=about.shape,
        classes=len(about.classes),
        train_examples=train,
        test_examples=test,
        notes=(*opened.listing.notes, *scaled, *findings.notes, *opened.on_cache()),
        class_counts=unequal_counts(about.labels[: opened.train_examples], len(about.classes)),
        val_examples=about.val_examples,
        warnings=(*account.doubts(), *opened.listing.warnings, *hidden, *findings.warnings),
        account=account,
    )


def _decode(listing: Listing, key: str, wanted: Wanted) -> tuple[About, Images]:
    """Decode every image of the listing; return what is known of those that could be read, and their pixels."""
    decoded = decode(listing.folder, [file.path for file in listing.files], wanted)
    first, shape = listing.train_files, decoded.images.shape[1:]
    vals = listing.val_files
    about = About(
        key=key,
        folder=os.path.abspath(listing.folder),
        shape=(shape[0], shape[1], shape[2]),
        classes=listing.classes,
        labels=tuple(listing.files[number].label for number in decoded.numbers),
        train_examples=None if first is None else sum(number < first for number in decoded.numbers),
        broken=tuple((listing.files[broken.number].path, broken.reason) for broken in decoded.broken),
        sizes=decoded.sizes,
        val_examples=None
        if first is None or vals is None
        else sum(first <= number < first + vals for number in decoded.numbers),
        formats=decoded.formats,
        changed=tuple((kind.what, kind.count, kind.example) for kind in decoded.changed),
        lost=tuple((kind.what, kind.count, kind.example) for kind in decoded.lost),
        checksum=checksum_of(decoded.images),
    )
    return replace(about, findings=_findings(listing, about, decoded, wanted)), decoded.images


def _findings(
    listing: Listing, about: About, decoded: Decoded, wanted: Wanted
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return doubts and notes on the pictures themselves."""
    opened = FolderSet(listing, about, None, decoded.images, wanted)
    labels = opened.part_labels()
    ends = np.cumsum([len(found) for found in labels.values()])
    starts = dict(zip(labels, [0, *map(int, ends)], strict=False))
    images = dict(zip(labels, np.split(decoded.images, ends[:-1]), strict=True))

    def path_of(part: str, number: int) -> str:
        return listing.files[decoded.numbers[starts[part] + number]].path

    splits = opened.splits_test or about.val_examples is None
    found = look_at_pictures(images, labels, about.classes, splits_train=splits, place=path_of)
    traits = {part: decoded.traits[starts[part] :][: len(own)] for part, own in labels.items()}
    of_traits = telltale_traits(traits, {part: own.tolist() for part, own in labels.items()}, about.classes)
    return (*found.warnings, *of_traits), found.notes


def _refuse_broken(opened: FolderSet, skip_broken: bool) -> None:
    about, folder = opened.about, opened.listing.folder
    if about.broken and not skip_broken:
        named = "\n  ".join(at_most(_named(about), SHOWN))
        raise BnexpError(
            f"{folder}: {_counted(opened)} cannot be read:\n  {named}\n"
            "mend or delete them, or leave them out with --set data.skip_broken=true"
        )
    left = Counter(about.labels[: opened.train_examples])
    for label, name in enumerate(about.classes):
        if not left[label]:
            raise BnexpError(f"{folder}: no image of class {name} can be read")
    if about.val_examples == 0:
        raise BnexpError(f"{folder}: no image of the validation part can be read")
    if opened.splits_test and opened.listing.train_files is not None and _had_test(opened.listing):
        raise BnexpError(f"{folder}: no image of the test set can be read")


def _had_test(listing: Listing) -> bool:
    return len(listing.files) > (listing.train_files or 0) + (listing.val_files or 0)


def _refuse_lost(opened: FolderSet) -> None:
    """Refuse a set of which the background hides more than a trace: what is drawn in the color of the background."""
    lost = {what: (count, example) for what, count, example in opened.about.lost}
    background = opened.wanted.background
    count, example = lost.get(background, (0, ""))
    if count <= TRACE * len(opened.about.labels):
        return
    best = min(BACKGROUNDS, key=lambda name: lost.get(name, (0, ""))[0])
    raise BnexpError(
        f"{opened.listing.folder}: {count:,} of {len(opened.about.labels):,} images, such as {example}, show nothing "
        f"on {background}: what they show is in their transparency alone, and their color is {background}. Put them on "
        f"another background: --set data.background={best}"
    )


def _counted(opened: FolderSet) -> str:
    return f"{len(opened.about.broken):,} of {len(opened.listing.files):,} images"


def _named(about: About) -> list[str]:
    return [f"{path}: {reason}" for path, reason in about.broken]
