"""Decode image files to bytes of one shape, in parallel.

Threads serve: Pillow lets go of the interpreter while it decodes and resizes, and a thread needs no second start of
the program. The rules, for all images of a set together; those of a single image stand in `pixels`:

- Color: gray, with one channel, where every image is gray; else RGB, with three.
- Size: `data.image_size`; else the size of the images where all have one; else the median height and the median width.
- An image of another size is scaled, keeping its proportions, until it just covers that size (bilinear, with
  antialiasing), and what stands over is cut off evenly on both sides.
- More than 8 bits per channel are scaled to 8 by one white point for all, which follows from what the set uses.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from bnexp.data.progress import progress
from bnexp.data.sources.account import Counted, Tally, by_frequency
from bnexp.data.sources.formats import FORMATS, cure_of, sniffed
from bnexp.data.sources.pixels import (
    MAX_PIXELS,
    Header,
    Picture,
    TooLargeError,
    header_of,
    opened,
    picture_of,
    white_point,
)
from bnexp.data.sources.traits import Traits
from bnexp.errors import BnexpError
from bnexp.processes import usable_cores

MAX_SET_BYTES = 8 * 2**30
"""Bytes that a whole set may take in memory, where it stays while a network trains."""
CHUNK = 64
"""Images that a thread takes at once."""
NOTHING = Image.new("L", (1, 1))
CROPPED = "cropped to less than half of their area"
"""The change that costs content, of which a doubt tells."""

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Shape = tuple[int, int, int]
Whites = tuple[float, float]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Wanted:
    """What the config asks of images: height and width, and what transparent pixels are put on."""

    image_size: tuple[int, int] | None = None
    background: str = "white"


@dataclass(frozen=True)
class Broken:
    """An image that cannot be read: its number in the list of paths, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Look:
    """What a first look at a file found; `picture` says what was changed where its pixels are in place already."""

    header: Header
    picture: Picture | None = None


@dataclass(frozen=True)
class Decoded:
    """The images of a set that could be read, uint8 (N, C, H, W), with their numbers in the list of paths.

    `broken` are the others, in order; `sizes` is how many different sizes there were; `formats` and `changed` are for
    the account; `lost` counts, by background, the images that transparency would hide there; `traits` has a tuple for
    each image.
    """

    images: Images
    numbers: list[int]
    broken: list[Broken]
    sizes: int
    formats: tuple[tuple[str, int], ...] = ()
    changed: tuple[Counted, ...] = ()
    lost: tuple[Counted, ...] = ()
    traits: tuple[Traits, ...] = ()


def decode(folder: Path, paths: Sequence[str], wanted: Wanted) -> Decoded:
    """Return the images at `paths` below a folder, by the rules above.

    A file is decoded when it is first looked at if it is like the first one, and looked at again if that guess of the
    common shape was wrong or it has over 8 bits.

    Raises:
        BnexpError: none can be read, all together would not fit in memory, or images of floats have no white.
    """
    files = [folder / path for path in paths]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # of metadata that nobody needs
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # such an image is broken, and named as such
        guess = _first_shape(files, wanted.image_size)
        images = _room(folder, len(files), guess) if len(files) * math.prod(guess) <= MAX_SET_BYTES else None
        results = _in_threads("reading images", len(files), lambda n: _look(files[n], n, wanted, images))
        looks = {number: look for number, look in enumerate(results) if isinstance(look, Look)}
        broken = [result for result in results if isinstance(result, Broken)]
        headers = [look.header for look in looks.values()]
        shape = common_shape(headers, wanted.image_size) if looks else guess
        whites = _whites(folder, [(paths[number], look.header) for number, look in looks.items()])
        again = list(looks)
        if images is not None and images.shape[1:] == shape:
            again = [number for number in again if looks[number].picture is None]
        else:
            images = _room(folder, len(files), shape)
        late = _in_threads(
            "scaling images", len(again), lambda n: _fill(files[again[n]], again[n], wanted.background, whites, images)
        )
    broken = sorted([*broken, *(result for result in late if isinstance(result, Broken))], key=lambda one: one.number)
    if len(broken) == len(files):
        raise BnexpError(f"{folder}: none of {len(files):,} images can be read, such as {paths[0]}: {broken[0].reason}")
    pictures = {number: look.picture for number, look in looks.items()} | dict(zip(again, late, strict=True))
    read = {n: (looks[n].header, found) for n, found in pictures.items() if isinstance(found, Picture)}
    numbers = sorted(read)
    sizes = {(header.height, header.width) for header, _ in read.values()}
    formats = by_frequency(read[number][0].format for number in numbers)
    changed, lost = _counts([(paths[n], *read[n]) for n in numbers], shape)
    traits = tuple(_traits(*read[number]) for number in numbers)
    return Decoded(
        images if not broken else images[numbers], numbers, broken, len(sizes), formats, changed, lost, traits
    )


def _traits(header: Header, picture: Picture) -> Traits:
    """Return what is known of an image without its pixels, for a sentence."""
    ways = (change.partition(",")[0] for change in picture.changes)
    return (header.format, "gray" if header.gray else "in color", f"{header.height} x {header.width} pixels", *ways)


def _counts(
    read: Sequence[tuple[str, Header, Picture]], shape: Shape
) -> tuple[tuple[Counted, ...], tuple[Counted, ...]]:
    """Return how many images were changed in each way, and how many are lost on each background."""
    changed, lost = Tally(), Tally()
    for path, header, picture in read:
        for change in picture.changes:
            changed.add(change, path)
        if (header.height, header.width) != shape[1:]:
            changed.add(f"of another size, scaled and cropped to {shape[1]} x {shape[2]}", path)
            if _kept(header, shape) < 0.5:
                changed.add(CROPPED, path)
        if header.gray and shape[0] == 3:
            changed.add("gray, given three equal channels", path)
        for background in picture.lost_on:
            lost.add(background, path)
    return changed.counts(), lost.counts()


def _kept(header: Header, shape: Shape) -> float:
    """Return the part of an image's area that is left when it is scaled to cover a shape, and cropped."""
    scale = max(shape[1] / header.height, shape[2] / header.width)
    return shape[1] * shape[2] / (scale**2 * header.height * header.width)


def _whites(folder: Path, headers: Sequence[tuple[str, Header]]) -> Whites:
    """Return what is white in images of over 8 bits, of whole numbers and of floats."""
    found = [255.0, 1.0]
    for floats in (False, True):
        deep = [(path, header.range) for path, header in headers if header.range and header.range.floats == floats]
        if not deep:
            continue
        try:
            found[floats] = white_point([values for _, values in deep])
        except ValueError as error:
            raise BnexpError(
                f"{folder}: {len(deep):,} images of floats, such as {deep[0][0]}: {error}; divide all of them by one "
                "number, or save them as whole numbers of 8 or 16 bits"
            ) from None
    return found[0], found[1]


def common_shape(headers: Sequence[Header], image_size: tuple[int, int] | None) -> Shape:
    """Return channels, height and width of the whole set, by the rules above."""
    channels = 1 if all(header.gray for header in headers) else 3
    if image_size is not None:
        return (channels, *image_size)
    return (channels, median_low(header.height for header in headers), median_low(header.width for header in headers))


def _first_shape(files: Sequence[Path], image_size: tuple[int, int] | None) -> Shape:
    """Return the shape that the set has if all its images are like the first that can be looked at."""
    looks = (look for number, file in enumerate(files) if isinstance(look := _look(file, number, Wanted()), Look))
    return next((common_shape([look.header], image_size) for look in looks), (1, 1, 1))


def _room(folder: Path, count: int, shape: Shape) -> Images:
    """Return an array for all images, to be filled."""
    if (size := count * math.prod(shape)) > MAX_SET_BYTES:
        raise BnexpError(
            f"{folder}: {count:,} images of {shape[1]} x {shape[2]} pixels would take {size / 2**30:.1f} GiB in "
            f"memory, expected at most {MAX_SET_BYTES / 2**30:.0f} GiB; data.image_size makes them smaller"
        )
    return np.empty((count, *shape), dtype=np.uint8)


def _look(file: Path, number: int, wanted: Wanted, images: Images | None = None) -> Look | Broken:
    """Return the header of a file; put its pixels among `images` where they have the shape that it leads to."""
    try:
        with opened(file) as found:
            header = header_of(found)
            if images is None or header.range or common_shape([header], wanted.image_size) != images.shape[1:]:
                return Look(header)
            picture = picture_of(found, wanted.background, white=255)
            images[number] = _pixels(picture.image, images.shape[1:])
            return Look(header, _without_image(picture))
    except Exception as error:  # a decoder may raise anything on bytes that are not an image
        return Broken(number, _reason(error, file))


def _fill(file: Path, number: int, background: str, whites: Whites, images: Images) -> Picture | Broken:
    """Put the pixels of a file among `images`, and say what was changed."""
    try:
        with opened(file) as found:
            picture = picture_of(found, background, whites[found.image.mode == "F"])
            images[number] = _pixels(picture.image, images.shape[1:])
            return _without_image(picture)
    except Exception as error:  # likewise
        return Broken(number, _reason(error, file))


def _without_image(picture: Picture) -> Picture:
    return Picture(NOTHING, picture.changes, picture.lost_on)


def _pixels(image: Image.Image, shape: tuple[int, ...]) -> Images:
    """Return the pixels of an image as uint8 (C, H, W)."""
    channels, height, width = shape
    plain = image if image.mode == ("L" if channels == 1 else "RGB") else image.convert("RGB")
    if plain.size != (width, height):
        plain = ImageOps.fit(plain, (width, height), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)  # (H, W) or (H, W, C)
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError | TooLargeError):
        most = f"over the {MAX_PIXELS:,} pixels that one image may have"
        return f"{most}; magick mogrify -resize '4096x4096>' FILE makes it smaller"
    if isinstance(error, UnidentifiedImageError):
        found = sniffed(file)
        if found not in (None, *FORMATS):
            return f"{found} inside: {cure_of(str(found))}"
        packed = _packing(file) if found == "TIFF" else None
        empty = "empty: it has 0 bytes; fetch it again" if not file.stat().st_size else None
        return packed or empty or "not an image of a known format"
    if isinstance(error, PermissionError):
        return f"{error.strerror}; chmod a+r FILE"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _packing(file: Path) -> str | None:
    """Return how a TIFF that Pillow does not know packs its pixels, and the way; None where it is damaged."""
    with contextlib.suppress(Exception), file.open("rb") as content:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content.read(8))
        content.seek(tags.next)
        tags.load(content)
        bits, kind = np.atleast_1d(tags.get(258, 1)), int(np.max(tags.get(339, 1)))
        bands = int(tags.get(277, len(bits)))
        what = {1: "whole numbers", 2: "whole numbers with a sign", 3: "floats"}.get(kind, "numbers")
        return (
            f"a TIFF of {bands} x {what} of {int(bits[0])} bits, which is not read; save it as 8 or 16 bits in gray or "
            "color, or as an array: data.dataset: npz"
        )
    return None


def _in_threads(what: str, count: int, look: Callable[[int], Result]) -> list[Result]:
    """Return `look` of each number below `count`, in order; an interruption leaves no thread at work."""
    if not count:
        return []

    def look_at(chunk: range) -> list[Result]:
        return [look(number) for number in chunk]

    executor, found = ThreadPoolExecutor(usable_cores()), list[Result]()
    try:
        with progress(what, count) as advance:
            chunks = [range(count)[first : first + CHUNK] for first in range(0, count, CHUNK)]
            for results in executor.map(look_at, chunks):
                advance(len(results))
                found += results
    finally:
        executor.shutdown(cancel_futures=True)
    return found
