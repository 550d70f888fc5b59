"""Lays a table out for a width: which columns fit, what is wrapped, and what stands beside or below each other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from rich.cells import cell_len
from rich.text import Text as Line

from bnexp.document.table import Column, Row, Table, truncated
from bnexp.document.terminal_figure import log_bars
from bnexp.document.writing import GAP, aligned, readable

_BREAK = re.compile(r"(?<=[ _/])(?![%±])|(?<=[-.])(?=[A-Za-z])")
"""Places to break words: after a space, `_`, `/`, `-` or `.`, but not within an arrow or a number with its sign."""
_STYLES = {"running": "cyan", "diverged": "red", "failed": "red", "dead": "yellow", "damaged": "yellow"}
_BAR_COLORS = ("cyan", "magenta")
_LEAST_BAR, _MOST_BAR = 4, 24
"""Letters of a bar below which it shows nothing, and of the longest."""


_Cells = Sequence[tuple[str, str]]
"""The texts of a line and their styles."""


def table_lines(table: Table, width: int) -> tuple[list[list[Line]], list[str]]:
    """Lay out a table for a terminal of `width` letters, without its title, formula and notes.

    Returns:
        The lines of each piece, which stand below each other, and the headers of columns for which there is no room.
    """
    if table.layout == "numbers":
        return list(_number_pieces(table, width)), []
    page = _Page(table, width)
    chosen, pieces = page.choose()
    grids = [page.transposed(piece) for piece in pieces] or [page.upright(chosen)]
    left_out = [column.header for column in page.columns if column not in chosen and not column.redundant]
    return [list(grid.lines(width)) for grid in grids], left_out


@dataclass(frozen=True)
class _Grid:
    """The cells of a table as they are drawn; of each column its name, its least width, and if it goes to the right.

    Attributes:
        body: a line of cells each, or a line that is no row.
        ruled: a rule stands below the heading.
        evenly: wrapped columns share the room that is left; otherwise the first take as much as they want.
    """

    heading: Sequence[str]
    body: Sequence[_Cells | Line]
    least: Sequence[int]
    right: Sequence[bool]
    ruled: bool = True
    evenly: bool = False

    def lines(self, width: int) -> Iterator[Line]:
        """Yield the lines: the heading, unless it is empty, a rule, and the body."""
        widths = self._widths(width)
        if any(self.heading):
            yield from self._row([(text, "bold" if self.ruled else "dim") for text in self.heading], widths)
            if self.ruled:
                yield Line("─" * (sum(widths) + GAP * (len(widths) - 1)), style="dim")
        for row in self.body:
            yield from [row] if isinstance(row, Line) else self._row(row, widths)

    def _widths(self, width: int) -> list[int]:
        """Share out what `width` leaves over among the wrapped columns."""
        rows = [[(text, "") for text in self.heading], *(row for row in self.body if not isinstance(row, Line))]
        wanted = [max(cell_len(row[index][0]) for row in rows) for index in range(len(self.least))]
        widths = list(self.least)
        spare = max(width - sum(widths) - GAP * (len(widths) - 1), 0)
        while spare and (wrapped_ones := [index for index, own in enumerate(widths) if own < wanted[index]]):
            widths[min(wrapped_ones, key=lambda index: widths[index] if self.evenly else index)] += 1
            spare -= 1
        return widths

    def _row(self, cells: _Cells, widths: Sequence[int]) -> Iterator[Line]:
        wrapped_cells = [wrapped(text, width) for (text, _), width in zip(cells, widths, strict=True)]
        for parts in zip_longest(*wrapped_cells, fillvalue=""):
            line = Line()
            for part, (_, style), width, right in zip(parts, cells, widths, self.right, strict=True):
                line.append(aligned(part, width, right), style).append(" " * GAP)
            line.rstrip()
            yield line


class _Page:
    """Works out what fits on a page of a given width."""

    def __init__(self, table: Table, width: int) -> None:
        self.table, self.width = table, width
        self.words = min(max(width // 6, 8), 14)  # columns of words are wrapped, down to this width
        self.columns = [column for column in table.columns if column.audience != "machines"]
        self._bars = self._drawn_bars()
        if not self._bars:
            self.columns = [column for column in self.columns if column.kind != "bar"]
        self.narrowest = {column.key: self._narrowest(column) for column in self.columns}

    def choose(self) -> tuple[list[Column], list[range]]:
        """Return the columns to show, and the rows of each transposed piece; no piece means upright."""
        pieces = list(self._pieces()) if self.table.layout == "arms" and not self._fit(self.columns) else []
        if len(pieces) == 1:
            return self.columns, pieces
        chosen = list(self.columns)
        going = [column for column in self.columns if column.give_up is not None]
        for column in sorted(going, key=lambda column: column.give_up or 0):
            if not self._fit(chosen):
                chosen.remove(column)
        return (self.columns, pieces) if pieces and not self._fit(chosen) else (chosen, [])

    def upright(self, columns: Sequence[Column]) -> _Grid:
        """Return one row per line."""
        grouping = [column.key for column in columns if column.grouped]
        body: list[_Cells | Line] = []
        above: Row = {}
        for row in self.table.rows:
            repeated = [key for key in grouping if above and row.get(key) == above.get(key)]
            if above and len(repeated) < len(grouping):
                body.append(Line())
            shown = ["" if column.key in repeated else self._shown(row, column) for column in columns]
            body.append([(text, self._style(row, column)) for text, column in zip(shown, columns, strict=True)])
            above = row
        return _Grid(
            heading=[_header(column) for column in columns],
            body=body,
            least=[self.narrowest[column.key] for column in columns],
            right=[column.numeric for column in columns],
            evenly=self.table.layout == "records",
        )

    def transposed(self, piece: range) -> _Grid:
        """Return one row per column, the first column as heading."""
        first, *others = self.columns
        rows = [self.table.rows[index] for index in piece]
        body = [
            [(_header(column), "bold"), *((self._shown(row, column), self._style(row, column)) for row in rows)]
            for column in others
        ]
        return _Grid(
            heading=[_header(first), *(self._shown(row, first) for row in rows)],
            body=body,
            least=[self._labels, *map(self._width_of_row, rows)],
            right=[False] * (1 + len(rows)),
        )

    def _pieces(self) -> Iterator[range]:
        """Yield the rows that fit beside each other."""
        start, used = 0, self._labels
        for index, row in enumerate(self.table.rows):
            needed = GAP + self._width_of_row(row)
            if used + needed > self.width and index > start:
                yield range(start, index)
                start, used = index, self._labels
            used += needed
        yield range(start, len(self.table.rows))

    def _fit(self, columns: Sequence[Column]) -> bool:
        return sum(self.narrowest[column.key] for column in columns) + GAP * (len(columns) - 1) <= self.width

    def _narrowest(self, column: Column) -> int:
        """Return the width below which a column would cut a number, or words into small pieces."""
        header = max(cell_len(piece.rstrip()) for piece in _BREAK.split(_header(column)))
        return max([column.least, header, *(self._least(row, column) for row in self.table.rows)])

    @property
    def _labels(self) -> int:
        return max(cell_len(_header(column)) for column in self.columns)

    def _width_of_row(self, row: Row) -> int:
        return max(self._least(row, column) for column in self.columns)

    def _least(self, row: Row, column: Column) -> int:
        natural = cell_len(self._shown(row, column))
        return natural if column.kind != "text" else min(natural, self.words)

    def _shown(self, row: Row, column: Column) -> str:
        if column.kind == "bar":
            return self._bars[column.key][self.table.rows.index(row)]
        return readable(self.table.cell(row, column).text)

    def _style(self, row: Row, column: Column) -> str:
        if column.kind == "bar":
            return _BAR_COLORS[list(self._bars).index(column.key) % len(_BAR_COLORS)]
        words = self._shown(row, column).replace(",", "").split() if column.key == "status" else []
        return next((_STYLES[word] for word in words if word in _STYLES), "")

    def _drawn_bars(self) -> dict[str, list[str]]:
        """Return the bars of each column of bars, as long as the other columns leave room for, if it is enough."""
        bars = [column for column in self.columns if column.kind == "bar"]
        others = [column for column in self.columns if column.kind != "bar"]
        room = (self.width - sum(self._narrowest(column) + GAP for column in others)) // max(len(bars), 1) - GAP
        if room < _LEAST_BAR:
            return {}
        rows, room = self.table.rows, min(room, _MOST_BAR)
        return {bar.key: log_bars([float(self.table.cell(row, bar).value or 0) for row in rows], room) for bar in bars}


def _number_pieces(table: Table, width: int) -> Iterator[list[Line]]:
    """Yield the pieces of a table of numbers, as many as its columns need, with a line that counts what is left out."""
    rows, (labels, *columns), rows_left_out, columns_left_out = truncated(table)
    label_width = max(map(cell_len, (labels.header, *(readable(row[labels.key].text) for row in rows if row))))
    shown = {column.key: ["" if row is None else readable(row[column.key].text) for row in rows] for column in columns}
    widths = {
        column.key: max(column.least, *map(cell_len, (readable(column.header), *shown[column.key])))
        for column in columns
    }
    while columns:
        needed = accumulate(GAP + widths[column.key] for column in columns)
        fit = max(sum(total <= width - label_width for total in needed), 1)
        piece, columns = columns[:fit], columns[fit:]
        body: list[_Cells | Line] = []
        for index, row in enumerate(rows):
            if row is None:
                body.append(Line(f"... {rows_left_out:,} more rows; --json has all", "dim"))
            else:
                cells = [(shown[column.key][index], "") for column in piece]
                body.append([(readable(row[labels.key].text), ""), *cells])
        if not columns and columns_left_out:
            body.append(Line(f"... {columns_left_out:,} more columns; --json has all", "dim"))
        heading = [readable(column.header) for column in (labels, *piece)]
        least = [label_width, *(widths[column.key] for column in piece)]
        right = [False, *(column.numeric for column in piece)]
        yield list(_Grid(heading, body, least, right, ruled=False).lines(0))


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
