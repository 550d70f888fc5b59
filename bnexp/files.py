"""Writing a file in one move: a reader, a crash or a loss of power finds the old content or the new, never a part."""

import contextlib
import errno
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any


def write_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file aside, flush it to the disk, and move it into place.

    Raises:
        OSError: the disk is full, the folder is gone, ...; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file as UTF-8 in one move."""
    write_atomically(path, [text.encode()])


def unfinished_files(folder: Path) -> Iterator[Path]:
    """Yield what a killed process was writing aside in a folder."""
    yield from folder.glob(".*.tmp")


def _flush_names(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a loss of power does not take the move back."""
    with contextlib.suppress(OSError):  # not every system lets a folder be opened, nor every file system flush one
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_file(path: Path, limit: int = sys.maxsize) -> BufferedReader:
    """Return an open file of at most `limit` bytes.

    Raises:
        OSError: it is missing, cannot be read or is larger, or it is a pipe or a device, at which a reader would wait,
            or read on, for ever.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # of a folder, open says what it is
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if stat.S_ISREG(status.st_mode) and status.st_size > limit:
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, expected at most {limit:,}", str(path))
    return path.open("rb")


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes; raises as `open_file`."""
    with open_file(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # reading by the limit would take memory for all of it


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EROFS: "make the folder writable",
    errno.EISDIR: "take away the folder in its place",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


def with_advice(error: OSError) -> str:
    """Return what the system says of an error, and what helps, where something does."""
    advice = _ADVICE.get(error.errno or 0)
    return (error.strerror or str(error)) + (f"; {advice}" if advice else "")


_STRICT = json.JSONDecoder(parse_constant=lambda _: None)
"""Strict JSON has no nan and no infinity: what stands for them here is null."""


def parse_json(content: bytes) -> dict[str, Any]:
    """Return the keys and values of a record or a row.

    Raises:
        ValueError: it is not JSON, or no keys and values.
    """
    try:
        values = _STRICT.decode(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError("expected keys and values")
    return values


def finite_or_null(value: Any) -> Any:
    """Replace every nan and infinity below `value` by None: strict JSON has no other word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite_or_null(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(below) for below in value]
    return value
