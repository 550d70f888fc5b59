"""Decode one image file without loss of what it shows: gray or RGB of 8 bits, upright and opaque.

- The orientation that a camera noted (EXIF or XMP) is applied.
- Transparency, whether a channel, a palette's or one marked color, is composed on `data.background`.
- More than 8 bits: `Range` tells what an image uses, and the white point of the whole set scales it (`white_point`).
- Colors of another profile, such as Adobe RGB or Display P3, and LAB become sRGB by Little CMS; CMYK is converted by
  Pillow, without its profile. An animation or many pages give the first image.
"""

import io
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from bnexp.data.sources.formats import FORMATS
from bnexp.data.sources.transparency import composed
from bnexp.files import open_file

MAX_PIXELS = 2**26
"""Pixels that one image may have: a file of a few bytes can claim any number."""
MAX_FILE_BYTES = 4 * MAX_PIXELS
"""Bytes that the file of one image may have: so many as pixels of four channels. WebP is read whole before a look."""

SHADES = (8, 10, 12, 14, 16)
"""Bits per channel that cameras and scanners have."""
SAME_COLOR = 3
"""Levels of 255 by which colors of a profile may differ from those of sRGB and be taken as they are."""

ORIENTATION, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 0x0112, 0x0102, 0x0106, 0x0153
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
GRAY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F"}
COLOR_MODES = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}
DEEP_MODES = {"I;16", "I;16B", "I;16L", "I", "F"}

Array = np.ndarray[Any, np.dtype[Any]]


class TooLargeError(ValueError):
    """An image has more pixels than one may have."""


@dataclass(frozen=True)
class Range:
    """The values of an image of more than 8 bits per channel, without its transparency."""

    low: float
    high: float
    floats: bool
    whole: bool


@dataclass(frozen=True)
class Header:
    """Size as seen upright, and color of an image, from its first bytes; its range where it has over 8 bits."""

    height: int
    width: int
    gray: bool
    format: str
    range: Range | None = None


@dataclass(frozen=True)
class Picture:
    """An image as it is seen, of mode L or RGB, what was changed, and the backgrounds on which it would be lost."""

    image: Image.Image
    changes: tuple[str, ...] = ()
    lost_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opened:
    """An image of which only the header was read; `raw` is how the file packs its pixels, such as `RGB;16B`."""

    image: Image.Image
    path: Path
    raw: str

    @property
    def is_deep(self) -> bool:
        """Whether it has more than 8 bits per channel."""
        return self.image.mode in DEEP_MODES or ";16" in self.raw

    @property
    def is_negative(self) -> bool:
        """Whether a TIFF of over 8 bits has white at 0, as X-rays have; Pillow turns round 8 bits only."""
        return self.is_deep and getattr(self.image, "tag_v2", {}).get(PHOTOMETRIC) == 0

    @property
    def has_more_bands(self) -> bool:
        """Whether a TIFF has bands besides gray, color and alpha."""
        return self.image.format == "TIFF" and "X" in self.raw

    @property
    def is_gray(self) -> bool:
        """Whether it has no color, by its mode or by its palette."""
        if self.image.mode == "P" and (palette := self.image.getpalette("RGB")):
            return palette[0::3] == palette[1::3] == palette[2::3]
        return self.image.mode in GRAY_MODES or self.raw == "LA;16B"


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Yield an image whose header was found acceptable.

    Raises:
        ValueError: it has too many pixels, or they are packed in a way that is not read.
        OSError: it cannot be read, or is no image.
    """
    with open_file(path, MAX_FILE_BYTES) as file, Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise TooLargeError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS:,}")
        if image.mode not in GRAY_MODES | COLOR_MODES:
            raise ValueError(f"mode {image.mode}, which is not read; save it as RGB")
        found = Opened(image, path, _raw_mode(image))
        _check_tags(found)
        yield found


def _check_tags(found: Opened) -> None:
    """Refuse a TIFF whose numbers Pillow would take for others."""
    tags = getattr(found.image, "tag_v2", {})
    bits, signed = int(np.max(tags.get(BITS_PER_SAMPLE, 8))), 2 in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1))
    if bits > 8 and not found.is_deep:
        raise ValueError(f"{found.image.mode} with {bits} bits in separate planes, which is not read; save it as PNG")
    if signed and bits <= 8:
        raise ValueError(f"whole numbers of {bits} bits with a sign, which are not read; save them as 0 .. 255")
    if found.is_negative and not found.image.mode.startswith("I;16"):
        raise ValueError("white is stored as 0, which is not read in this depth; save it with black as 0")


def header_of(found: Opened) -> Header:
    """Return the header of an image; one of over 8 bits is decoded for its range."""
    image = found.image
    height, width = image.height, image.width
    if _orientation(image) >= 5:
        height, width = width, height
    known = "JPEG" if image.format == "MPO" else str(image.format)
    return Header(height, width, found.is_gray, known, _range_of(found) if found.is_deep else None)


def picture_of(found: Opened, background: str, white: float) -> Picture:
    """Return an image as it is seen; `white` is the value of white where it has over 8 bits."""
    image = found.image
    turn = TURNS.get(_orientation(image))
    changes = ["turned as their orientation tag says"] * (turn is not None or _turned_by_pillow(image))
    if found.is_deep:
        color, alpha = _deep_values(found)
        plain = Image.fromarray(_scaled(color, white))
        changes.append(f"of more than 8 bits, with white at {white:,g}")
    else:
        plain, alpha, converted = _plain(found)
        changes += converted
    if (profile := image.info.get("icc_profile")) and not found.is_gray:
        plain, converted = _as_srgb(plain, profile)
        changes += converted
    changes += ["with further bands, such as infrared, which are left out"] * found.has_more_bands
    changes += ["AVIF of more than 8 bits, of which Pillow gives the upper 8"] * _is_deep_avif(found)
    lost_on: tuple[str, ...] = ()
    if alpha is not None and alpha.min() < 255:
        if not alpha.max():
            raise ValueError("transparent everywhere: it shows nothing; save it without its alpha channel")
        plain, lost_on, faults = composed(plain, alpha, background)
        changes += [f"with transparency, put on {background}", *faults]
    if image.format != "MPO" and _has_more_frames(image):
        changes.append("of several frames or pages, of which the first is used")
    return Picture(plain if turn is None else plain.transpose(turn), tuple(changes), lost_on)


def white_point(ranges: Sequence[Range]) -> float:
    """Return the value that is white for all images of over 8 bits in a set, whole numbers or floats.

    Whole numbers have white at 2^b - 1, where b of 8, 10, 12, 14 or 16 (or as many as there are, beyond) holds all that
    the set uses: a camera's 12 bits in 16 keep all their shades. Floats have it at 1.

    Raises:
        ValueError: floats beyond 1 that are no whole numbers.
    """
    high = max(found.high for found in ranges)
    if not ranges[0].floats or (high > 1 and all(found.whole for found in ranges)):
        used = math.ceil(math.log2(high + 1))
        return float(2 ** next((bits for bits in SHADES if bits >= used), used) - 1)
    if high > 1:
        raise ValueError(f"floats from {min(found.low for found in ranges):g} to {high:g}, expected 0 .. 1")
    return 1.0


def _orientation(image: Image.Image) -> int:
    """Return the orientation that is still to be applied, 1 for upright: Pillow applies that of TIFF itself."""
    if image.format == "TIFF":
        return 1
    if image.format == "PNG" and _has_late_chunks(image):
        image.load()
    try:
        found = Image.Image.getexif(image).get(ORIENTATION)
    except Exception:  # what is no EXIF says nothing
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _turned_by_pillow(image: Image.Image) -> bool:
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(ORIENTATION) in TURNS


def _has_late_chunks(image: Image.Image) -> bool:
    """Tell whether a PNG has EXIF or XMP behind its pixels, which Pillow only reads after them."""
    file: Any = getattr(image, "fp", None)
    if file is None:
        return False
    before, pixels, late = file.tell(), False, False
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        late |= pixels and head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
        pixels |= head[4:] == b"IDAT"
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    file.seek(before)
    return late


def _has_more_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a frame behind the first is damaged
        return True


def _raw_mode(image: Image.Image) -> str:
    """Return how the file packs its pixels, in Pillow's words, such as `RGB;16B`."""
    for tile in getattr(image, "tile", ()):
        raw = tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else ""
        return str(raw)
    return ""


def _range_of(found: Opened) -> Range:
    values, _ = _deep_values(found)
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low + high):
        raise ValueError("holds values that are not finite (NaN or infinity); numpy.nan_to_num(a) puts others there")
    if low < 0:
        signed = "32767.5 * (a + 1)" if low >= -1 and high <= 1 else "a - LOWEST"
        line = f"save each as ({signed}).round().astype('uint16')"
        of_all = ", with the lowest value of the whole set" * (signed == "a - LOWEST")
        raise ValueError(f"values from {low:g} to {high:g}, expected none below 0; {line}{of_all}")
    floats = values.dtype.kind == "f"
    return Range(low, high, floats, not floats or bool((values == np.floor(values)).all()))


def _deep_values(found: Opened) -> tuple[Array, Array | None]:
    """Return the color of an image of over 8 bits, (H, W) or (H, W, 3), and its opacity 0 .. 255, (H, W) or None.

    Pillow keeps the upper 8 of 16 bits per color. They are read twice, the second time with the two bytes exchanged.
    """
    image, raw, marked = found.image, found.raw, found.image.info.get("transparency")
    if image.mode in DEEP_MODES:
        values = np.asarray(image)
        if found.is_negative:
            values = (
                2 ** int(np.max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, 16))) - 1 - values.astype(np.int64)
            )
        return values, None if marked is None else np.where(values == marked, 0, 255)
    if raw == "LA;16B":
        both = _unpacked_as(found.path, "RGBA").view(">u2").astype(np.int64)
        return both[:, :, 0], _rounded(both[:, :, 1], 65535)
    if raw.partition(";")[0] not in ("RGB", "RGBA", "RGBX"):
        raise ValueError(f"16 bits per channel packed as {raw}, which is not read; save it as RGB")
    lower = "L" if raw[-1] == "B" or (raw[-1] == "N" and sys.byteorder == "big") else "B"
    values = np.asarray(image).astype(np.int64) * 256 + _unpacked_as(found.path, raw[:-1] + lower)
    if values.shape[2] == 4:
        return values[:, :, :3], _rounded(values[:, :, 3], 65535)
    return values, None if marked is None else np.where((values == marked).all(axis=2), 0, 255)


def _unpacked_as(path: Path, raw: str) -> Array:
    """Return the pixels of a file, unpacked in another way than it says."""
    with opened(path) as found:
        image: Any = found.image
        image.tile = [
            tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])) for tile in image.tile
        ]
        return np.asarray(image)


def _rounded(values: Array, white: float) -> Array:
    """Return values 0 .. white as 0 .. 255, rounded to the nearest."""
    if values.dtype.kind == "f":
        scaled: Array = np.floor(values.astype(np.float64) * 255 / white + 0.5)
        return scaled
    return (values.astype(np.int64) * 510 + int(white)) // (2 * int(white))


def _scaled(values: Array, white: float) -> Array:
    return np.minimum(_rounded(values, white), 255).astype(np.uint8)


def _plain(found: Opened) -> tuple[Image.Image, Array | None, list[str]]:
    """Return an image of 8 bits as L or RGB, its opacity (H, W) or None, and what was converted."""
    image = found.image
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        return converted or image, None, ["of LAB, converted to RGB"]
    if image.mode == "CMYK":
        return image.convert("RGB"), None, ["of CMYK, converted to RGB"]
    target = "L" if found.is_gray else "RGB"
    marked = image.info.get("transparency")
    if marked is not None and image.mode in ("1", "L", "RGB"):
        step = {"L;2": 85, "L;4": 17}.get(found.raw, 1)  # gray of few bits is spread over 0 .. 255
        marked = 255 * bool(marked) if image.mode == "1" else marked
        plain = image.convert(target)
        same = np.asarray(plain) == np.multiply(marked, step)
        return plain, np.where(same.all(axis=2) if same.ndim == 3 else same, 0, 255), []
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        plain = whole.getchannel("R") if target == "L" else Image.fromarray(np.asarray(whole)[:, :, :3])
        return plain, np.asarray(whole)[:, :, 3], []
    return image.convert(target), None, []


def _as_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[str]]:
    """Return an image of mode RGB with the colors of sRGB, and what was converted."""
    found = _transform_of(profile)
    if found is None or image.mode != "RGB":
        return image, []
    converted = ImageCms.applyTransform(image, found[1])
    return converted or image, [f"of the color profile {found[0]}, converted to sRGB"]


@lru_cache(maxsize=64)
def _transform_of(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """Return the name of an ICC profile and how its colors become sRGB; None where they are, or none of RGB."""
    try:
        known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(known, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent)
        name = ImageCms.getProfileDescription(known).strip()
    except (ImageCms.PyCMSError, OSError, TypeError):  # damaged, or of gray or CMYK
        return None
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, 6).astype(np.uint8)] * 3), axis=-1).reshape(6, 36, 3)
    seen = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
    return None if np.abs(seen.astype(int) - grid).max() <= SAME_COLOR else (name, transform)


def _is_deep_avif(found: Opened) -> bool:
    """Tell whether an AVIF has 10 or 12 bits, by the settings of its codec (av1C): Pillow says nothing of it."""
    if found.image.format != "AVIF":
        return False
    with open_file(found.path, MAX_FILE_BYTES) as file:
        head = file.read(4096)
    at = head.find(b"av1C") + 4
    return at > 3 and len(head) > at + 2 and bool(head[at + 2] & 0x40)
