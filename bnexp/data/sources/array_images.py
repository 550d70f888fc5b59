"""Turn the images of others into bytes, uint8 (N, C, H, W), by one rule for all parts of a set.

The range of all parts together decides: whole numbers in 0 .. 255 are taken as they are, floats in 0 .. 1 and in
-1 .. 1, fractions in 0 .. 255 and 16 bits are scaled and rounded. The order of the axes is the one that the number of
labels and a count of channels allow. Where two readings are possible, none is taken: the message has the line for each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.data.sources.account import Tally
from bnexp.data.sources.arrays import Array, BadArraysError
from bnexp.document.writing import counted

CHANNELS = (1, 3)
LEAST_SIDE = 8
"""Side of the smallest square that flat rows are read as: 4, 9 and 16 values are more often a table than an image."""
SLACK = 1e-3
"""How far floats may lie beyond 0 .. 1: resizing overshoots by rounding."""
DARKEST = 0.05
"""Least maximum of floats in 0 .. 1: bytes that were divided by 255 twice end at 0.004."""
UNLIKE = 100
"""Times that the largest value of one part may be that of another: between 0 .. 255 and 0 .. 1 it is 255."""
BITS = (10, 12, 14, 16)
"""Bits that cameras and scanners give in 16."""
CHUNK = 2**24
"""Values that are converted at once."""

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Scale:
    """From what is stored to bytes: `(x + shift) * factor`, rounded; `what` says so, and is empty for bytes."""

    what: str = ""
    factor: float = 1.0
    shift: float = 0.0


def read_images(arrays: Mapping[str, Array], counts: Mapping[str, int], tally: Tally) -> dict[str, Images]:
    """Return the images of the parts as uint8 (N, C, H, W).

    Args:
        arrays: as stored, by the name in the file, which messages say.
        counts: how many labels each has, by the same names.
        tally: counts what is changed.

    Raises:
        BadArraysError: they are not images, or could be read in two ways.
    """
    _check_numbers(arrays)
    ordered = {name: _channels_first(name, array, counts[name], tally) for name, array in arrays.items()}
    scale = _scale_of(arrays)
    images = {name: _as_bytes(array, scale) for name, array in ordered.items()}
    if scale.what:
        for name, array in ordered.items():
            tally.add(f"images of {array.dtype} {scale.what}", name, len(array))
    shapes = {name: pixels.shape[1:] for name, pixels in images.items()}
    if len(set(shapes.values())) > 1:
        found = " and ".join(f"{name} (C, H, W) = {shape}" for name, shape in shapes.items())
        raise BadArraysError(f"{found}; expected the same shape")
    return images


def _check_numbers(arrays: Mapping[str, Array]) -> None:
    """Refuse what is no number, or no finite one."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise BadArraysError(f"{name} is {array.dtype}, expected numbers: images of uint8 0 .. 255")
        if array.dtype.kind == "f" and (bad := array.size - int(np.isfinite(array).sum())):
            raise BadArraysError(
                f"{name} holds {counted(bad, 'value')} that are NaN or infinite of {array.size:,}; "
                f"np.nan_to_num({name}, posinf=0, neginf=0) makes them 0"
            )


def _scale_of(arrays: Mapping[str, Array]) -> Scale:
    """Return how the values of all parts become bytes."""
    ranges = {name: (float(array.min()), float(array.max())) for name, array in arrays.items() if array.size}
    _check_alike(arrays, ranges)
    if all(array.dtype == np.uint8 for array in arrays.values()):
        return Scale()
    if all(array.dtype.kind == "b" for array in arrays.values()):
        return Scale("read as 0 and 255", 255)
    low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    scale = _known_range(low, high, list(arrays.values()))
    if scale is None:
        first = next(iter(arrays))
        found = f"{first} is {arrays[first].dtype} in {low:.6g} .. {high:.6g}"
        raise BadArraysError(
            f"{found}, which could be several ranges of images; {_cure(first, arrays[first], low, high)}"
        )
    return scale


def _check_alike(arrays: Mapping[str, Array], ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse parts that were scaled in different ways: one rule would spoil one of them."""
    sizes = [max(-low, high) for low, high in ranges.values() if max(-low, high) > 0]
    differ = (
        len({"i" if array.dtype.kind == "u" else array.dtype.kind for array in arrays.values()}) > 1
        or len({low < -SLACK for low, _ in ranges.values()}) > 1
        or (sizes and max(sizes) > UNLIKE * min(sizes))
    )
    if differ:
        found = " and ".join(
            f"{name} is {arrays[name].dtype} in {low:.6g} .. {high:.6g}" for name, (low, high) in ranges.items()
        )
        raise BadArraysError(f"{found}; expected one type and one range for all parts: scale them alike")


def _known_range(low: float, high: float, arrays: Sequence[Array]) -> Scale | None:
    """Return the scale of a range that leaves no doubt."""
    whole = all(array.dtype.kind != "f" or bool((array == np.round(array)).all()) for array in arrays)
    floats = arrays[0].dtype.kind == "f"
    if floats and low >= -SLACK and (DARKEST <= high <= 1 + SLACK or high <= 0):
        return Scale("in 0 .. 1 read as 255 * x, rounded", 255)
    if floats and -1 - SLACK <= low <= -0.9 and 0.9 <= high <= 1 + SLACK:
        return Scale("in -1 .. 1 read as 127.5 * (x + 1), rounded", 127.5, 1)
    if low >= 0 and high <= 255 and whole:
        return Scale("taken as bytes: whole numbers in 0 .. 255")
    if low >= 0 and 128 <= high <= 255:
        return Scale("in 0 .. 255 rounded")
    if all(array.dtype == np.uint16 and int(array.max()) > 255 for array in arrays if array.size):
        bits = next(bits for bits in BITS if high < 2**bits)
        return Scale(f"scaled from {bits} bits to 8: 255 / {2**bits - 1} * x, rounded", 255 / (2**bits - 1))
    return None


def _cure(name: str, array: Array, low: float, high: float) -> str:
    """Return the line that makes bytes of a range, whatever it is."""
    wide = f"{name}.astype('f8')" if array.dtype.kind in "iu" else name  # NumPy keeps small whole numbers small
    shifted = name if low >= 0 else f"({wide} + {-low:.6g})"
    black = 0 if low >= 0 else low
    return (
        f"(255 / {high - black:.6g} * {shifted}).round().astype('uint8') makes {black:.6g} black and {high:.6g} white; "
        "scale every part alike, and leave standardizing to data.preprocess"
    )


def _as_bytes(images: Array, scale: Scale) -> Images:
    """Return contiguous bytes; a part of the images at a time, for floats of double size would not fit beside them."""
    if images.dtype == np.uint8 and scale.factor == 1:
        return np.ascontiguousarray(images)
    out = np.empty(images.shape, dtype=np.uint8)
    step = max(CHUNK // max(math.prod(images.shape[1:]), 1), 1)
    for start in range(0, len(images), step):
        values = images[start : start + step].astype(np.float64)
        out[start : start + step] = ((values + scale.shift) * scale.factor).round().clip(0, 255)
    return out


def _channels_first(name: str, array: Array, count: int, tally: Tally) -> Array:
    """Return images as (N, C, H, W); `count` labels say which axis the images are on."""
    if not array.size:
        raise BadArraysError(f"{name} has shape {array.shape}, expected at least 1 image and 1 pixel")
    if array.ndim < 2:
        what = "a single value" if array.ndim == 0 else "a value each"
        raise BadArraysError(f"{name} has shape {array.shape}: {what}, no images; expected (N, H, W) or (N, H, W, 3)")
    array = _images_first(name, array, count, tally)
    at = f"{name} has shape {array.shape}"
    if array.ndim == 2:
        return _from_rows(name, array, count, tally)
    if array.ndim == 3:
        return array[:, np.newaxis]
    expected = "expected (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3"
    if array.ndim != 4:
        single = f"; np.squeeze({name}) drops axes of 1" if 1 in array.shape else ""
        raise BadArraysError(f"{at}; {expected}{single}")
    if len(array) in CHANNELS and array.shape[1] == count != len(array):
        raise BadArraysError(f"{at}: channels before images; {name}.transpose(1, 0, 2, 3) puts the images first")
    first, last = array.shape[1] in CHANNELS, array.shape[3] in CHANNELS
    if first and last:
        raise BadArraysError(
            f"{at}: its channels could be the second or the last extent; save gray images as (N, H, W), and color as "
            "(N, H, W, 3) with another height"
        )
    if not first and not last:
        return _without_alpha(name, array, f"{at}; {expected}", tally)
    return array.transpose(0, 3, 1, 2) if last else array


def _images_first(name: str, array: Array, count: int, tally: Tally) -> Array:
    """Put the images on the first axis where only the last one is as long as the labels: (H, W, C, N) or (H, W, N)."""
    *others, last = array.shape
    channels = array.ndim == 4 and (others[0] in CHANNELS or others[2] in CHANNELS)
    square = array.ndim == 3 and others[0] == others[1]
    if len(array) != count == last and (channels or square):
        tally.add("images on the last axis, as MATLAB has them, put first", name, count)
        return np.moveaxis(array, -1, 0)
    return array


def _from_rows(name: str, array: Array, count: int, tally: Tally) -> Array:
    """Return flat rows (N, pixels) as gray images where that is a square; the order of colors cannot be seen."""
    at, pixels = f"{name} has shape {array.shape}", array.shape[1]
    if len(array) != count == pixels:
        raise BadArraysError(f"{at}: a column for each of {counted(count, 'label')}; {name}.T has the images in rows")
    side, of_color = math.isqrt(pixels), math.isqrt(pixels // 3)
    if 3 * of_color**2 == pixels and of_color >= LEAST_SIDE:
        raise BadArraysError(
            f"{at}: flat images; expected their axes: {name}.reshape(-1, 3, {of_color}, {of_color}) where all red "
            f"comes first, as in CIFAR's own files, {name}.reshape(-1, {of_color}, {of_color}, 3) where the three "
            "colors of a pixel stand together"
        )
    if side**2 != pixels or side < LEAST_SIDE:
        raise BadArraysError(
            f"{at}: a table of features, or flat images; bnexp takes images, no tables; expected their axes: "
            f"{name}.reshape(-1, HEIGHT, WIDTH)"
        )
    tally.add(f"flat rows of {pixels:,} read as {side} x {side}", name, len(array))
    return array.reshape(-1, 1, side, side)


def _without_alpha(name: str, array: Array, message: str, tally: Tally) -> Array:
    """Return images of 2 or 4 channels without the last, alpha, where it is opaque throughout."""
    axes = [axis for axis in (1, 3) if array.shape[axis] in (2, 4)]
    if len(axes) != 1:
        raise BadArraysError(f"{message}; np.delete or a slice of {name} leaves the channels to keep")
    images = np.moveaxis(array, axes[0], 1)
    if (images[:, -1] == images[:, -1].flat[0]).all():
        tally.add("images without their constant last channel (alpha)", name, len(images))
        return images[:, :-1]
    at = "..., " if axes[0] == 3 else ":, "
    constant = [bool((images[:, channel] == images[:, channel].flat[0]).all()) for channel in range(images.shape[1])]
    if constant == [True, False, False, False]:
        raise BadArraysError(f"{message}; the first channel is constant, as alpha may be: {name}[{at}1:] leaves it out")
    colors, alpha = ("0", "1") if images.shape[1] == 2 else (":3", "3:")
    raise BadArraysError(
        f"{message}; if the last channel is alpha, {_on_background(name, images, at + colors, at + alpha)}"
    )


def _on_background(name: str, images: Array, colors: str, alpha: str) -> str:
    """Return the line that puts images (N, C, H, W) with alpha on black, or on white where the colors are dark."""
    most = float(images.max()) or 1
    light = float(images[:, :-1].mean()) > most / 2
    white = "" if light else f" + {most:g} * (1 - a)"
    whole = f".round().astype('{images.dtype}')" if images.dtype.kind in "iu" else ""
    line = f"a = {name}[{alpha}] / {most:g}; ({name}[{colors}] * a{white}){whole}"
    return f"this puts them on {'black' if light else 'white'}: {line}; {name}[{colors}] would lose what alpha shows"
