"""A table with typed columns: its cells hold a text for people, and a value or a sample for programs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bnexp.document.writing import Value, column_text
from bnexp.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Sample:
    """Mean and spread of n values of one figure. `std` is the sample standard deviation, None for a single value."""

    mean: float
    std: float | None
    n: int


def sample_of(values: Sequence[float]) -> Sample | None:
    """Return mean and sample standard deviation (divisor n - 1); None where there is no value."""
    n = len(values)
    if n == 0:
        return None
    # Near the largest float, sums and squares overflow. Dividing by a power of two first is exact and leaves below 2.
    scale = 2.0 ** (math.frexp(max(map(abs, values)))[1] - 1)
    scaled = [value / scale for value in values]
    mean = math.fsum(scaled) / n
    if n == 1:
        return Sample(values[0], None, 1)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in scaled) / (n - 1))
    return Sample(mean * scale, std * scale, n)


Kind = Literal["text", "number", "sample", "curve", "bar"]
Audience = Literal["all", "people", "machines"]
TableLayout = Literal["records", "arms", "numbers"]
NOTHING = "-"

_LEAST_NUMBER = 8
"""Letters of a column of calculated numbers, so that tables below each other look alike."""
_MOST_ROWS, _FIRST_ROWS, _LAST_ROWS = 12, 8, 3
_MOST_COLUMNS = 16


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in CSV, JSON, `--sort` and pandas, the same in every table; accuracies there are fractions.
        header: its name for people, with the unit; `short` is its name in a terminal, where that is clear enough.
        kind: what its cells hold; a sample becomes a column in CSV for each of its `statistics`. A bar, as long as the
            logarithm of its value, is drawn only in a terminal with room for it.
        descending: the larger value is sorted first.
        give_up: order in which a narrow terminal leaves columns out, and says so; None for never.
        grouped: a terminal shows equal values of neighboring rows once, and an empty line before the next value.
        least: letters that it is wide at least.
        whole: a terminal breaks none of its texts. A long one of the first column of records, which people copy, stands
            on a line of its own, above the rest of its row.
    """

    key: str
    header: str
    kind: Kind = "text"
    short: str = ""
    descending: bool = False
    give_up: int | None = None
    audience: Audience = "all"
    grouped: bool = False
    least: int = 0
    whole: bool = False
    statistics: tuple[str, ...] = ("mean", "std", "n")

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `--sort` takes, the key first."""
        return tuple(dict.fromkeys(name for name in (self.key, self.header, self.short) if name))

    @property
    def numeric(self) -> bool:
        """Whether its cells are numbers, which are aligned to the right."""
        return self.kind in ("number", "sample")


@dataclass(frozen=True)
class Cell:
    """One cell: its text for people; its value for machines and sorting, or the sample it shows.

    `more` are statistics of a sample beyond mean, deviation and n, such as the ends of an interval.
    """

    text: str = NOTHING
    value: Any = None
    sample: Sample | None = None
    more: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def order(self) -> object:
        """The value by which rows are sorted."""
        return self.value if self.sample is None else self.sample.mean


def word(text: str) -> Cell:
    """Return a cell whose text is its value."""
    return Cell(text, text)


Row = Mapping[str, Cell]
"""Cells by the key of their column; a missing one is empty."""


@dataclass(frozen=True)
class Table:
    """Columns, of which the first names the rows, the rows, and as `notes` the sentences below.

    Attributes:
        title: what it shows; where there is one, the rows are indented below it.
        layout: how a terminal fits it in. `records`: a line a row, lesser columns left out where it is narrow.
            `arms`: few rows, which stand beside each other where all columns fit so. `numbers`: calculated numbers, of
            many rows the first and the last; columns that do not fit come in a piece of their own below.
        headed: plain text begins with the names of the columns.
        key: the name of its `values` in a lesson's JSON; without it, it gives none.
        formula: the lines of the formula that its numbers come from; it stands beside them.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    title: str = ""
    layout: TableLayout = "records"
    headed: bool = True
    key: str = ""
    formula: tuple[str, ...] = ()
    values: object = None

    def cell(self, row: Row, column: Column) -> Cell:
        """Return the cell of a row in a column."""
        return row.get(column.key, Cell())

    def columns_for(self, audience: Literal["people", "machines"]) -> list[Column]:
        """Return the columns that people or machines get."""
        return [column for column in self.columns if column.audience in ("all", audience) and column.kind != "bar"]

    @property
    def numbers(self) -> Mapping[str, object]:
        """Its numbers by its key, in full precision."""
        return {self.key: self.values} if self.key else {}


def number_table(
    key: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Value]]],
    formula: Sequence[str] = (),
    corner: str = "",
    digits: int = 4,
    values: object = None,
) -> Table:
    """Return a table of calculated numbers.

    `columns` are headings, `corner` is that of the labels; a row is its label and a cell per column. Numbers that are
    not whole get `digits` decimals. `values` is what `numbers` holds under `key`, by default an object per row.
    """
    if values is None:
        values = [{corner or "row": label, **dict(zip(columns, cells, strict=True))} for label, cells in rows]
    labels, *keys = _unique([corner or "row", *columns])
    typed, cells_of = [], []
    for index, (name, header) in enumerate(zip(keys, columns, strict=True)):
        cells = [row[index] for _, row in rows]
        texts = column_text(cells, digits, deciding=[cells[row] for row in shown_rows(len(cells)) if row is not None])
        numeric = not any(isinstance(cell, str) for cell in cells)
        typed.append(Column(name, header, "number", least=_LEAST_NUMBER) if numeric else Column(name, header))
        cells_of.append([Cell(text, cell) for text, cell in zip(texts, cells, strict=True)])
    made = tuple(
        {labels: word(label), **{name: cells[row] for name, cells in zip(keys, cells_of, strict=True)}}
        for row, (label, _) in enumerate(rows)
    )
    return Table((Column(labels, corner), *typed), made, (), title, "numbers", True, key, tuple(formula), values)


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, those that occur twice with their place."""
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}.{place}" for place, name in enumerate(names)]


def shown_rows(count: int) -> list[int | None]:
    """Return the rows of a table of numbers that people see, by number; None stands for those in the middle of many."""
    rows: list[int | None] = list(range(count))
    if count > _MOST_ROWS:
        rows[_FIRST_ROWS:-_LAST_ROWS] = [None]
    return rows


def truncated(table: Table) -> tuple[list[Row | None], list[Column], int, int]:
    """Truncate a table of numbers for display; JSON keeps every row.

    Returns:
        The rows, with None for those in the middle of many; the columns, the labels first; how many rows, and how many
        columns are left out.
    """
    rows = [None if row is None else table.rows[row] for row in shown_rows(len(table.rows))]
    columns = table.columns_for("people")
    left_out = len(table.rows) - sum(row is not None for row in rows)
    return rows, columns[: _MOST_COLUMNS + 1], left_out, len(columns[_MOST_COLUMNS + 1 :])


def with_exponents(table: Table, first: int, last: int) -> Table:
    """Return a table of numbers whose columns first .. last show exponents, since they differ widely in size."""
    chosen = table.columns[1 + first : 2 + last]
    rows = tuple(
        {**row, **{column.key: Cell(f"{row[column.key].value:.1e}", row[column.key].value) for column in chosen}}
        for row in table.rows
    )
    columns = tuple(replace(column, kind="text", least=0) if column in chosen else column for column in table.columns)
    return Table(columns, rows, table.notes, table.title, "numbers", True, table.key, table.formula, table.values)


def facts(pairs: Sequence[tuple[str, str]], *, title: str = "", least: int = 0) -> Table:
    """Return a table of two columns without headings: a word and the text about it.

    Args:
        pairs: the lines.
        title: the line above, if there is one.
        least: letters that the first words take up at least.
    """
    columns = (Column("fact", "", least=least), Column("text", ""))
    rows = tuple({"fact": word(fact), "text": word(text)} for fact, text in pairs)
    return Table(columns, rows, title=title, headed=False)


def find_column(columns: Sequence[Column], name: str) -> Column:
    """Return the column that a person calls `name`: its key, its header, or its short name.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    wanted = _plain(name)
    for column in columns:
        if wanted in map(_plain, column.names):
            return column
    hint = did_you_mean(name, [known for column in columns for known in column.names])
    known = ", ".join(column.key for column in columns)
    raise ConfigError(f"--sort {name}: no such column.{hint} Columns here: {known}")


def sort_key(cell: Cell) -> tuple[bool, float, str] | None:
    """Return by what a cell is sorted: numbers before words, each among their own; None where it has no value."""
    value = cell.order
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float) and abs(value) < 1e300:
        return (False, float(value), "")
    return (True, 0.0, str(value))


def sort_rows(table: Table, column: Column, within: Column | None = None) -> Table:
    """Return the table sorted by a column, which a note says; rows without a value last, equal ones as they were.

    Rows of equal value in the column `within` stay together, in the order of the first of each. The column is shown to
    people, and no terminal is too narrow for it: without it nobody could tell the order.
    """
    known = [row for row in table.rows if sort_key(table.cell(row, column)) is not None]
    unknown = [row for row in table.rows if sort_key(table.cell(row, column)) is None]
    known.sort(key=lambda row: sort_key(table.cell(row, column)) or (), reverse=column.descending)
    groups: dict[object, list[Row]] = {}
    for row in (*known, *unknown):
        groups.setdefault(None if within is None else table.cell(row, within).value, []).append(row)
    shown = replace(column, give_up=None, audience="all" if column.audience == "machines" else column.audience)
    notes = table.notes
    if len(known) > 1:
        words = any(isinstance(table.cell(row, column).order, str) for row in known)
        first = "" if words else ", the highest first" if column.descending else ", the lowest first"
        notes = (f"sorted by {column.header}{first}", *notes)
    columns = tuple(shown if own == column else own for own in table.columns)
    return replace(table, columns=columns, rows=tuple(row for group in groups.values() for row in group), notes=notes)


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
