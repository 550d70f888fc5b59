"""Cut the text of a table into cells, as spreadsheets and programs of many places write it.

Read are UTF-8 and UTF-16, and Latin letters of one byte where it is neither; values between commas, semicolons, tabs,
bars or spaces, the mark that all lines have, or that a first line `sep=;` names.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bnexp.errors import ConfigError
from bnexp.files import read_file

MOST_BYTES = 10_000_000
MOST_VALUES = 100_000
_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass
class Table:
    """Cells of the lines that have any, with the number of each line; and what a reader should know of the reading."""

    rows: list[tuple[int, list[str]]]
    mark: str
    said: list[str] = field(default_factory=list)


def read_table(path: Path) -> Table:
    """Return the cells of a table in a file.

    Raises:
        ConfigError: it cannot be read, is no text, or has more cells than a lesson takes.
    """
    text, said = _text(path)
    if (count := max(text.count("\n"), text.count("\r"))) > 2 * MOST_VALUES:
        raise ConfigError(f"{path}: {count:,} lines, expected at most {MOST_VALUES:,} values")
    lines = text.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    mark = ""
    if lines and (start := lines[first].strip().strip('"').lower()).startswith("sep=") and len(start) <= len("sep=;"):
        mark, lines[first] = lines[first].strip().strip('"')[4:] or "\t", "\n"
    skipped = [number for number, line in enumerate(lines) if line.startswith("#")]
    for number in skipped:
        lines[number] = "\n"
    if skipped:
        said.append(f"{len(skipped)} lines after # left out" if len(skipped) > 1 else "a line after # left out")
    mark = mark or _mark_of(lines)
    if mark not in (",", ""):
        said.append(f"values between {_MARKS.get(mark, 'spaces' if mark == ' ' else mark)}")
    rows = _without_end(list(_cells(path, lines, mark)))
    return Table(rows, mark, said)


def _text(path: Path) -> tuple[str, list[str]]:
    """Return the text of a file, and what was assumed of its letters."""
    try:
        content = read_file(path, MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ConfigError(f"{path}: a spreadsheet's own file or an archive; save the sheet as CSV (UTF-8)")
    nulls = content[:2].find(0), content[:200].count(0)
    try:
        if content.startswith(_UTF16):
            return content.decode("utf-16"), ["UTF-16"]
        if nulls[1] and nulls[1] >= len(content[:200]) // 2 - 8:
            return content.decode("utf-16-be" if nulls[0] == 0 else "utf-16-le"), ["UTF-16"]
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        if any(byte < 32 and byte not in b"\t\n\r\f" for byte in content) or not any(48 <= b < 58 for b in content):
            raise ConfigError(f"{path}: not text; expected numbers with commas between them") from None
        return content.decode("cp1252", "replace"), ["not UTF-8, taken as Windows-1252"]


def _mark_of(lines: list[str]) -> str:
    """Return what stands between the values: the mark that is in every line, else spaces, else none."""
    filled = [line for line in lines if line.strip()]
    for mark in _MARKS:
        if filled and all(mark in line for line in filled):
            return mark
    if any(mark in line for mark in ";\t|" for line in filled):
        return ","  # whatever is wrong is named by its line
    widths = {len(line.split()) for line in filled}
    if len(widths) == 1 and widths != {1} and not any(line.rstrip().endswith(",") for line in filled):
        return " "
    return "," if any("," in line for line in filled[1:]) and "," in "".join(filled[:1]) else ""


def _cells(path: Path, lines: list[str], mark: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that has any; a table too large is refused before it is cut."""
    seen = 0
    if mark in (" ", ""):
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line.split() if mark else [line.strip().strip('"')]
        return
    most = sum(line.count(mark) + bool(line.strip()) for line in lines)
    if most > 2 * MOST_VALUES:
        raise ConfigError(f"{path}: about {most:,} values, expected at most {MOST_VALUES:,}")
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=mark, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                seen += len(cells)
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num}: {error}") from None


def _without_end(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out the empty cell behind a mark at the end of every line, be it with or without the line of names."""
    widths = [len(cells) for _, cells in rows]
    open_ends = [len(cells) > 1 and not cells[-1] for _, cells in rows]
    of_names = len(set(widths[1:])) == 1 and widths[0] - widths[1] == (1 if open_ends[0] else -1)
    if not all(open_ends) and not (of_names and len(set(open_ends[1:])) == 1 and open_ends[0] != open_ends[1]):
        return rows
    return [(line, cells[:-1] if end else cells) for (line, cells), end in zip(rows, open_ends, strict=True)]
