"""Decode image files to bytes of one shape, in parallel.

Threads serve: Pillow lets go of the interpreter while it decodes and resizes, and a thread needs no second start of
the program. The rules, for all images of a set together:

- Color: gray, with one channel, where every image is gray; else RGB, with three. Transparency is dropped.
- Size: `data.image_size`; else the size of the images where all have one; else the median height and the median width.
- An image of another size is scaled, keeping its proportions, until it just covers that size (bilinear, with
  antialiasing), and what stands over is cut off evenly on both sides.
- Only 8 bits per channel are read. The orientation that a camera noted is not applied. An animation gives its first
  image.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bnexp.data.progress import progress
from bnexp.errors import BnexpError
from bnexp.files import open_file

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""The formats that are tried, whatever the file's ending: those that Pillow decodes itself. EPS runs Ghostscript."""
MAX_PIXELS = 2**26
"""Pixels that one image may have: a file of a few bytes can claim any number."""
MAX_FILE_BYTES = 4 * MAX_PIXELS
"""Bytes that the file of one image may have: so many as pixels of four channels. WebP is read whole before a look."""
MAX_SET_BYTES = 8 * 2**30
"""Bytes that a whole set may take in memory, where it stays while a network trains."""
CHUNK = 64
"""Images that a thread takes at once."""

GRAY_MODES = {"1", "L", "LA"}
COLOR_MODES = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Shape = tuple[int, int, int]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Header:
    """Size and color of an image, from its first bytes."""

    height: int
    width: int
    gray: bool


@dataclass(frozen=True)
class Broken:
    """An image that cannot be read: its number in the list of paths, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Decoded:
    """The images of a set that could be read, uint8 (N, C, H, W), with their numbers in the list of paths.

    `broken` are the others, in order; `sizes` is how many different sizes there were.
    """

    images: Images
    numbers: list[int]
    broken: list[Broken]
    sizes: int


def decode(folder: Path, paths: Sequence[str], image_size: tuple[int, int] | None) -> Decoded:
    """Return the images at `paths` below a folder, by the rules above.

    A file is decoded when it is first looked at if it is like the first one, and looked at again if that guess of the
    common shape was wrong.

    Raises:
        BnexpError: none can be read, or all together would not fit in memory.
    """
    files = [folder / path for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # such an image is broken, and named as such
        guess = _first_shape(files, image_size)
        images = _room(folder, len(files), guess) if len(files) * math.prod(guess) <= MAX_SET_BYTES else None
        results = _in_threads("reading images", len(files), lambda n: _look(files[n], n, image_size, images))
        headers = {number: header for number, header in enumerate(results) if isinstance(header, Header)}
        broken = [result for result in results if isinstance(result, Broken)]
        shape = common_shape(list(headers.values()), image_size) if headers else guess
        again = list(headers)
        if images is not None and images.shape[1:] == shape:
            again = [number for number in again if common_shape([headers[number]], image_size) != shape]
        else:
            images = _room(folder, len(files), shape)
        late = _in_threads("scaling images", len(again), lambda n: _fill(files[again[n]], again[n], images))
    broken = sorted([*broken, *(result for result in late if result)], key=lambda image: image.number)
    if len(broken) == len(files):
        raise BnexpError(f"{folder}: none of {len(files):,} images can be read, such as {paths[0]}: {broken[0].reason}")
    numbers = sorted(set(headers) - {image.number for image in broken})
    sizes = {(headers[number].height, headers[number].width) for number in numbers}
    return Decoded(images if not broken else images[numbers], numbers, broken, len(sizes))


def common_shape(headers: Sequence[Header], image_size: tuple[int, int] | None) -> Shape:
    """Return channels, height and width of the whole set, by the rules above."""
    channels = 1 if all(header.gray for header in headers) else 3
    if image_size is not None:
        return (channels, *image_size)
    return (channels, median_low(header.height for header in headers), median_low(header.width for header in headers))


def _first_shape(files: Sequence[Path], image_size: tuple[int, int] | None) -> Shape:
    """Return the shape that the set has if all its images are like the first that can be looked at."""
    headers = (header for number, file in enumerate(files) if isinstance(header := _look(file, number), Header))
    return next((common_shape([header], image_size) for header in headers), (1, 1, 1))


def _room(folder: Path, count: int, shape: Shape) -> Images:
    """Return an array for all images, to be filled."""
    if (size := count * math.prod(shape)) > MAX_SET_BYTES:
        raise BnexpError(
            f"{folder}: {count:,} images of {shape[1]} x {shape[2]} pixels would take {size / 2**30:.1f} GiB in "
            f"memory, expected at most {MAX_SET_BYTES / 2**30:.0f} GiB; data.image_size makes them smaller"
        )
    return np.empty((count, *shape), dtype=np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Yield an image of which only the header was read, and found acceptable."""
    with open_file(path, MAX_FILE_BYTES) as file, Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS:,}")
        if image.mode not in GRAY_MODES | COLOR_MODES:
            raise ValueError(f"mode {image.mode}, expected 8 bits per channel")
        yield image


def _look(
    file: Path, number: int, image_size: tuple[int, int] | None = None, images: Images | None = None
) -> Header | Broken:
    """Return the header of a file; put its pixels among `images` where they have the shape that it leads to."""
    try:
        with _opened(file) as image:
            header = Header(image.height, image.width, image.mode in GRAY_MODES)
            if images is not None and common_shape([header], image_size) == images.shape[1:]:
                images[number] = _pixels(image, images.shape[1:])
            return header
    except Exception as error:  # a decoder may raise anything on bytes that are not an image
        return Broken(number, _reason(error))


def _fill(file: Path, number: int, images: Images) -> Broken | None:
    """Put the pixels of a file among `images`."""
    try:
        with _opened(file) as image:
            images[number] = _pixels(image, images.shape[1:])
    except Exception as error:  # likewise
        return Broken(number, _reason(error))
    return None


def _pixels(image: Image.Image, shape: tuple[int, ...]) -> Images:
    """Return the pixels of an image as uint8 (C, H, W)."""
    channels, height, width = shape
    plain = image.convert("L" if channels == 1 else "RGB")
    if plain.size != (width, height):
        plain = ImageOps.fit(plain, (width, height), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)  # (H, W) or (H, W, C)
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _in_threads(what: str, count: int, look: Callable[[int], Result]) -> list[Result]:
    """Return `look` of each number below `count`, in order; an interruption leaves no thread at work."""
    if not count:
        return []

    def look_at(chunk: range) -> list[Result]:
        return [look(number) for number in chunk]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor, found = ThreadPoolExecutor(cores), list[Result]()
    try:
        with progress(what, count) as advance:
            chunks = [range(count)[first : first + CHUNK] for first in range(0, count, CHUNK)]
            for results in executor.map(look_at, chunks):
                advance(len(results))
                found += results
    finally:
        executor.shutdown(cancel_futures=True)
    return found
