"""Look at what a set of images is made of, and say what would make its scores mean something else than they seem to.

Two looks: at the labels (a part lacks a class, a class is too small to split, one class dominates) and at the pixels
(constant, nearly identical or dark images, the same picture in two parts or under two labels). A finding is a doubt,
which `--strict` counts, or, where it concerns less than a trace of the images, a note. It has to cost little beside
reading the images: each look at all pixels is one pass, and what takes longer is done for the few that it leaves.
"""

import math
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
"""Images of a part, evenly chosen, whose brightness and distance to their mean are measured."""
UNLIKE = 2.0
"""Standard deviations between images that lie between the mean brightness of two parts that were scaled differently."""
OTHER_DEPTH = 6
"""Times that the brightest pixel of a class is that of another where their bits differ: 12 beside 16 make it 16."""
FEW = 5
"""Images from which the brightest pixel of a class says something."""
SHOWN = 5
"""Classes that a sentence names."""

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Counts = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Keys = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
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
    some = {part: slice(None, None, max(-(-len(pixels) // LOOKED_AT), 1)) for part, pixels in images.items()}
    few = {part: pixels[some[part]] for part, pixels in images.items()}
    found = list(_dark(images)) or [*_plain(one_color, place), *_alike(few["train"]), *_unlike(few)]
    found += _of_other_depth(few["train"], labels["train"][some["train"]], names)
    twins = _Twins.of(images, labels)
    if len(twins.starts) == 1 and len(twins.part_of) == twins.sizes.sum():
        found.append((f"all {twins.sizes.sum():,} images are the same picture.", 1.0))
    else:
        found += [*_copies(twins, place, splits_train=splits_train), *_two_labels(twins, names, place)]
    return Findings(
        tuple(sentence for sentence, concerned in found if concerned > TRACE),
        tuple(sentence for sentence, concerned in found if concerned <= TRACE),
    )


Finding = tuple[str, float]
"""A sentence, and the part of the images that it concerns, 0 .. 1."""


def _one_color(images: Images) -> Flags:
    """Return which images have one color; only those of which a few pixels have one are looked at whole."""
    few = np.ascontiguousarray(images[:, 0, images.shape[2] // 2, ::4].T)  # (W / 4, N)
    plain = np.asarray(few.max(axis=0) - few.min(axis=0) <= ONE_COLOR)
    whole = images[plain].reshape(-1, images.shape[1], math.prod(images.shape[2:]))
    plain[plain] = (whole.max(axis=-1) - whole.min(axis=-1) <= ONE_COLOR).all(axis=-1)
    return plain


def _dark(images: Mapping[str, Images]) -> Iterator[Finding]:
    if any(pixels[:, :, pixels.shape[2] // 2].max(initial=0) >= DARK for pixels in images.values()):
        return  # the middle rows are enough to know
    brightest = max(int(pixels.max(initial=0)) for pixels in images.values())
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


def _alike(images: Images) -> Iterator[Finding]:
    some = images.astype(np.float32)
    distance = float(np.sqrt(np.square(some - some.mean(axis=0)).mean()))
    if len(some) > 1 and distance < ALIKE:
        yield (
            f"train: the images are nearly identical: they differ from their mean by {distance:.2g} levels of 255 "
            "(root mean square); was the range of the pixels lost?",
            1.0,
        )


def _unlike(images: Mapping[str, Images]) -> Iterator[Finding]:
    """Say where a part is brighter or darker than the images to train on than a fair sample of these would be."""
    brightness = {part: pixels.reshape(len(pixels), -1).mean(axis=1) for part, pixels in images.items() if len(pixels)}
    middle, spread = float(brightness["train"].mean()), float(brightness["train"].std())
    for part, values in brightness.items():
        if len(values) >= FEW and abs(values.mean() - middle) > max(UNLIKE * spread, DARK):
            both = f"a mean of {values.mean():.0f} of 255, and those of train {middle:.0f}"
            yield f"{part}: the images have {both}: was one scaled, inverted or of other depth than the other?", 1.0


def _of_other_depth(images: Images, labels: Labels, names: Sequence[str]) -> Iterator[Finding]:
    """Say which class has no bright pixel at all, where another has."""
    brightest = images.reshape(len(images), -1).max(axis=1)
    known = np.flatnonzero(np.bincount(labels, minlength=len(names)) >= FEW).tolist()
    tops = {names[label]: int(brightest[labels == label].max()) for label in known}
    if tops and max(tops.values()) >= OTHER_DEPTH * max(min(tops.values()), 1):
        dark, light = min(tops, key=tops.__getitem__), max(tops, key=tops.__getitem__)
        yield (
            f"class {brief(dark, 30)} has no pixel above {tops[dark]} of 255, and class {brief(light, 30)} has some of "
            f"{tops[light]}: were their bits scaled differently? A network can tell them apart by that alone.",
            1.0,
        )


@dataclass(frozen=True)
class _Twins:
    """The images whose pixels another one may have: equal ones next to each other, and in the order of parts.

    Attributes:
        parts, sizes: the parts of the whole set, and how many images each has.
        part_of, number_of, label_of: where each stands, (twins,).
        starts: where each group of the same pixels begins, (groups,); a group may have one image.
    """

    parts: tuple[str, ...]
    sizes: Counts
    part_of: Labels
    number_of: Labels
    label_of: Labels
    starts: Labels

    @classmethod
    def of(cls, images: Mapping[str, Images], labels: Mapping[str, Labels]) -> "_Twins":
        keys = np.concatenate([_rough_keys(pixels) for pixels in images.values()])
        ordered = np.sort(keys)
        at = np.flatnonzero(np.isin(keys, ordered[1:][ordered[1:] == ordered[:-1]]))
        parts, sizes = list(images.values()), np.array([len(pixels) for pixels in images.values()])
        ends = np.cumsum(sizes)
        part_of = np.searchsorted(ends, at, side="right")
        number_of = at - (ends - sizes)[part_of]
        both = zip(part_of.tolist(), number_of.tolist(), strict=True)
        hashes = np.fromiter((hash(parts[part][number].tobytes()) for part, number in both), np.int64, len(at))
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(at)])
        label_of = np.concatenate([labels[part] for part in images])[at]
        return cls(tuple(images), sizes, part_of[order], number_of[order], label_of[order], starts)

    def over_groups(self, values: Labels) -> Labels:
        """Return the value of its group for each image."""
        return np.repeat(values, np.diff(self.starts, append=len(self.part_of)))

    def earliest(self, at: Labels) -> int:
        """Return which of some places comes first in the set: groups lie in the order of their hashes, a random one."""
        return int(at[np.lexsort((self.number_of[at], self.part_of[at]))[0]])

    def named(self, at: int, place: Namer) -> str:
        return place(self.parts[self.part_of[at]], int(self.number_of[at]))


def _rough_keys(images: Images) -> Keys:
    """Return 64 bits of each image, the same for the same pixels: ten times as fast as a hash, and not as sure."""
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    words = flat[:, : flat.shape[1] // 8 * 8].view(np.uint64)  # (N, pixels / 8)
    odd = np.random.default_rng(0).integers(2**64, size=words.shape[1], dtype=np.uint64) | np.uint64(1)
    return np.asarray(np.einsum("ij,j->i", words, odd))  # modulo 2^64


def _copies(twins: _Twins, place: Namer, *, splits_train: bool) -> Iterator[Finding]:
    """Say how many images of a part stand in an earlier part too, and how many of `train` stand there before."""
    first = twins.over_groups(twins.starts)
    for number, part in enumerate(twins.parts):
        size, here = int(twins.sizes[number]), twins.part_of == number
        if number > 0:
            at = np.flatnonzero(here & (twins.part_of[first] < number))
            where = f"stand in {' or '.join(twins.parts[:number])} too"
            effect = f"the score of {part} measures what is remembered, not what is learned"
        elif splits_train:
            at = np.flatnonzero(here & (first != np.arange(len(first))))
            where, effect = "are copies of others", "a split puts some of them into both of its parts"
        else:
            continue
        if len(at):
            one = twins.earliest(at)
            both = f"{twins.named(one, place)}, the same pixels as {twins.named(int(first[one]), place)}"
            what = f"{len(at):,} of {size:,} images {where}, such as {both}"
            yield f"{part}: {what}: {effect}.", len(at) / size


def _two_labels(twins: _Twins, names: Sequence[str], place: Namer) -> Iterator[Finding]:
    if not len(twins.starts):
        return
    least, most = (pick.reduceat(twins.label_of, twins.starts) for pick in (np.minimum, np.maximum))
    at = np.flatnonzero(twins.over_groups(least != most))
    if len(at):
        one = twins.earliest(at)
        other = next(n for n in range(one, len(twins.label_of)) if twins.label_of[n] != twins.label_of[one])
        both = [f"{twins.named(n, place)} ({brief(names[twins.label_of[n]], 30)})" for n in (one, other)]
        yield (
            f"{len(at):,} of {twins.sizes.sum():,} images have the pixels of an image of another class, such as "
            f"{' and '.join(both)}: no network can tell them apart.",
            len(at) / int(twins.sizes.sum()),
        )
