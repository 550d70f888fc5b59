"""Small bar charts in text."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from bnexp.document.render import readable
from bnexp.document.table import Column, Row, Table

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEAST_SPAN = 10.0
"""Values that differ by less than this factor get bars that differ in proportion to a whole decade."""


def log_bars(values: Sequence[float], width: int) -> list[str]:
    """Return a bar per value whose length follows its logarithm: one cell for the least, `width` for the largest.

    A value that is not positive and finite gets none, and none gets any where there is no room.
    """
    logs = [math.log10(value) if 0 < value < math.inf else None for value in values]
    found = [log for log in logs if log is not None]
    if not found or width < 1:
        return [""] * len(logs)
    high = max(found)
    span = max(high - min(found), math.log10(_LEAST_SPAN))
    return ["" if log is None else _bar(1 + (width - 1) * (1 - (high - log) / span)) for log in logs]


def _bar(cells: float) -> str:
    whole, eighths = divmod(round(8 * cells), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


_GAP = 2
"""Spaces between two columns."""
_BREAK = re.compile(r"(?<=[ _/])(?![%±])|(?<=[-.])(?=[A-Za-z])")
"""Where words may be broken: after a space, `_`, `/`, `-` or `.`, but not within an arrow or a number with its sign."""

_STYLES = {"running": "cyan", "diverged": "red", "failed": "red", "dead": "yellow", "damaged": "yellow"}


def print_table(console: Console, table: Table, *, transposable: bool = True) -> None:
    """Print a table and its notes.

    Args:
        console: where to; its width decides the layout.
        table: rows, columns and notes.
        transposable: rows are few and alike, so that one row per column of the page is readable.
    """
    page = _Page(table, console.width)
    columns = table.columns_for("people")
    kept, pieces = page.choose(columns, transposable)
    grids = [page.transposed(kept, piece) for piece in pieces] or [page.upright(kept)]
    for grid in grids:
        text = Text("\n").join(grid.lines(console.width)).append("\n")
        console.print(text, no_wrap=True, overflow="ignore", crop=False)
    left_out = [column.header for column in columns if column not in kept and not column.redundant]
    hint = [f"left out at this width: {', '.join(left_out)}; add | less -S to see all"] if left_out else []
    for note in [*table.notes, *hint]:
        console.print(Text(readable(note), style="dim"))


@dataclass(frozen=True)
class _Grid:
    """What is drawn: a heading and lines of (text, style); of each column its least width, and if it goes right."""

    heading: Sequence[str]
    body: Sequence[Sequence[tuple[str, str]]]
    least: Sequence[int]
    right: Sequence[bool]

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the lines; what `width` leaves over goes to the wrapped columns, from the left."""
        spare = max(width - sum(self.least) - _GAP * (len(self.least) - 1), 0)
        widths = []
        for index, least in enumerate(self.least):
            natural = max(cell_len(text) for text in (self.heading[index], *(row[index][0] for row in self.body)))
            widths.append(min(max(natural, least), least + spare))
            spare -= widths[-1] - least
        yield from self._row([(text, "bold") for text in self.heading], widths)
        yield Text("─" * (sum(widths) + _GAP * (len(widths) - 1)), style="dim")
        for row in self.body:
            yield from self._row(row, widths)

    def _row(self, cells: Sequence[tuple[str, str]], widths: Sequence[int]) -> Iterator[Text]:
        wrapped_cells = [wrapped(text, width) for (text, _), width in zip(cells, widths, strict=True)]
        for parts in zip_longest(*wrapped_cells, fillvalue=""):
            line = Text()
            for part, (_, style), width, right in zip(parts, cells, widths, self.right, strict=True):
                space = " " * (width - cell_len(part))
                line.append(space + part if right else part + space, style).append(" " * _GAP)
            line.rstrip()
            yield line


class _Page:
    """Works out what fits on a page of a given width."""

    def __init__(self, table: Table, width: int) -> None:
        self.table, self.width = table, width
        self.words = min(max(width // 6, 8), 14)
        """columns of words are wrapped, down to this width"""
        self.narrowest = {column.key: self._narrowest(column) for column in table.columns}

    def choose(self, columns: list[Column], transposable: bool) -> tuple[list[Column], list[range]]:
        """Return the columns to show, and the rows of each transposed piece; no piece means upright."""
        if self._needed(columns) <= self.width:
            return columns, []
        pieces = list(self._pieces(columns)) if transposable else []
        if len(pieces) == 1:
            return columns, pieces
        kept = list(columns)
        going = [column for column in columns if column.give_up is not None]
        for column in sorted(going, key=lambda one: one.give_up or 0):
            if self._needed(kept) <= self.width:
                break
            kept.remove(column)
        return (columns, pieces) if pieces and self._needed(kept) > self.width else (kept, [])

    def upright(self, columns: Sequence[Column]) -> _Grid:
        """Return one row per line."""
        return _Grid(
            heading=[_header(column) for column in columns],
            body=[
                [(self._shown(row, column), self._style(row, column)) for column in columns] for row in self.table.rows
            ],
            least=[self.narrowest[column.key] for column in columns],
            right=[column.kind in ("number", "sample") for column in columns],
        )

    def transposed(self, columns: Sequence[Column], piece: range) -> _Grid:
        """Return one row per column of the page, the first of `columns` as heading."""
        first, *others = columns
        rows = [self.table.rows[index] for index in piece]
        body = [
            [(_header(column), "bold"), *((self._shown(row, column), self._style(row, column)) for row in rows)]
            for column in others
        ]
        return _Grid(
            heading=[_header(first), *(self._shown(row, first) for row in rows)],
            body=body,
            least=[self._labels(columns), *(self._width_of_row(row, columns) for row in rows)],
            right=[False] * (1 + len(rows)),
        )

    def _pieces(self, columns: Sequence[Column]) -> Iterator[range]:
        """Yield the rows that fit beside each other."""
        start, used = 0, self._labels(columns)
        for index, row in enumerate(self.table.rows):
            needed = _GAP + self._width_of_row(row, columns)
            if used + needed > self.width and index > start:
                yield range(start, index)
                start, used = index, self._labels(columns)
            used += needed
        yield range(start, len(self.table.rows))

    def _needed(self, columns: Sequence[Column]) -> int:
        return sum(self.narrowest[column.key] for column in columns) + _GAP * (len(columns) - 1)

    def _narrowest(self, column: Column) -> int:
        """Return the width below which a column would cut a number, or words into small pieces."""
        header = max(cell_len(piece.rstrip()) for piece in _BREAK.split(_header(column)))
        return max([header, *(self._least(row, column) for row in self.table.rows)])

    def _width_of_row(self, row: Row, columns: Sequence[Column]) -> int:
        return max(self._least(row, column) for column in columns)

    def _least(self, row: Row, column: Column) -> int:
        natural = cell_len(self._shown(row, column))
        return natural if column.kind != "text" else min(natural, self.words)

    def _labels(self, columns: Sequence[Column]) -> int:
        return max(cell_len(_header(column)) for column in columns)

    def _shown(self, row: Row, column: Column) -> str:
        return readable(self.table.cell(row, column).text)

    def _style(self, row: Row, column: Column) -> str:
        words = self._shown(row, column).replace(",", "").split() if column.key == "status" else []
        return next((_STYLES[word] for word in words if word in _STYLES), "")


def _header(column: Column) -> str:
    return readable(column.short or column.header)


def wrapped(text: str, width: int) -> list[str]:
    """Break text into lines of at most `width` cells; a piece that is wider alone is broken anywhere."""
    lines = [""]
    for piece in _BREAK.split(text):
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        for char in piece:
            if char != " " and lines[-1] and cell_len(lines[-1] + char) > width:
                lines.append("")
            lines[-1] += char
    return [line.rstrip() for line in lines]
