"""Write files whole, read them within limits, and speak strict JSON; used wherever bnexp touches the disk.

A reader, a crash or a loss of power finds the old content of a file or the new, never a part of either; and no damaged
folder can stall a command or fill its memory.
"""

import contextlib
import errno
import json
import math
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any


def write_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file under a temporary name, flush it to the disk, and move it into place.

    After an OSError the old content is still in place. Nobody can guess the temporary name, and a file or link that has
    it is not written to; a link at `path` is replaced, not followed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
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
    """Write a text file as UTF-8; see `write_atomically`."""
    write_atomically(path, [text.encode()])


def unfinished_files(folder: Path) -> Iterator[Path]:
    """Yield the temporary files that a killed process left in a folder."""
    yield from folder.glob(".*.tmp")


def _flush_names(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a loss of power does not undo the move."""
    with contextlib.suppress(OSError):  # some systems open no folder, and some file systems flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def open_to_append(path: Path) -> FileIO:
    """Open a file unbuffered to append to it, and make it where there is none.

    Raises:
        OSError: it cannot be written, or is a link, which might lead anywhere.
    """
    refuse_link(path)
    as_it_is = getattr(os, "O_BINARY", 0)  # else Windows writes two bytes for each newline
    return FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK | as_it_is, 0o666), "ab")


def refuse_link(path: Path) -> None:
    """Raise an OSError where a link lies in the place of a file or folder of our own."""
    if path.is_symlink():
        found = f"a link to {os.readlink(path)}; expected itself there: put what it leads to in its place"
        raise OSError(errno.ELOOP, found, str(path))


def open_file(path: Path, limit: int = sys.maxsize, *, links: bool = True) -> BufferedReader:
    """Open a regular file of at most `limit` bytes for reading; without `links` no link to one.

    Raises:
        OSError: it is missing, unreadable or larger; or it is a pipe or a device, where reading might never end.
    """
    if not links:
        refuse_link(path)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # opening a folder says what it is
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if stat.S_ISREG(status.st_mode) and status.st_size > limit:
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, expected at most {limit:,}", str(path))
    return path.open("rb")


def read_file(path: Path, limit: int, *, links: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; raises like `open_file`."""
    with open_file(path, limit, links=links) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # read(limit) would reserve `limit` bytes


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
    """Return the message of a system error, with advice on how to mend it where there is any."""
    advice = _ADVICE.get(error.errno or 0)
    return (error.strerror or str(error)) + (f"; {advice}" if advice else "")


_STRICT = json.JSONDecoder(parse_constant=lambda _: None)
"""Strict JSON has no NaN and no Infinity: where a file holds one, null is read."""


def parse_json(content: bytes) -> dict[str, Any]:
    """Parse a JSON object, such as a record or a row of metrics; ValueError where the content is none."""
    try:
        values = _STRICT.decode(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError("expected keys and values")
    return values


def finite_or_null(value: Any) -> Any:
    """Replace every nan and infinity in `value` by None: strict JSON can write them only as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite_or_null(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(below) for below in value]
    return value
