"""Look at what a set of images is made of, and say what would make its scores mean something else than they seem to.

Two looks: at the labels (a part lacks a class, a class is too small to split, one class dominates) and at the pixels
(constant, nearly identical or dark images, the same picture in two parts or under two labels). A finding is a doubt,
which `--strict` counts, or, where it concerns less than a trace of the images, a note. The time is linear in the
pixels: one minimum, one maximum and one hash of each image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.config.wording import brief
from bnexp.document.writing import counted, first_few

TRACE = 0.01
"""Part of the images up to which a fault is a note: a hundredth of accuracy is what comparing norms barely resolves."""
ONE_COLOR = 4
"""Levels of 255 by which the pixels of an image of one color differ at most: so much a JPEG of a plain wall does."""
DARK = 32
"""Levels of 255 below which no set of pictures stays throughout: it was scaled to another range."""
ALIKE = 2.0
"""Levels of 255 (root mean square) between images and their mean, below which they are alike; MNIST, CIFAR-10: 65."""
LOOKED_AT = 1_000
"""Images, evenly chosen, whose distance to their mean is measured."""
SHOWN = 5
"""Classes that a sentence names."""

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Counts = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Namer = Callable[[str, int], str]
"""From a part and the number of an image in it to its name."""


@dataclass(frozen=True)
class Findings:
    """Sentences on a set: doubts, which `--strict` counts, and notes."""

    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings((*self.warnings, *other.warnings), (*self.notes, *other.notes))


def shares(counts: Counts, total: int) -> Counts:
    """Divide `total` in proportion to `counts` into whole numbers (largest remainder method)."""
    exact = counts * total / counts.sum()
    whole: Counts = np.floor(exact).astype(np.int64)
    left = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return whole


def look_at_labels(
    labels: Mapping[str, Labels], names: Sequence[str], *, test_examples: int | None = None, val_examples: int | None
) -> Findings:
    """Return what the labels (N,) of the parts `train`, `val` and `test` give reason to doubt.

    Args:
        labels: from 0, of each part in this order; `train` is always there.
        names: of the classes, in the order of the labels.
        test_examples: images that a stratified split takes from `train` for the test; None where there is a test part.
        val_examples: likewise for validation, after the test.
    """
    counts = {part: np.bincount(numbers, minlength=len(names)) for part, numbers in labels.items()}
    warnings = list(_lacking(counts, names))
    for part, taken in (("test", test_examples), ("validation", val_examples)):
        if taken:
            held_out = np.zeros_like(counts["train"])
            there = counts["train"] > 0
            held_out[there] = shares(counts["train"][there], taken)
            warnings += _too_small(counts["train"], held_out, part, names)
            counts = {**counts, "train": counts["train"] - held_out}
    whole = {part: np.bincount(numbers, minlength=len(names)) for part, numbers in labels.items()}
    return Findings((*warnings, *_dominated(whole, names)))


LACKING = {
    "train": "which is tested and never trained on",
    "val": "which no choice takes into account",
    "test": "of which the test says nothing",
}
"""What it means that a part has no image of a class."""


def _lacking(counts: Mapping[str, Counts], names: Sequence[str]) -> Iterator[str]:
    """Say which parts lack a class that another part has."""
    there = np.array([counts[part] > 0 for part in counts]).any(axis=0)
    for part, here in counts.items():
        if (lacking := there & (here == 0)).any():
            yield f"{part}: no image of {_classes(lacking, names)}, {LACKING[part]}."


def _too_small(before: Counts, held_out: Counts, part: str, names: Sequence[str]) -> Iterator[str]:
    """Say which classes a stratified split leaves without an image in one of its two parts."""
    split = f"the stratified split that keeps {held_out.sum():,} of {counted(int(before.sum()), 'image')} for {part}"
    for left, lacking in (("training", held_out == before), ("it", held_out == 0)):
        if (lacking := lacking & (before > 0)).any():
            size = counted(int(before[lacking].min()), "image")
            mend = "; a larger data.val_fraction leaves more" if left == "it" and part == "validation" else ""
            yield f"{split} leaves none for {left} of {_classes(lacking, names)}, too small with {size}{mend}."


def _dominated(counts: Mapping[str, Counts], names: Sequence[str]) -> Iterator[str]:
    """Say where guessing one class earns half of what there is to earn above 1 / classes."""
    for part, here in counts.items():
        most, total = int(here.max()), int(here.sum())
        if total and len(names) > 1 and most / total >= (1 + 1 / len(names)) / 2:
            yield (
                f"{part}: {most:,} of {total:,} images are of class {brief(names[int(here.argmax())])}: answering it "
                f"always scores {most / total:.1%}; `bnexp probe RUN --probe classes` says more."
            )


def _classes(chosen: Flags, names: Sequence[str]) -> str:
    shown = [brief(name, 30) for name, flag in zip(names, chosen, strict=True) if flag]
    return (
        f"class {shown[0]}" if len(shown) == 1 else f"{len(shown)} of {len(names)} classes ({first_few(shown, SHOWN)})"
    )


def look_at_pictures(
    images: Mapping[str, Images],
    labels: Mapping[str, Labels],
    names: Sequence[str],
    *,
    splits_train: bool,
    place: Namer = lambda part, number: f"{part}[{number}]",
) -> Findings:
    """Return what the images (N, C, H, W) of the parts `train`, `val` and `test` give reason to doubt.

    Args:
        images: uint8, of each part in this order; `train` is always there.
        labels: of the same parts, (N,).
        names: of the classes, in the order of the labels.
        splits_train: validation or test images are taken from `train`, so that copies in it come to lie in two parts.
        place: names an image by its part and its number there.
    """
    one_color = {part: _one_color(pixels) for part, pixels in images.items()}
    found = list(_dark(images)) or [*_plain(one_color, place), *_alike(images)]
    pictures = _Pictures.of(images, labels)
    if len(pictures.starts) == 1:
        found.append((f"all {len(pictures.part_of):,} images are the same picture.", 1.0))
    else:
        found += [*_copies(pictures, place, splits_train=splits_train), *_two_labels(pictures, names, place)]
    return Findings(
        tuple(sentence for sentence, concerned in found if concerned > TRACE),
        tuple(sentence for sentence, concerned in found if concerned <= TRACE),
    )


Finding = tuple[str, float]
"""A sentence, and the part of the images that it concerns, 0 .. 1."""


def _one_color(images: Images) -> Flags:
    flat = images.reshape(len(images), images.shape[1], -1)
    spread = flat.max(axis=-1) - flat.min(axis=-1)  # (N, C)
    return np.asarray((spread <= ONE_COLOR).all(axis=-1))


def _dark(images: Mapping[str, Images]) -> Iterator[Finding]:
    brightest = max((int(pixels.max()) for pixels in images.values() if pixels.size), default=0)
    if 0 < brightest < DARK:
        cut = "if floats in 0 .. 1 were cut to whole numbers, all between is lost: (255 * x).round().astype('uint8')"
        scaled = f"if {brightest} is meant as white: (255 / {brightest} * x).round().astype('uint8')"
        yield f"no pixel is above {brightest} of 255; {cut if brightest == 1 else scaled}.", 1.0


def _plain(one_color: Mapping[str, Flags], place: Namer) -> Iterator[Finding]:
    total, plain = sum(map(len, one_color.values())), sum(int(flags.sum()) for flags in one_color.values())
    if plain:
        first = next((part, int(flags.argmax())) for part, flags in one_color.items() if flags.any())
        yield (
            f"{plain:,} of {total:,} images are of one color throughout (to {ONE_COLOR} levels of 255), such as "
            f"{place(*first)}: a network can learn nothing from them but that color.",
            plain / total,
        )


def _alike(images: Mapping[str, Images]) -> Iterator[Finding]:
    every = images["train"]
    some = every[:: -(-len(every) // LOOKED_AT)].astype(np.float32)
    distance = float(np.sqrt(np.square(some - some.mean(axis=0)).mean()))
    if len(some) > 1 and distance < ALIKE:
        yield (
            f"train: the images are nearly identical: they differ from their mean by {distance:.2g} levels of 255 "
            "(root mean square); was the range of the pixels lost?",
            1.0,
        )


@dataclass(frozen=True)
class _Pictures:
    """All images, those with the same pixels next to each other, and in the order of parts.

    Attributes:
        parts, part_of, number_of, label_of: where each stands, (N,).
        starts: where each group of the same pixels begins, (groups,).
    """

    parts: tuple[str, ...]
    part_of: Labels
    number_of: Labels
    label_of: Labels
    starts: Labels

    @classmethod
    def of(cls, images: Mapping[str, Images], labels: Mapping[str, Labels]) -> "_Pictures":
        # 64 bits of hash, a gigabyte a second
        hashes = np.fromiter((hash(image.tobytes()) for part in images.values() for image in part), np.int64)
        order = np.argsort(hashes, kind="stable")
        sizes = [len(part) for part in images.values()]
        part_of = np.repeat(np.arange(len(sizes)), sizes)[order]
        number_of = np.concatenate([np.arange(size) for size in sizes])[order]
        label_of = np.concatenate([labels[part] for part in images])[order]
        starts = np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[0]]))
        return cls(tuple(images), part_of, number_of, label_of, starts)

    def over_groups(self, values: Labels) -> Labels:
        """Return the value of its group for each image."""
        return np.repeat(values, np.diff(self.starts, append=len(self.part_of)))

    def earliest(self, at: Labels) -> int:
        """Return which of some places comes first in the set: groups lie in the order of their hashes, a random one."""
        return int(at[np.lexsort((self.number_of[at], self.part_of[at]))[0]])

    def named(self, at: int, place: Namer) -> str:
        return place(self.parts[self.part_of[at]], int(self.number_of[at]))


def _copies(pictures: _Pictures, place: Namer, *, splits_train: bool) -> Iterator[Finding]:
    """Say how many images of a part stand in an earlier part too, and how many of `train` stand there before."""
    first = pictures.over_groups(pictures.starts)
    for number, part in enumerate(pictures.parts):
        here = pictures.part_of == number
        if number > 0:
            at = np.flatnonzero(here & (pictures.part_of[first] < number))
            where = f"stand in {' or '.join(pictures.parts[:number])} too"
            effect = f"the score of {part} measures what is remembered, not what is learned"
        elif splits_train:
            at = np.flatnonzero(here & (first != np.arange(len(first))))
            where, effect = "are copies of others", "a split puts some of them into both of its parts"
        else:
            continue
        if len(at):
            one = pictures.earliest(at)
            both = f"{pictures.named(one, place)}, the same pixels as {pictures.named(int(first[one]), place)}"
            what = f"{len(at):,} of {here.sum():,} images {where}, such as {both}"
            yield f"{part}: {what}: {effect}.", len(at) / here.sum()


def _two_labels(pictures: _Pictures, names: Sequence[str], place: Namer) -> Iterator[Finding]:
    least, most = (pick.reduceat(pictures.label_of, pictures.starts) for pick in (np.minimum, np.maximum))
    at = np.flatnonzero(pictures.over_groups(least != most))
    if len(at):
        one = pictures.earliest(at)
        other = next(n for n in range(one, len(pictures.label_of)) if pictures.label_of[n] != pictures.label_of[one])
        both = [f"{pictures.named(n, place)} ({brief(names[pictures.label_of[n]], 30)})" for n in (one, other)]
        yield (
            f"{len(at):,} of {len(pictures.part_of):,} images have the pixels of an image of another class, such as "
            f"{' and '.join(both)}: no network can tell them apart.",
            len(at) / len(pictures.part_of),
        )
