"""Writing a file in one move: a reader, a crash or a loss of power finds the old content or the new, never a part."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


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
