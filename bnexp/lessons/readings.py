"""Tell apart two readings of a table of numbers: the decimal mark, and whether the first line has names.

Where two readings are left, none is taken: the message has what to write for each.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bnexp.config.wording import brief
from bnexp.errors import ConfigError
from bnexp.lessons.numbers import number_in, why_no_number
from bnexp.lessons.table_text import Table


def decimal_of(path: Path, table: Table) -> str:
    """Return the decimal mark, with which all that is a number in one way is one; two readings are refused."""
    cells = [cell for _, row in table.rows for cell in row]
    pointed, commaed = ([number_in(cell, decimal) for cell in cells] for decimal in ".,")
    with_point, with_comma = (sum(value is not None for value in values) for values in (pointed, commaed))
    _refuse_two_in_a_row(path, table)
    if with_point != with_comma:
        return "." if with_point > with_comma else ","
    if table.mark == "," and not any("," in cell for cell in cells):
        return "."  # who writes decimal commas has no bare commas between values
    readings = zip(cells, pointed, commaed, strict=True)
    differing = ((cell, one, other) for cell, one, other in readings if one is not None and other is not None)
    for cell, *both in differing:
        if both[0] != both[1] and math.isfinite(both[0]):
            small, large = sorted(both, key=abs)
            raise ConfigError(
                f'{path}: "{brief(cell)}" could be {small:g} or {large:g}, and no number in the file tells which mark '
                f"is the decimal one; write {small:g}0 or {large:g} (in one place is enough)"
            )
    return "."


def _refuse_two_in_a_row(path: Path, table: Table) -> None:
    """Refuse lines without names such as `1,61`, `1,61,2,72` and `1 234`: cells, or parts of numbers."""
    rows = [cells for _, cells in table.rows]
    if table.mark not in (",", " ") or len({len(cells) for cells in rows}) != 1:
        return
    whole = [[re.fullmatch(r"([+-]?)\d+", cell, re.ASCII) for cell in cells] for cells in rows]
    if not all(all(cells) for cells in whole):
        return
    first, line, width = table.mark.join(rows[0]), table.rows[0][0], len(rows[0])
    names = table.mark.join("abcdefgh"[:width] if width <= 8 else ("a", "b", "..."))
    as_many = f"for {width}, begin with a line of names, such as {names}"
    if table.mark == " ":
        if all(number_in(" ".join(cells)) is not None for cells in rows):
            raise ConfigError(
                f"{path}: line {line}: {brief(first)} could be one number with spaces between thousands or {width} "
                f"whole numbers, as all lines could; write {first.replace(' ', '')} for one; {as_many}"
            )
        return
    before = [cell for cells in rows for cell in cells[::2]]
    behind = [cell for cells in rows for cell in cells[1::2]]
    if width % 2 or any(cell[0] in "+-" for cell in behind):
        return
    lengths = {len(cell) for cell in behind}
    several = lengths != {1} if width == 2 else len(lengths) == 1 < max(lengths) and lengths != {*map(len, before)}
    if several or any(cell[0] in "+-" for cell in before) or any(re.match(r"0\d", cell) for cell in behind):
        decimals = "; ".join(map(".".join, zip(rows[0][::2], rows[0][1::2], strict=True)))
        of = "one number with a decimal comma" if width == 2 else f"{width // 2} numbers with decimal commas"
        count = "one feature" if width == 2 else f"{width // 2} features"
        raise ConfigError(
            f"{path}: line {line}: {brief(first)} could be {of} or {'two' if width == 2 else width} whole numbers, as "
            f"all lines could; write {decimals.replace('; ', ',')} for {count}; {as_many.replace('for 2', 'for two')}"
        )
    if len(lengths) == 1:
        table.said.append(f"{brief(first)} read as {'two' if width == 2 else width} whole numbers")


def names_of(path: Path, table: Table, decimal: str) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """Return the names in the first line, None where it is an example, and the rows below it.

    Raises:
        ConfigError: the first line may be either.
    """
    (line, first), *rest = table.rows
    values = [number_in(cell, decimal) for cell in first]
    names: list[str] | None = None
    if all(value is None for value in values):
        _refuse_no_name(path, line, first)
        names = first
    elif rest and _over_an_index(first, [cells for _, cells in rest]):
        names = first
    if names is None:
        _refuse_counting_line(path, table, table.rows)
        _refuse_counting_column(path, table)
        return None, table.rows
    table.said.append(f"line {line} names the columns")
    _refuse_two_lines_of_names(path, table, decimal)
    if rest:
        _refuse_counting_line(path, table, rest)
    width, index = len(rest[0][1]) if rest else len(names), [cells[0] for _, cells in rest]
    of_rows = table.mark != " " or counts(index) or not any(map(is_digits, index))  # else a title of as many words
    if len(names) == width - 1 and of_rows:  # as R writes it: nothing over the names of the rows
        names = ["", *names]
    return names, rest


def _refuse_two_lines_of_names(path: Path, table: Table, decimal: str) -> None:
    """Refuse a line of words between the names and the numbers: units, or the names below a title."""
    if len(table.rows) < 3:
        return
    named, (line, cells), *rest = table.rows
    words = all(number_in(cell, decimal) is None and not why_no_number(cell) for cell in cells)
    if words and any(number_in(cell, decimal) is not None for _, row in rest for cell in row):
        found = brief((table.mark or ",").join(cells))
        raise ConfigError(
            f"{path}: line {line}: no number below the names of line {named[0]}, found {found}; if these are units, "
            f"delete the line; if they are the names, delete line {named[0]}"
        )


def _refuse_no_name(path: Path, line: int, cells: Sequence[str]) -> None:
    """Refuse a first line that may be an example with units or without values."""
    for column, cell in enumerate(cells, start=1):
        # Na is sodium; nothing may stand over an index.
        if cell not in ("", "Na") and (what := why_no_number(cell)):
            raise ConfigError(
                f'{path}: line {line}, column {column}: expected a number or a name, found "{brief(cell)}": {what}; '
                "if it is a name, begin it with a word, such as x_"
            )


def _over_an_index(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether whole numbers are names, as of pandas: over an index of the rows stands nothing."""
    shift = 0 if first[0] == "" else 1
    names = [*first[1 - shift :]]
    return (
        all(map(is_digits, names))
        and len(set(names)) == len(names) > 0
        and all(len(cells) == len(first) + shift for cells in rest)
        and (counts([cells[0] for cells in rest]) or all(cells[0][:1].isalpha() for cells in rest))
    )


def _refuse_counting_line(path: Path, table: Table, lines: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Refuse a first line of 0, 1, 2, ... or years over numbers of another kind: names, or an example."""
    (line, first), *rest = lines
    rows = [cells for _, cells in rest]
    if not rows or not _steps(first) or any(len(cells) != len(first) for cells in rows):
        return
    goes_on, named = _steps([*first, *rows[0]]), lines is not table.rows
    over_decimals = all(any(not is_digits(cell) for cell in column) for column in zip(*rows, strict=True))
    years = all(map(_is_year, first)) and not any(map(_is_year, (cell for cells in rows for cell in cells)))
    of_pandas = first[0] == "0" and len(first) > 2 and not goes_on
    if of_pandas or ((len(first) > 1 or first == ["0"]) and (over_decimals or years) and not named):
        as_names, as_numbers = (",".join(map(form.format, first)) for form in ("x{}", "{}.0"))
        raise ConfigError(
            f"{path}: line {line}: {brief(table.mark.join(first))} could be the names of the columns or an example; "
            f"for names, write {brief(as_names)}; for an example, {brief(as_numbers)}"
        )
    if first == ["0", "1"] and not goes_on:
        table.said.append(f"line {line} read as an example")


def _refuse_counting_column(path: Path, table: Table) -> None:
    """Refuse a first column without a name that counts the lines, beside decimals: their numbers, or a feature."""
    cells = [cells[0] for _, cells in table.rows]
    beside = [cell for _, row in table.rows for cell in row[1:]]
    if len(cells) > 2 and counts(cells) and beside and not any(map(is_digits, beside)):
        names = [f"x{number}" for number in range(1, len(table.rows[0][1]))]
        raise ConfigError(
            f"{path}: column 1 counts the lines ({', '.join(cells[:3])}, ...): their numbers, or a feature; begin with "
            f"a line of names, {brief(','.join(['id', *names]))} to leave it out, {brief(','.join(['x0', *names]))} "
            "to take it"
        )


def counts(cells: Sequence[str]) -> bool:
    """Return whether cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    return all(map(is_digits, cells)) and cells[0] in ("0", "1") and _steps(cells)


def _steps(cells: Sequence[str]) -> bool:
    return all(map(is_digits, cells)) and all(int(b) - int(a) == 1 for a, b in pairwise(cells))


def is_digits(cell: str) -> bool:
    """Return whether a cell is a whole number without a sign."""
    return cell.isascii() and cell.isdigit()


def _is_year(cell: str) -> bool:
    return is_digits(cell) and 1900 <= int(cell) <= 2100
