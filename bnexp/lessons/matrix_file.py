"""A matrix to normalize: rows are examples, columns are features; read from a CSV file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.lessons.numbers import number_in
from bnexp.lessons.table_text import MOST_VALUES, Table, read_table

LARGEST = 1e150
"""The square of a larger number, and with it a variance, does not fit in float64."""
_LONGEST_NAME = 30
_INDEX_NAMES = ("", "index", "id", "row", "nr", "no", "unnamed: 0")
"""What stands over a column that only counts the rows."""


@dataclass(frozen=True)
class Batch:
    """A matrix: rows (B, F), names of the features, gamma and beta (F,), and its source: a path, or `example 000`."""

    source: str
    rows: Sequence[Sequence[float]]
    names: Sequence[str]
    gamma: Sequence[float]
    beta: Sequence[float]


def counted_names(features: int) -> list[str]:
    """Return names for features that have none: x1, x2, ..."""
    return [f"x{number}" for number in range(1, features + 1)]


def read_matrix(path: Path) -> Batch:
    """Read a CSV file, with gamma 1 and beta 0. A first line without any number names the features, else x1, x2, ...

    How values and decimals are separated is seen from the file (`table_text.py`). Columns of words, and one that counts
    the rows under a name that says so, are left out; the source says what was done.

    Raises:
        ConfigError: it cannot be read, is no text, is ragged, could be read in two ways, has fewer than two rows of
            numbers, or a cell is no finite number; the message names line and column.
    """
    table = read_table(path)
    if not table.rows:
        raise ConfigError(f"{path}: no numbers in it; expected lines such as 1.0,2.0,3.0")
    decimal = _decimal_of(path, table)
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
    return Batch(source, values, names, gamma=[1.0] * len(names), beta=[0.0] * len(names))


def _decimal_of(path: Path, table: Table) -> str:
    """Return the decimal mark, with which all that is a number in one way is one; two readings are refused."""
    cells = [cell for _, row in table.rows for cell in row if cell[:1].isdigit() or (cell[:1] in "+-.,\u2212" and cell)]
    pointed, commaed = ([number_in(cell, decimal) for cell in cells] for decimal in ".,")
    with_point, with_comma = (sum(value is not None for value in values) for values in (pointed, commaed))
    if with_point != with_comma:
        return "." if with_point > with_comma else ","
    readings = zip(cells, pointed, commaed, strict=True)
    differing = ((cell, one, other) for cell, one, other in readings if one is not None and other is not None)
    for cell, *both in differing:
        if both[0] != both[1] and math.isfinite(both[0]):
            small, large = sorted(both, key=abs)
            raise ConfigError(
                f'{path}: "{brief(cell)}" could be {small:g} or {large:g}, and no number in the file tells which mark '
                f"is the decimal one; write {small:g}0 or {large:g}"
            )
    _refuse_one_comma(path, table)
    return "."


def _refuse_one_comma(path: Path, table: Table) -> None:
    """Refuse lines such as `1,61` without names: two whole numbers, or one with a decimal comma."""
    pairs = [cells for _, cells in table.rows]
    if table.mark != "," or not all(len(cells) == 2 and all(map(_is_digits, cells)) for cells in pairs):
        return
    whole = brief(",".join(pairs[0]))
    if all(len(fraction) == 1 for _, fraction in pairs):
        table.said.append(f"{whole} read as two whole numbers")
        return
    raise ConfigError(
        f"{path}: line {table.rows[0][0]}: {whole} could be one number with a decimal comma or two whole numbers, as "
        f"all lines could; write {whole.replace(',', '.')} for one feature; for two, begin with a line of names, such "
        "as a,b"
    )


def _is_digits(cell: str) -> bool:
    return cell.isascii() and cell.isdigit()


def _names_and_rows(path: Path, table: Table, decimal: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the features and the rows of their values, without columns that hold no feature."""
    rows = list(table.rows)
    names: list[str] | None = None
    if all(number_in(cell, decimal) is None for cell in rows[0][1]):
        line, names = rows.pop(0)
    width = len(rows[0][1]) if rows else len(names or ())
    if names is not None and len(names) == width - 1:  # as R writes it: nothing over the names of the rows
        names = ["", *names]
    expected = len(names) if names is not None else width
    for number, cells in rows:
        if len(cells) != expected:
            found = f"found {len(cells)}{_hint(cells)}"
            raise ConfigError(f"{path}: line {number}: expected {expected} values as in the first line, {found}")
    left_out = _no_features(table, names, rows, decimal)
    kept = [column for column in range(expected) if column not in left_out]
    if names is None:
        return counted_names(len(kept)), [(number, [cells[c] for c in kept]) for number, cells in rows]
    for column in kept:
        if not names[column]:
            place = f"{path}: line {line}, column {column + 1}"
            raise ConfigError(f"{place}: expected the name of a feature, found nothing")
    return (
        [brief(names[c], _LONGEST_NAME) for c in kept],
        [(number, [cells[c] for c in kept]) for number, cells in rows],
    )


def _no_features(
    table: Table, names: Sequence[str] | None, rows: Sequence[tuple[int, Sequence[str]]], decimal: str
) -> set[int]:
    """Return the columns that hold words throughout, or count the rows under a name that says so, and say so."""
    left_out = set()
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    for column, cells in enumerate(columns):
        values = [number_in(cell, decimal) for cell in cells]
        name = names[column] if names is not None else ""
        called = f"column {column + 1}" + (f' ("{brief(name, _LONGEST_NAME)}")' if name else "")
        if all(cell[:1].isalpha() for cell in cells) and set(values) == {None} and len(rows) > 1:
            left_out.add(column)
            table.said.append(f"{called} of words left out")
        elif names is not None and column == 0 and name.lower() in _INDEX_NAMES and _counts(values):
            left_out.add(column)
            table.said.append(f"{called} that counts the rows left out")
    if len(left_out) == len(columns):
        table.said.clear()
        return set()
    return left_out


def _counts(values: Sequence[float | None]) -> bool:
    return values in (list(range(len(values))), list(range(1, len(values) + 1)))


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
    if ";" in text or "\t" in text:
        return "; the same mark, a comma or a semicolon, stands between all values of a file"
    if any(number_in(cell) is None and number_in(cell, ",") is not None for cell in cells):
        return "; decimals are written with a point, or all with a comma"
    if any(cell.endswith("%") for cell in cells):
        return "; a number has no unit"
    return ""
