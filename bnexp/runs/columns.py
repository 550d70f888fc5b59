"""Read metrics.jsonl: any metric of many runs as columns, the evaluations of one run, or only the end of the file.

A file may be missing, torn or damaged, and nothing here raises for that. A torn last row is what a run in progress, or
a killed one, leaves behind: it is skipped silently. Other rows that cannot be read are left out and counted in a
sentence that starts with the file's path.

Only rows that hold a wanted name are parsed: the bytes are searched for the name first, which takes a few milliseconds
for 30 MB, while parsing every row would take half a second. Of a file that its run sealed, and that nobody has changed,
only the numbers behind the names are.
"""

import contextlib
import json
import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bnexp.files import open_file, parse_json
from bnexp.processes import on_all_cores
from bnexp.runs.folder import METRICS
from bnexp.runs.seal import intact_rows
from bnexp.runs.sealed_rows import numbers_in

if TYPE_CHECKING:
    import numpy as np

    Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
    Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
    Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

_SHARED_BYTES = 8_000_000
"""Bytes of all files together from which on they are read on all cores: alone that takes 20 ms and more."""
_SCAN_BYTES = 1 << 17
_TAIL_BYTES = 1 << 16
_ROW_LIMIT = 1 << 22
"""Longest row of metrics.jsonl; anything longer is damage, such as zeros after a loss of power."""
_TAIL_LIMIT = 1 << 22
"""How far before the end of metrics.jsonl the last evaluation is searched: about 2,000 rows of 2 KB."""
_LARGEST_STEP = 2**63 - 1
_ACCURACY = "accuracy/val"
_ABSENT = object()
_T = TypeVar("_T")
Seals = Mapping[Path, Mapping[str, Any]]
_Numbers = tuple["array[int]", "list[array[float]]", str | None]


@dataclass(frozen=True)
class Columns:
    """Some metrics of one run, in the order of its rows; a step that was written in two rows is there twice.

    Attributes:
        steps: (rows,) steps taken when the row was written.
        epochs: (rows,) the same in epochs, nan where a row does not say.
        values: for each name (rows,) numbers; nan where a row lacks the name or holds null or no number.
        nulls: for each name (rows,) whether the row has the name, and null or no number there.
        problem: what is wrong with the file, in a sentence that starts with its path; None for a good one.
    """

    steps: "Integers"
    epochs: "Floats"
    values: Mapping[str, "Floats"]
    nulls: Mapping[str, "Flags"]
    problem: str | None


def read_columns(folders: Sequence[Path], names: Sequence[str], seals: Seals | None = None) -> list[Columns]:
    """Read metrics, such as `loss/train`, of each run folder, in the rows that hold at least one of them.

    A missing metrics.jsonl gives empty columns and a problem, and so does one that does not fit the seal of its run;
    `seals` are `Run.rows_seal` by folder.
    """
    return list(each_columns(folders, names, seals))


def each_columns(folders: Sequence[Path], names: Sequence[str], seals: Seals | None = None) -> Iterator[Columns]:
    """Begin to read what `read_columns` returns, and return it one at a time."""

    def numbers_of(folder: Path) -> _Numbers:
        return _numbers_of(folder / METRICS, names, (seals or {}).get(folder, {}))

    return (_columns_of(names, *numbers) for numbers in of_each_file(numbers_of, folders, METRICS))


def of_each_file(read: Callable[[Path], _T], folders: Sequence[Path], name: str) -> Iterator[_T]:
    """Begin to read a file of each folder, on all cores where it is much, and return what was read one at a time."""
    size = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            size += (folder / name).stat().st_size
    return on_all_cores(read, folders) if size >= _SHARED_BYTES else map(read, folders)


def _numbers_of(path: Path, names: Sequence[str], seal: Mapping[str, Any]) -> _Numbers:
    """Return the steps of a file, its epochs and numbers as `numbers_in`, and what is wrong with it or None."""

    def numbers_of(row: Mapping[str, Any]) -> tuple[int, list[float]]:
        return row["step"], [_cell(row.get(name, _ABSENT)) for name in ("epoch", *names)]

    content, changed = intact_rows(path, seal)
    if content is not None and (quick := numbers_in(content, names)) is not None:
        return *quick, changed
    try:
        rows, problem = _read_rows(path, names, numbers_of, "row", content)
    except FileNotFoundError:
        rows, problem = [], f"{path}: missing"
    columns = [array("d", [numbers[at] for _, numbers in rows]) for at in range(1 + len(names))]
    return array("q", [step for step, _ in rows]), columns, problem or changed


def _columns_of(
    names: Sequence[str], steps: "array[int]", numbers: "Sequence[array[float]]", problem: str | None
) -> Columns:
    import numpy as np  # `bnexp ls` and `bnexp compare` start faster without it

    table = np.array(numbers, dtype=np.float64).reshape(1 + len(names), len(steps))
    nulls = np.isinf(table)
    epochs, *values = np.where(nulls, np.nan, table)
    by_name, nulls_by_name = (dict(zip(names, parts, strict=True)) for parts in (values, nulls[1:]))
    return Columns(np.array(steps, dtype=np.int64), epochs, by_name, nulls_by_name, problem)


def names_below(path: Path, quantity: str) -> list[str]:
    """Return the names of a quantity, such as `gradient_norm/block1.linear`, in the first row that has any.

    A probe writes all of them into one row. A file that is missing or cannot be read has none.
    """
    start = f"{quantity}/"
    with contextlib.suppress(OSError):
        for line in _lines_holding(path, [f'"{start}'.encode()]):
            if names := [name for name in _json_of(line) or {} if name.startswith(start)]:
                return names
    return []


def logged_names(path: Path) -> list[str]:
    """Return the names of all metrics in a metrics.jsonl, sorted; a file that cannot be read has none."""
    plain, escaped = set[bytes](), set[str]()
    with contextlib.suppress(OSError):
        for line in _lines_holding(path, [b'":']):
            if b"\\" in line:
                escaped |= (_json_of(line) or {}).keys()
            else:
                plain.update(line.split(b'"')[1::2])
    names = {name.decode("utf-8", "replace") for name in plain} | escaped
    return sorted(names - {"step", "epoch"})


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the validation part; accuracy is a fraction, None where it was not finite."""

    step: int
    epoch: float | None
    loss: float | None
    accuracy: float | None


def read_evaluations(path: Path, seal: Mapping[str, Any] | None = None) -> tuple[list[Evaluation], str | None]:
    """Return the evaluations in a metrics.jsonl, in order, and what is wrong with it or None.

    A missing file holds none: a run begins without it. One that does not fit the seal of its run is wrong, too.
    """
    content, changed = intact_rows(path, seal or {})
    try:
        own, problem = _read_rows(path, [_ACCURACY], _evaluation_of, "evaluation row", content)
    except FileNotFoundError:
        return [], None
    return own, problem or changed


def _read_rows(
    path: Path,
    names: Sequence[str],
    take: Callable[[Mapping[str, Any]], _T],
    kind: str,
    content: bytes | None = None,
) -> tuple[list[_T], str | None]:
    """Return what `take` makes of each row that holds one of the names, and what is wrong with the file or None.

    A file whose content has been read already is not read again.
    """
    taken, damaged = list[_T](), 0
    try:
        for line in _lines_with(path, names) if content is None else _lines_of(content, names):
            row = _json_of(line)
            if row is None or _step(row.get("step")) is None:
                damaged += line.endswith(b"\n")
            elif not row.keys().isdisjoint(names):
                taken.append(take(row))
    except FileNotFoundError:
        raise
    except OSError as error:
        return [], f"{path}: cannot be read: {error.strerror}"
    return taken, f"{path}: {damaged} {kind}{'s' * (damaged > 1)} cannot be read" if damaged else None


def _lines_with(path: Path, names: Sequence[str]) -> Iterator[bytes]:
    """Yield each line that holds one of the names, in quotes."""
    return _lines_holding(path, [json.dumps(name).encode() for name in names])


def _lines_holding(path: Path, quoted: Sequence[bytes]) -> Iterator[bytes]:
    """Yield each line that holds one of some bytes; only a torn last line comes without its newline.

    One small buffer for the whole file is twice as fast as fresh blocks, whose pages the system clears each time; a
    memory map is as fast, but a file that is cut short meanwhile would kill the process.
    """
    buffer, rest = bytearray(_SCAN_BYTES), 0
    with open_file(path, links=False) as file:
        while size := file.readinto(memoryview(buffer)[rest:]):
            last = buffer.rfind(b"\n", 0, rest + size) + 1
            for start, end in _places(buffer, quoted, last):
                yield bytes(memoryview(buffer)[start:end])
            rest = rest + size - last
            buffer[:rest] = buffer[last : last + rest]
            if rest > _ROW_LIMIT:  # no row: what follows of it counts as one damaged row more
                yield b"\n"
                rest = 0
            elif rest == len(buffer):  # a line longer than the buffer
                buffer.extend(bytes(rest))
    if any(buffer.find(name, 0, rest) >= 0 for name in quoted):
        yield bytes(buffer[:rest])


def _lines_of(content: bytes, names: Sequence[str]) -> Iterator[bytes]:
    """Yield the same lines of a content as `_lines_with` of a file."""
    quoted, last = [json.dumps(name).encode() for name in names], content.rfind(b"\n") + 1
    for start, end in _places(content, quoted, last):
        yield content[start:end]
    if any(content.find(name, last) >= 0 for name in quoted):
        yield content[last:]


def _places(buffer: bytes | bytearray, quoted: Sequence[bytes], last: int) -> list[tuple[int, int]]:
    """Return where the lines before `last` that hold one of the quoted names begin and end, in order."""
    ends = dict[int, int]()
    for name in quoted:
        end = 0
        while (place := buffer.find(name, end, last)) >= 0:
            start, end = buffer.rfind(b"\n", 0, place) + 1, buffer.index(b"\n", place) + 1
            ends[start] = end
    return sorted(ends.items())


@dataclass(frozen=True)
class Tail:
    """The end of metrics.jsonl: step and epoch of the last whole row, and the last evaluation near the end."""

    step: int | None = None
    epoch: float | None = None
    evaluation: Evaluation | None = None


def read_tail(path: Path) -> tuple[Tail, str | None]:
    """Return what the end of metrics.jsonl says, and what is wrong with it or None, however long the file is."""
    step = epoch = problem = None
    try:
        for line in _lines_from_end(path):
            row = _json_of(line)
            if row is None:
                problem = f"{path}: rows near the end cannot be read"
                continue
            if step is None:
                step, epoch = _step(row.get("step")), _number(row.get("epoch"))
            if _ACCURACY in row and _step(row.get("step")) is not None:
                return Tail(step, epoch, _evaluation_of(row)), problem
    except FileNotFoundError:
        return Tail(), None
    except OSError as error:
        return Tail(), f"{path}: cannot be read: {error.strerror}"
    return Tail(step, epoch), problem


def _lines_from_end(path: Path) -> Iterator[bytes]:
    """Yield whole lines, the last first, as far back as `_TAIL_LIMIT`; an empty one where no line ends within that."""
    with open_file(path, links=False) as file:
        size = position = file.seek(0, 2)
        rest, has_lines = None, False
        while position > 0 and size - position < _TAIL_LIMIT:
            start = max(position - _TAIL_BYTES, 0)
            file.seek(start)
            lines = (file.read(position - start) + (rest or b"")).split(b"\n")
            if rest is None and _json_of(lines[-1]) is None:
                lines.pop()  # torn
            position, rest = start, lines[0] if lines else b""
            has_lines = has_lines or len(lines) > 1
            yield from reversed(lines[1:])
        if position == 0 and rest:
            yield rest
        elif position > 0 and not has_lines:
            yield b""


def _json_of(line: bytes) -> dict[str, Any] | None:
    try:
        return parse_json(line)
    except ValueError:
        return None


def _evaluation_of(row: Mapping[str, Any]) -> Evaluation:
    accuracy = _number(row[_ACCURACY])
    accuracy = accuracy if accuracy is not None and 0 <= accuracy <= 1 else None
    return Evaluation(row["step"], _number(row.get("epoch")), _number(row.get("loss/val")), accuracy)


def _cell(value: object) -> float:
    """Return a number; nan where a row lacks it, and inf, which no row holds, where it is null or no number."""
    number = _number(value)
    return number if number is not None else math.nan if value is _ABSENT else math.inf


def _number(value: object) -> float | None:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and abs(value) <= sys.float_info.max else None  # type: ignore[arg-type]


def _step(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_STEP else None
