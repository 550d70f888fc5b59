"""Write the figures of each step: the interface of writers, and the one that appends rows to metrics.jsonl."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bnexp.errors import BnexpError
from bnexp.files import finite_or_null, open_file, open_to_append, write_atomically

_BLOCK_BYTES = 1 << 20
BINS = 64


@dataclass(frozen=True)
class Counts:
    """A histogram of the finite values of a tensor, in equal bins from the smallest value to the largest.

    Attributes:
        low: the smallest value, and `high` the largest.
        total: the sum of the values, and `total_of_squares` that of their squares.
        non_finite: how many values are inf or nan, and left out.
        bins: how many lie in each of `BINS` bins; the largest value lies in the last, equal ones in the first.
    """

    low: float
    high: float
    total: float
    total_of_squares: float
    non_finite: int
    bins: tuple[int, ...]

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return sum(self.bins)


class Writer(Protocol):
    """Takes the figures of each step; their names are `quantity/where`, such as `loss/train`."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Take one number per name."""

    def histograms(self, step: int, values: dict[str, Counts]) -> None:
        """Take a histogram per name."""

    def close(self) -> None:
        """Write what is pending and close the files."""


class Writers:
    """Hands everything to several writers, in order."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Hand one number per name to each writer."""
        for writer in self._writers:
            writer.scalars(step, values)

    def histograms(self, step: int, values: dict[str, Counts]) -> None:
        """Hand a histogram per name to each writer."""
        for writer in self._writers:
            writer.histograms(step, values)

    def close(self) -> None:
        """Close each writer, in order; when one fails, the others are still closed."""
        with ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)


@dataclass(frozen=True)
class Rows:
    """The first rows of a metrics.jsonl: their number, their bytes, and the SHA-256 of these."""

    count: int
    size: int
    sha256: str


class MetricsWriter:
    """Appends rows to metrics.jsonl, each in one system call, so that readers never see half a row.

    `refuse_lost` is called before each, and raises where this process may not write any more.
    """

    def __init__(self, path: Path, refuse_lost: Callable[[], None] = lambda: None) -> None:
        self._refuse_lost = refuse_lost
        self._count, self._size, self._hash = 0, 0, hashlib.sha256()
        for block in _blocks(path, path.stat().st_size) if path.exists() else ():
            self._add(block)
        self._path, self._file = path, open_to_append(path)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Append the row of `step`. A value that is not finite is written as null.

        Raises:
            LostLock: another process writes the rows now.
            OSError: the disk is full, the file may not grow, ...; no part of the row is left in the file.
        """
        self._refuse_lost()
        row = json.dumps({"step": step, **finite_or_null(values)}, allow_nan=False, separators=(",", ":"))
        line = f"{row}\n".encode()
        written = self._file.write(line)
        try:
            while written < len(line):  # the system took only what fitted; writing the rest gives the error
                written += self._file.write(line[written:])
        except OSError:
            self._file.truncate(self._file.tell() - written)
            raise
        self._add(line)

    def histograms(self, step: int, values: dict[str, Any]) -> None:
        """Ignore histograms; they are for TensorBoard."""

    def flushed(self) -> Rows:
        """Flush all rows to the disk, and describe them.

        Raises:
            LostLock: another process writes the rows now.
            OSError: the disk is full, ...; or the file was deleted or moved while it was written.
        """
        self._refuse_lost()
        os.fsync(self._file.fileno())
        if not os.path.samestat(self._path.lstat(), os.fstat(self._file.fileno())):
            raise OSError(errno.ESTALE, "it was put in the place of the one that the run writes", str(self._path))
        return Rows(self._count, self._size, self._hash.hexdigest())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, written: bytes) -> None:
        self._count += written.count(b"\n")
        self._size += len(written)
        self._hash.update(written)


def cut_after(path: Path, rows: Rows) -> None:
    """Cut metrics.jsonl after the given rows; a file that has another name too is not cut, but a copy of it.

    Raises:
        BnexpError: the file does not begin with these rows, or is a link; it is not changed.
        OSError: it cannot be written.
    """
    refuse_other_rows(path, rows)
    if path.lstat().st_nlink > 1:
        write_atomically(path, _blocks(path, rows.size))
        return
    with open_to_append(path) as file:
        file.truncate(rows.size)
        os.fsync(file.fileno())


def refuse_other_rows(path: Path, rows: Rows) -> None:
    """Raise a BnexpError where metrics.jsonl does not begin with the given rows, or cannot be read."""
    digest = hashlib.sha256()
    try:
        for block in _blocks(path, rows.size):
            digest.update(block)
    except OSError as error:
        raise BnexpError(f"{path}: cannot be read: {error.strerror}") from None
    if digest.hexdigest() != rows.sha256:
        raise BnexpError(
            f"{path}: its first {rows.count:,} rows are no longer those that the checkpoint follows on; put them back, "
            "or begin anew with --from-start"
        )


def names_in(path: Path) -> set[str]:
    """Return the names of all figures in a metrics.jsonl that was checked by `cut_after`."""
    with open_file(path, links=False) as file:
        return {name for line in file for name in json.loads(line)} - {"step"}


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file, or fewer where it is shorter."""
    with open_file(path, links=False) as file:
        while size > 0 and (block := file.read(min(size, _BLOCK_BYTES))):
            size -= len(block)
            yield block
