"""Mean and spread over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bnexp.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Sample:
    """What n values of one figure say. `std` is the sample standard deviation, None for a single value."""

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


Kind = Literal["text", "number", "sample", "curve"]
Audience = Literal["all", "people", "machines"]
NOTHING = "-"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in CSV, JSON and `--sort`; `unit` is added to it in CSV and JSON.
        header: its name for people, with the unit.
        kind: what its cells hold; a sample becomes three columns in CSV.
        unit: unit of the values in CSV and JSON, where the key does not say it.
        short: its name in a terminal, where that is clear enough.
        descending: the larger value is sorted first.
        give_up: order in which a narrow terminal leaves columns out; None for never.
        redundant: nothing is lost, and nothing said, when it is left out.
        audience: the readers that get it.
    """

    key: str
    header: str
    kind: Kind = "text"
    unit: str = ""
    short: str = ""
    descending: bool = False
    give_up: int | None = None
    redundant: bool = False
    audience: Audience = "all"

    @property
    def machine_key(self) -> str:
        """The key with its unit, such as `test_accuracy_fraction`."""
        return f"{self.key}_{self.unit}" if self.unit else self.key

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `--sort` takes, the key first."""
        return tuple(dict.fromkeys(name for name in (self.key, self.machine_key, self.header, self.short) if name))


@dataclass(frozen=True)
class Cell:
    """One cell: its text for people; its value for machines and sorting, or the sample it shows."""

    text: str = NOTHING
    value: Any = None
    sample: Sample | None = None

    @property
    def order(self) -> object:
        """What sorting compares."""
        return self.value if self.sample is None else self.sample.mean


Row = Mapping[str, Cell]
"""Cells by the key of their column; a missing one is empty."""


@dataclass(frozen=True)
class Table:
    """Columns, rows and the sentences below."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def cell(self, row: Row, column: Column) -> Cell:
        """Return the cell of a row in a column."""
        return row.get(column.key, Cell())

    def columns_for(self, audience: Literal["people", "machines"]) -> list[Column]:
        """Return the columns that people or machines get."""
        return [column for column in self.columns if column.audience in ("all", audience)]


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


def sort_rows(table: Table, column: Column) -> Table:
    """Return the table sorted by a column, rows without a value last; equal rows keep their order."""
    known = [row for row in table.rows if _order(table.cell(row, column)) is not None]
    unknown = [row for row in table.rows if _order(table.cell(row, column)) is None]
    known.sort(key=lambda row: _order(table.cell(row, column)) or (), reverse=column.descending)
    return replace(table, rows=(*known, *unknown))


def _order(cell: Cell) -> tuple[bool, float, str] | None:
    """Order numbers before words, each among their own."""
    value = cell.order
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float) and abs(value) < 1e300:
        return (False, float(value), "")
    return (True, 0.0, str(value))


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
