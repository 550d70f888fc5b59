"""Cut the text of a table into cells, as spreadsheets and programs of many places write it.

Read are UTF-8, UTF-16 and UTF-32, and Latin letters of one byte where it is none; values between commas, semicolons,
tabs, bars or spaces, the mark that all lines have, or that a first line `sep=;` names.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.files import read_file
from bnexp.lessons.numbers import number_in

MOST_BYTES = 10_000_000
MOST_VALUES = 100_000
COMMA_SPACE = ", "
_AROUND = " \t\r\n,;|"
_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars", COMMA_SPACE: "a comma and a space", ",": "commas"}
_UNSEEN = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Letters without a shape that text from web pages and chats carries at its ends."""
_CODINGS = (  # UTF-32 begins as UTF-16 does
    *((mark, "utf-32") for mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    *((mark, "utf-16") for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)
_AS_CSV = "np.savetxt('{stem}-table.csv', a, delimiter=',', fmt='%r')\""
_SHEET = "a spreadsheet's own file or an archive; save the sheet as CSV (UTF-8)"
_FROM_JSON = (
    'JSON: python -c "import csv, json; '
    "csv.writer(open('{stem}-table.csv', 'w')).writerows(json.load(open('{name}')))\" "
    "writes lists of lists as CSV"
)
_PAGE = "a web page or XML; save the table as CSV"
_FOREIGN = {
    b"PK\x03\x04": _SHEET,
    b"\xd0\xcf\x11\xe0": _SHEET,
    b"\x1f\x8b": "a packed file; gunzip -k {name} unpacks it",
    b"\x93NUMPY": f"an array of NumPy: python -c \"import numpy as np; a = np.load('{{name}}'); {_AS_CSV}",
    **dict.fromkeys((b"[[", b"[{", b"{"), _FROM_JSON),
    **dict.fromkeys((b"<!DOC", b"<!doc", b"<html", b"<table", b"<?xml"), _PAGE),
}
"""First bytes of files that are no CSV, and the way to one."""


@dataclass
class Table:
    """Cells of the lines that have any, with the number of each line; and what a reader should know of the reading."""

    rows: list[tuple[int, list[str]]]
    mark: str
    said: list[str] = field(default_factory=list)


def read_table(path: Path) -> Table:
    """Return the cells of a table in a file.

    Raises:
        ConfigError: it cannot be read, is no text, has more cells than a lesson takes, or may be a title over columns
            as well as a name over decimals.
    """
    text, said = _text(path)
    if (count := max(text.count("\n"), text.count("\r"))) > 2 * MOST_VALUES:
        raise ConfigError(f"{path}: {count:,} lines, expected at most {MOST_VALUES:,} values")
    if (most := max(map(text.count, ";\t|,")) + count) > 2 * MOST_VALUES:
        raise ConfigError(f"{path}: about {most:,} values, expected at most {MOST_VALUES:,}")
    lines = text.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    mark = ""
    if lines and (start := lines[first].strip().strip('"').lower()).startswith("sep=") and len(start) <= len("sep=;"):
        mark, lines[first] = lines[first].strip().strip('"')[4:] or "\t", "\n"
    skipped = [number for number, line in enumerate(lines) if line.startswith("#") and line[1:2] not in tuple(";\t|,")]
    for number in skipped:
        lines[number] = "\n"
    if skipped:
        said.append(f"{len(skipped)} lines after # left out" if len(skipped) > 1 else "a line after # left out")
    if not mark:
        said += _without_title(path, lines)
        mark = _mark_of(path, lines)
    if mark not in (",", ""):
        said.append(f"values between {_MARKS.get(mark, 'spaces' if mark == ' ' else mark)}")
    rows, empty = _without_empty(list(_cells(path, lines, mark)))
    return Table(rows, mark, [*said, *empty])


def _text(path: Path) -> tuple[str, list[str]]:
    """Return the text of a file, and what was assumed of its letters."""
    try:
        content = read_file(path, MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    _refuse_foreign(path, content)
    nulls = content[:200].count(0) / max(len(content[:200]), 1)
    try:
        for start, coding in _CODINGS:
            if content.startswith(start):
                return content.decode(coding), [coding.upper()]
        if nulls > 0.3:
            width, order = 16 if nulls < 0.6 else 32, "be" if content.startswith(b"\0") else "le"
            return content.decode(f"utf-{width}-{order}"), [f"UTF-{width}"]
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        if any(byte < 32 and byte not in b"\t\n\r\f" for byte in content) or not any(48 <= b < 58 for b in content):
            raise ConfigError(f"{path}: not text; expected numbers with commas between them") from None
        return content.decode("cp1252", "replace"), ["not UTF-8, taken as Windows-1252"]


def _refuse_foreign(path: Path, content: bytes) -> None:
    """Refuse a file of another kind, with the line that makes CSV of it."""
    start = b"".join(content[:200].removeprefix(codecs.BOM_UTF8).split())
    what = next((what for magic, what in _FOREIGN.items() if start.startswith(magic)), None)
    if what and path.suffix.lower() == ".npz":
        what = f"several arrays of NumPy: python -c \"import numpy as np; a = np.load('{{name}}')['x']; {_AS_CSV}"
    if what:
        raise ConfigError(f"{path}: {what.format(name=path.name, stem=path.stem)}")


def _without_title(path: Path, lines: list[str]) -> list[str]:
    """Blank a line that stands alone above a table, and say so; one that may be a name over decimals is refused."""
    filled = [number for number, line in enumerate(lines) if line.strip(_AROUND)]
    if len(filled) < 3:
        return []
    typed = lines[filled[0]].strip()
    title, rest = typed.strip(_AROUND).strip('"'), [lines[number].strip() for number in filled[1:]]
    mark = next((mark for mark in ";\t|," if all(mark in line for line in rest)), "")
    if not mark or any(mark in title for mark in ",;\t|") or number_in(title) is not None:
        return []
    words = [line.split() for line in rest]
    if len(title.split()) == len(words[0]) > 1 and all(map(_is_one_number, words[0])):
        return []  # names and decimals between spaces
    called = f'line {filled[0] + 1} ("{brief(title, 30)}")'
    named = any(number_in(cell.strip(' "')) is None for cell in rest[0].split(mark))
    if typed.endswith(mark) and not named and " " not in title:
        return []  # one name, and features without
    decimals = [re.fullmatch(r'"?[+-]?\d+,(\d+)"?', line) for line in rest]
    if mark == "," and all(decimals) and not typed.endswith(mark):
        if " " not in title and "/" not in title and {len(match[1]) for match in decimals if match} != {1}:
            return []  # a name, and decimals below it
        raise ConfigError(
            f"{path}: {called} could be a title over two columns of whole numbers, or the name of one with decimal "
            "commas; for two, write names such as a,b in its place; for one, decimal points, such as "
            f"{rest[0].replace(',', '.')}"
        )
    lines[filled[0]] = "\n"
    return [f"{called}, a title, left out"]


def _mark_of(path: Path, lines: list[str]) -> str:
    """Return what stands between the values: the mark that is in every line, else spaces, else none."""
    filled = [line for line in lines if line.strip()]
    for mark in ";\t|":
        if filled and all(mark in line for line in filled):
            return mark
    if filled and all("," in line for line in filled):
        return _kind_of_comma(path, filled)
    if any(mark in line for mark in ";\t|" for line in filled):
        return ","  # whatever is wrong is named by its line
    widths = [len(_between(line, " ")) for line in filled]
    rectangular = len(set(widths[1:])) == 1 and widths[1] > 1 and widths[0] in (widths[1], widths[1] - 1)
    if rectangular and not any(line.rstrip().endswith(",") for line in filled):
        return " "
    return "," if any("," in line for line in filled[1:]) and "," in "".join(filled[:1]) else ""


def _kind_of_comma(path: Path, filled: list[str]) -> str:
    """Return a comma, or a comma and a space, or spaces, where bare ones are decimal; refuse both."""
    for mark in (COMMA_SPACE, " "):
        cells = [_between(line, mark) for line in filled]
        rows = cells[1:] if all(number_in(cell, ",") is None for cell in cells[0]) else cells
        words = [cell for row in rows for cell in row]
        if len(set(map(len, cells))) > 1 or len(cells[0]) == 1 or not all(map(_is_one_number, words)):
            continue
        commas = [cell.count(",") for cell in words]
        if any(commas) and (min(commas) or len({line.count(",") for line in filled[-len(rows) :]}) > 1):
            return mark
        if any(commas) and mark == COMMA_SPACE:
            first, width = brief(filled[-len(rows)].strip()), len(rows[0])
            raise ConfigError(
                f"{path}: {first} has commas with and without a space behind: the latter may be decimal commas; for "
                f"{width} values, write decimal points; for {width + sum(commas[:width])}, a space after each comma"
            )
    return ","


def _is_one_number(word: str) -> bool:
    """Return whether a word is a number with or without a decimal comma, which does not end it."""
    return number_in(word, ",") is not None and not word.endswith(",")


def _between(line: str, mark: str) -> list[str]:
    """Return the words of a line between spaces, in quotes or not, or between a comma and a space."""
    if mark == COMMA_SPACE:
        return re.split(r",[ \t]+", line.strip())
    return next(csv.reader([" ".join(line.split())], delimiter=" "), [])


def _cells(path: Path, lines: list[str], mark: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that has any."""
    if mark in (" ", "", COMMA_SPACE):
        for number, line in enumerate(lines, start=1):
            if line.strip():
                cells = [line.strip().strip('"')] if not mark else _between(line, mark)
                yield number, [cell.strip().strip(_UNSEEN) for cell in cells]
        return
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=mark, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip().strip(_UNSEEN).strip() for cell in cells]
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num}: {error}") from None


def _without_empty(rows: list[tuple[int, list[str]]]) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Leave out the empty cells behind a mark at the end of every line, and columns that are empty in every line."""
    while (shorter := _without_end(rows)) is not rows:
        rows = shorter
    width = len(rows[0][1]) if rows else 0
    if any(len(cells) != width for _, cells in rows):
        return rows, []
    empty = [column for column in range(width) if not any(cells[column] for _, cells in rows)]
    said = [f"column {column + 1}, empty, left out" for column in empty]
    return [(line, [cell for c, cell in enumerate(cells) if c not in empty]) for line, cells in rows], said


def _without_end(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out the empty cell behind a mark at the end of every line, be it with or without the line of names."""
    widths = [len(cells) for _, cells in rows]
    open_ends = [len(cells) > 1 and not cells[-1] for _, cells in rows]
    of_names = len(set(widths[1:])) == 1 and widths[0] - widths[1] == (1 if open_ends[0] else -1)
    if not rows or (
        not all(open_ends) and not (of_names and len(set(open_ends[1:])) == 1 and open_ends[0] != open_ends[1])
    ):
        return rows
    return [(line, cells[:-1] if end else cells) for (line, cells), end in zip(rows, open_ends, strict=True)]
