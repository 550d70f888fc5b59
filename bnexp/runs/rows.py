"""Where the figures of a step go: one writer, or several that are fed alike."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bnexp.errors import BnexpError
from bnexp.files import finite_or_null, open_file

Values = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Writer(Protocol):
    """Takes the figures of a step. Names are `quantity/where`."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Take one number per name."""

    def histograms(self, step: int, values: dict[str, Values]) -> None:
        """Take many numbers per name, of any shape."""

    def close(self) -> None:
        """Write what is left and let go of the files."""


class Writers:
    """Feeds several writers alike."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Hand one number per name to each writer."""
        for writer in self._writers:
            writer.scalars(step, values)

    def histograms(self, step: int, values: dict[str, Values]) -> None:
        """Hand many numbers per name to each writer."""
        for writer in self._writers:
            writer.histograms(step, values)

    def close(self) -> None:
        """Close each writer, in order; when one fails, the others are closed all the same."""
        with ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)


_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Rows:
    """The beginning of a metrics.jsonl: how many rows and bytes, and their SHA-256."""

    count: int
    size: int
    sha256: str


class MetricsWriter:
    """Appends rows to metrics.jsonl; each row goes to the system whole, in one write."""

    def __init__(self, path: Path) -> None:
        self._count, self._size, self._hash = 0, 0, hashlib.sha256()
        for block in _blocks(path, path.stat().st_size) if path.exists() else ():
            self._note(block)
        self._path, self._file = path, path.open("ab", buffering=0)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Append the row of `step`. A value that is not finite is written as null.

        Raises:
            OSError: the disk is full, the file may not grow, ...; no part of the row is left in the file.
        """
        row = json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False, separators=(",", ":")).encode()
        line = row + b"\n"
        written = self._file.write(line)
        try:
            while written < len(line):  # the system took what still fitted, without an error; asked again, it says why
                written += self._file.write(line[written:])
        except OSError:
            self._file.truncate(self._file.tell() - written)
            raise
        self._note(line)

    def histograms(self, step: int, values: dict[str, Any]) -> None:
        """Nothing: histograms are for TensorBoard."""

    def flushed(self) -> Rows:
        """Flush all rows to the disk, and return what they are.

        Raises:
            OSError: the disk does not take them, or the file was deleted or moved while it was written.
        """
        os.fsync(self._file.fileno())
        if not os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
            raise OSError(errno.ESTALE, "it was put in the place of the one that the run writes", str(self._path))
        return Rows(self._count, self._size, self._hash.hexdigest())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _note(self, written: bytes) -> None:
        self._count += written.count(b"\n")
        self._size += len(written)
        self._hash.update(written)


def cut_after(path: Path, rows: Rows) -> None:
    """Cut from metrics.jsonl what follows the given rows.

    Raises:
        BnexpError: the file does not begin with these rows; it is left as it is.
        OSError: it cannot be written.
    """
    found = hashlib.sha256()
    try:
        for block in _blocks(path, rows.size):
            found.update(block)
        whole = found.hexdigest() == rows.sha256
    except OSError as error:
        raise BnexpError(f"{path}: cannot be read: {error.strerror}") from None
    if not whole:
        raise BnexpError(
            f"{path}: its first {rows.count:,} rows are no longer those that the checkpoint follows on; put them back, "
            "or begin anew with --from-start"
        )
    with path.open("r+b") as file:
        file.truncate(rows.size)
        os.fsync(file.fileno())


def names_in(path: Path) -> set[str]:
    """Return the names of all figures in a metrics.jsonl whose rows are known to be whole."""
    with path.open("rb") as file:
        return {name for line in file for name in json.loads(line)} - {"step"}


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file, or fewer where it is shorter."""
    with open_file(path) as file:
        while size > 0 and (block := file.read(min(size, _BLOCK_BYTES))):
            size -= len(block)
            yield block
