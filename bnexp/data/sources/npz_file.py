"""The dataset `npz`: one NumPy file with the arrays x_train, y_train, x_test and y_test.

Images are uint8: (N, H, W) is gray; of four extents the last is the channels where it is 1 or 3 (N, H, W, C), else the
second (N, C, H, W). Where both could be, the file is refused. Labels are whole numbers, (N,) or (N, 1), from 0 without
a gap. Nothing is ever unpickled.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnexp.config.data_section import DatasetInfo, NpzData, unequal_counts
from bnexp.data.sources.arrays import Array, BadArraysError, read_arrays
from bnexp.data.sources.decode import MAX_SET_BYTES, Images
from bnexp.data.sources.place import own_path
from bnexp.errors import BnexpError, ConfigError

NAMES = ("x_train", "y_train", "x_test", "y_test")
CHANNELS = (1, 3)

Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True)
class NpzSet:
    """Images uint8 (N, C, H, W) and labels int64 (N,) of both parts."""

    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels


def read_npz(data: NpzData, data_dir: Path) -> NpzSet:
    """Return the arrays of the file that `data.path` names, checked.

    Raises:
        ConfigError: no such file.
        BnexpError: it is not an npz file, or its arrays are not images and labels as described above.
    """
    path = own_path(data, data_dir)
    arrays = _read(path)
    images = {name: _channels_first(path, name, arrays[name]) for name in ("x_train", "x_test")}
    labels = {name: _labels(path, name, arrays[name]) for name in ("y_train", "y_test")}
    for part in ("train", "test"):
        counts = len(images[f"x_{part}"]), len(labels[f"y_{part}"])
        if counts[0] != counts[1] or not counts[0]:
            raise BnexpError(f"{path}: x_{part} holds {counts[0]:,} images and y_{part} {counts[1]:,} labels")
    if images["x_train"].shape[1:] != images["x_test"].shape[1:]:
        shapes = " and ".join(f"{name} (C, H, W) = {array.shape[1:]}" for name, array in images.items())
        raise BnexpError(f"{path}: {shapes}; expected the same shape")
    _check_classes(path, labels["y_train"], labels["y_test"])
    return NpzSet(images["x_train"], labels["y_train"], images["x_test"], labels["y_test"])


def npz_info(data: NpzData, data_dir: Path) -> DatasetInfo:
    """Return shape and sizes of the file that `data.path` names."""
    arrays = read_npz(data, data_dir)
    channels, height, width = arrays.x_train.shape[1:]
    classes = int(arrays.y_train.max()) + 1
    summary = f"arrays in {own_path(data, data_dir)}"
    train, test = len(arrays.y_train), len(arrays.y_test)
    counts = unequal_counts(arrays.y_train.tolist(), classes)
    return DatasetInfo(summary, (channels, height, width), classes, train, test, class_counts=counts)


def _read(path: Path) -> dict[str, Array]:
    try:
        return read_arrays(path, NAMES, MAX_SET_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected an npz file (data.path)") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror or error}; expected an npz file (data.path)"
        ) from None
    except BadArraysError as error:
        raise BnexpError(f"{path}: {error}") from None


def _channels_first(path: Path, name: str, array: Array) -> Images:
    """Return images as (N, C, H, W)."""
    if array.dtype != np.uint8:
        mend = "; (255 * x).round().astype('uint8') makes them of floats in 0 .. 1" if array.dtype.kind == "f" else ""
        raise BnexpError(f"{path}: {name} is {array.dtype}, expected uint8{mend}")
    at = f"{path}: {name} has shape {array.shape}"
    expected = "expected (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3"
    if array.ndim not in (3, 4) or not all(array.shape[1:]):
        raise BnexpError(f"{at}; {expected}")
    if array.ndim == 3:
        return np.ascontiguousarray(array[:, np.newaxis])
    first, last = array.shape[1] in CHANNELS, array.shape[3] in CHANNELS
    if first and last:
        raise BnexpError(f"{at}: its channels could be the second or the last extent; save gray images as (N, H, W)")
    if not first and not last:
        raise BnexpError(f"{at}; {expected}")
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if last else array)


def _labels(path: Path, name: str, array: Array) -> Labels:
    if array.dtype.kind not in "iu":
        raise BnexpError(f"{path}: {name} is {array.dtype}, expected whole numbers")
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise BnexpError(f"{path}: {name} has shape {array.shape}, expected (N,) or (N, 1)")
    labels: Labels = array.reshape(-1).astype(np.int64)
    return labels


def _check_classes(path: Path, train: Labels, test: Labels) -> None:
    present = np.unique(train)
    expected = np.arange(len(present))
    if len(present) < 2:
        raise BnexpError(f"{path}: y_train holds the one class {present[0]}, expected at least 2")
    if not np.array_equal(present, expected):
        odd = next(int(label) for label, wanted in zip(present, expected, strict=True) if label != wanted)
        raise BnexpError(
            f"{path}: y_train has {len(present)} classes, expected 0 .. {len(present) - 1} without a gap; found {odd}"
        )
    if len(unknown := np.setdiff1d(test, present)):
        raise BnexpError(f"{path}: y_test has the class {unknown[0]}, which y_train does not have")
