"""Arrays out of npz files, which somebody else may have written.

An npz is a zip of .npy files. Its table says how large each member is unpacked, and never more than that is unpacked;
so a limit on what the table says is one on the memory, however densely bytes are packed. Members that nobody asked for
stay packed, and nothing is ever unpickled: NumPy's own reader would take a file that is no zip for a pickle.
"""

import contextlib
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from bnexp.document.writing import first_few
from bnexp.files import open_file

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The compressions that NumPy uses; others, such as LZMA, may ask for gigabytes before the first byte."""
SHOWN = 8
"""Members that a message names."""

Array = np.ndarray[Any, np.dtype[Any]]


class BadArraysError(ValueError):
    """An npz file is wrong; the message does not name it."""


def array_sizes(path: Path, limit: int) -> dict[str, int]:
    """Return the bytes of each array of an npz file by its name, in its order; `limit` as in `read_arrays`.

    Raises:
        OSError: the file is missing or cannot be read.
        BadArraysError: it is not an npz file.
    """
    with open_file(path, 2 * limit + 2**20) as file:
        return {member.filename.removesuffix(".npy"): member.file_size for member in _unpacked(file).infolist()}


def array_shapes(path: Path, limit: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of an npz file by its name, () where it cannot be read; as `array_sizes`."""
    with open_file(path, 2 * limit + 2**20) as file:
        packed = _unpacked(file)
        shapes: dict[str, tuple[int, ...]] = {member.filename.removesuffix(".npy"): () for member in packed.infolist()}
        for member in packed.infolist():
            with contextlib.suppress(Exception), packed.open(member) as stored:  # a header may be anything
                if member.compress_type in PACKINGS:
                    shapes[member.filename.removesuffix(".npy")] = _header(stored)[0]
    return shapes


def read_arrays(path: Path, names: Sequence[str], limit: int) -> dict[str, Array]:
    """Return the named arrays of an npz file, together at most `limit` bytes.

    Raises:
        OSError: the file is missing or cannot be read.
        BadArraysError: it is not an npz file, lacks a name or holds it twice, or what it holds is damaged, pickled or
            too large.
    """
    with open_file(path, 2 * limit + 2**20) as file:  # room for the table, and members that nobody asked for
        packed = _unpacked(file)
        members = _members(packed, names)
        if (size := sum(member.file_size for member in members.values())) > limit:
            raise BadArraysError(f"{size / 2**30:.1f} GiB in memory, expected at most {limit / 2**30:.0f} GiB")
        return {name: _array(packed, name, member) for name, member in members.items()}


def _unpacked(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # zipfile raises many things on bytes that are not a zip
        raise BadArraysError(f"truncated, corrupt or not an npz file: {error}") from None


def _members(packed: zipfile.ZipFile, names: Sequence[str]) -> dict[str, zipfile.ZipInfo]:
    """Return the one member of each name."""
    stored = [member.filename.removesuffix(".npy") for member in packed.infolist()]
    if missing := [name for name in names if name not in stored]:
        shown = first_few(stored, SHOWN) or "none"
        raise BadArraysError(f"no array {', '.join(missing)}; found {shown}; expected {', '.join(names)}")
    if twice := [name for name in names if stored.count(name) > 1]:
        raise BadArraysError(f"holds {twice[0]} {stored.count(twice[0])} times, expected once")
    return {name: packed.infolist()[stored.index(name)] for name in names}


def _array(packed: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> Array:
    if member.compress_type not in PACKINGS:
        raise BadArraysError(f"{name} is packed in way {member.compress_type}, expected deflated or not at all")
    try:
        with packed.open(member) as file:
            _check_header(file, member.file_size)
        with packed.open(member) as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
            file.read(1)  # only at the end of a member is its checksum compared
    except Exception as error:  # a header is parsed as a Python literal, which may be anything
        raise BadArraysError(_reason(name, error)) from None
    return array


def _check_header(file: IO[bytes], size: int) -> None:
    """Compare what a header claims with the size of its member: NumPy would ask for the memory first."""
    shape, dtype = _header(file)
    if not dtype.hasobject and (claimed := file.tell() + math.prod(shape) * dtype.itemsize) != size:
        raise ValueError(f"{size:,} bytes, expected {claimed:,} for its shape {shape}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    shape, _, dtype = read_header(file)
    return shape, dtype


def _reason(name: str, error: Exception) -> str:
    if "allow_pickle" in str(error):
        return (
            f"{name} holds Python objects, which are pickled and never loaded; expected plain numbers or text: "
            f"np.array({name}.tolist()) makes them of objects of one kind and one shape"
        )
    if isinstance(error, ValueError | MemoryError):
        return f"{name} is corrupt: {error or 'it claims more than fits in memory'}"
    return f"truncated, corrupt or not an npz file: {name}: {error}"
