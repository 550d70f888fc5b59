"""A matrix to normalize: rows are examples, columns are features; read from a CSV file."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.lessons.numbers import number_in, why_no_number
from bnexp.lessons.readings import counts, decimal_of, is_digits, names_of
from bnexp.lessons.table_text import MOST_VALUES, Table, read_table

LARGEST = 1e150
"""The square of a larger number, and with it a variance, does not fit in float64."""
_LONGEST_NAME = 30

_INDEX_NAMES = {"", "index", "idx", "id", "row", "rowid", "rownames", "nr", "no", "unnamed0", "lfdnr", "rang"} | {
    *("n\u00b0", "n\u00ba", "\u5e8f\u53f7", "\u7f16\u53f7", "\u756a\u53f7", "\u043d\u043e\u043c\u0435\u0440")
}
"""What stands over a column that only numbers the rows, without marks such as `.`, `#` and `_`."""
_SUMS = {
    *("total", "totals", "subtotal", "sum", "mean", "average", "avg", "median", "std", "sd", "count", "min", "max"),
    *("summe", "gesamt", "mittelwert", "somme", "moyenne", "suma", "promedio", "media", "somma"),
}
"""Words before a line that is over the others."""


@dataclass(frozen=True)
class Batch:
    """A matrix: rows (B, F), names of the features, gamma and beta (F,), and its source: a path, or `example 000`.

    `read` says what a reader should know of how the file was read; the source has it too.
    """

    source: str
    rows: Sequence[Sequence[float]]
    names: Sequence[str]
    gamma: Sequence[float]
    beta: Sequence[float]
    read: Sequence[str] = ()


def counted_names(features: int) -> list[str]:
    """Return names for features that have none: x1, x2, ..."""
    return [f"x{number}" for number in range(1, features + 1)]


def read_matrix(path: Path) -> Batch:
    """Read a CSV file, with gamma 1 and beta 0. A first line without any number names the features, else x1, x2, ...

    How values are separated is seen from the file (`table_text.py`), and what its numbers mean (`readings.py`). Columns
    of words, and one that numbers the rows under a name that says so, are left out; the source says what was done.

    Raises:
        ConfigError: it cannot be read, is no text, is ragged, could be read in two ways, has fewer than two rows of
            numbers, or a cell is no finite number; the message names line and column.
    """
    table = read_table(path)
    if not table.rows:
        raise ConfigError(f"{path}: no numbers in it; expected lines such as 1.0,2.0,3.0")
    decimal = decimal_of(path, table)
    if decimal == ",":
        table.said.append("decimal commas")
    names, rows = _names_and_rows(path, table, decimal)
    values = [_row(path, line, cells, decimal) for line, cells in rows]
    if len(values) < 2:
        raise ConfigError(
            f"{path}: expected at least 2 rows of numbers, an example each, found {len(values) or 'none'}: a variance "
            "over a batch needs two examples"
        )
    if len(values) * len(names) > MOST_VALUES:
        raise ConfigError(f"{path}: {len(values) * len(names):,} numbers, expected at most {MOST_VALUES:,}")
    source = f"{path} ({'; '.join(table.said)})" if table.said else str(path)
    return Batch(source, values, names, gamma=[1.0] * len(names), beta=[0.0] * len(names), read=table.said)


def _names_and_rows(path: Path, table: Table, decimal: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the features and the rows of their values, without columns that hold no feature."""
    first_line = table.rows[0][0]
    names, rows = names_of(path, table, decimal)
    expected = len(names) if names is not None else len(rows[0][1])
    for number, cells in rows:
        if len(cells) != expected:
            found = f"found {len(cells)}{_hint(cells)}"
            raise ConfigError(f"{path}: line {number}: expected {expected} values as in the first line, {found}")
    left_out = _no_features(path, table, names, rows, decimal)
    kept = [column for column in range(expected) if column not in left_out]
    if names is None:
        return counted_names(len(kept)), [(number, [cells[c] for c in kept]) for number, cells in rows]
    for column in kept:
        if not names[column]:
            place = f"{path}: line {first_line}, column {column + 1}"
            raise ConfigError(f"{place}: expected the name of a feature, found nothing")
    return (
        [brief(names[c], _LONGEST_NAME) for c in kept],
        [(number, [cells[c] for c in kept]) for number, cells in rows],
    )


def _no_features(
    path: Path, table: Table, names: Sequence[str] | None, rows: Sequence[tuple[int, Sequence[str]]], decimal: str
) -> set[int]:
    """Return the columns that hold words throughout, or number the rows under a name that says so, and say so."""
    left_out = set()
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    for column, cells in enumerate(columns):
        name = names[column] if names is not None else ""
        called = f"column {column + 1}" + (f' ("{brief(name, _LONGEST_NAME)}")' if name else "")
        if len(rows) > 1 and all(cell[:1].isalpha() and number_in(cell, decimal) is None for cell in cells):
            _refuse_sums(path, rows, column)
            left_out.add(column)
            table.said.append(f"{called} of words left out")
        elif names is not None and _numbers_rows(column, name, cells):
            left_out.add(column)
            how = "counts" if counts(cells) else "numbers"
            table.said.append(f"{called} that {how} the rows left out")
        elif column == 0 and counts(cells) and len(rows) > (1 if cells[0] == "0" else 2):
            table.said.append(f"{called} counts the rows and is taken as a feature")
    if len(left_out) == len(columns):
        table.said.clear()
        return set()
    return left_out


def _refuse_sums(path: Path, rows: Sequence[tuple[int, Sequence[str]]], column: int) -> None:
    """Refuse a line of sums or means over the others: it is no example."""
    of_rows = [(line, cells[column]) for line, cells in rows if cells[column].lower().strip(" .:") in _SUMS]
    if of_rows:
        line, word = of_rows[0]
        more = f", and so {len(of_rows) - 1} more" if len(of_rows) > 1 else ""
        raise ConfigError(
            f'{path}: line {line}: "{brief(word)}" may be over the other lines, and no example{more}; delete the line, '
            "or write another word"
        )


def _numbers_rows(column: int, name: str, cells: Sequence[str]) -> bool:
    plain = re.sub(r"[^\w\u00b0]|_", "", name.lower())
    return column == 0 and plain in _INDEX_NAMES and all(map(is_digits, cells)) and len(set(cells)) == len(cells)


def _row(path: Path, line: int, cells: Sequence[str], decimal: str) -> list[float]:
    values = []
    for column, cell in enumerate(cells, start=1):
        value = number_in(cell, decimal)
        if value is None or not abs(value) <= LARGEST:
            expected = "a number"
            if value is not None:
                expected = f"a number of at most {LARGEST:g}" if math.isfinite(value) else "a finite number"
            shown = f'"{brief(cell)}"' if cell else "nothing"
            where = f"{path}: line {line}, column {column}"
            raise ConfigError(f"{where}: expected {expected}, found {shown}{_hint([cell])}")
        values.append(value)
    return values


def _hint(cells: Sequence[str]) -> str:
    """Return what may be wrong with cells that are no numbers."""
    text = "".join(cells)
    if cells and cells[0].lower() in _SUMS:
        return "; delete a line that is over the others"
    if ";" in text or "\t" in text:
        return "; the same mark, a comma or a semicolon, stands between all values of a file"
    if any(number_in(cell) is None and number_in(cell, ",") is not None for cell in cells):
        return "; decimals are written with a point, or all with a comma"
    return next((f"; {why}" for cell in cells if number_in(cell) is None and (why := why_no_number(cell))), "")
