"""What of a large table people see; programs get all."""

from dataclasses import dataclass

from bnexp.document.lesson import Table

MOST_ROWS, FIRST_ROWS, LAST_ROWS = 12, 8, 3
MOST_COLUMNS = 16


@dataclass(frozen=True)
class Cut:
    """The part of a table that is shown.

    Attributes:
        rows: the rows, by number; None stands for those in the middle of many.
        columns: the columns, by number.
        rows_left_out: how many are not shown.
        columns_left_out: alike.
    """

    rows: list[int | None]
    columns: list[int]
    rows_left_out: int
    columns_left_out: int


def cut(table: Table) -> Cut:
    """Return what is shown of a table: the first columns, the first rows and the last."""
    rows: list[int | None] = list(range(len(table.rows)))
    if len(rows) > MOST_ROWS:
        rows[FIRST_ROWS:-LAST_ROWS] = [None]
    columns = list(range(min(len(table.columns), MOST_COLUMNS)))
    seen = sum(row is not None for row in rows)
    return Cut(rows, columns, len(table.rows) - seen, len(table.columns) - len(columns))
