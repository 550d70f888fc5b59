"""Lays a table out for a width: which columns fit, what is wrapped, and what stands beside or below each other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from rich.cells import cell_len
from rich.text import Text as Line

from bnexp.document.table import Column, Table, truncated
from bnexp.document.terminal_figure import log_bars
from bnexp.document.writing import GAP, aligned, readable

_SPACE = re.compile(r"(?<=[^±] )(?![ %±])")
"""Places to break a text: after a space, but not between a number and its spread or its sign."""
_WITHIN = re.compile(r"(?<= )(?! )|(?<=[_/=,.])(?![\d_/=,.:;%)])|(?<=\D[_/=])(?=\d)")
"""Places to break a word that is wider than its column; none lies within a number."""
_HYPHEN = re.compile(r"(?<=-)(?=[A-Za-z])")
_LETTERS = re.compile(r"[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?%?|.", re.DOTALL)
"""What is left together of a word that has no such place, after its hyphens: a number, or a letter."""
_STYLES = {"running": "cyan", "diverged": "red", "failed": "red", "dead": "yellow", "damaged": "yellow"}
_BAR_COLORS = ("cyan", "magenta")
_LEAST_BAR, _MOST_BAR = 4, 24
"""Letters of a bar below which it shows nothing, and of the longest."""
_HUNG = 4
"""How far a text that hangs below its row is indented."""


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
    chosen, hung, pieces = page.choose()
    grids = [page.transposed(piece) for piece in pieces] or [page.upright(chosen, hung)]
    left_out = [column.header for column in page.columns if column not in (*chosen, hung)]
    return [list(grid.lines(width)) for grid in grids], left_out


@dataclass(frozen=True)
class _Grid:
    """The cells of a table as they are drawn; of each column its name, its least width, and if it goes to the right.

    Attributes:
        body: a line of cells each, a text that hangs below one, or a line as it is.
        below: a heading that hangs below the others.
        under: the column below which texts hang.
        whole: a text of the first column that is wider than it stands above the rest of its row.
        ruled: a rule stands below the heading.
        evenly: wrapped columns share the room that is left; otherwise the first take as much as they want.
    """

    heading: Sequence[str]
    body: Sequence[_Cells | str | Line]
    least: Sequence[int]
    right: Sequence[bool]
    ruled: bool = True
    evenly: bool = False
    below: str = ""
    under: int = 0
    whole: bool = False

    def lines(self, width: int) -> Iterator[Line]:
        """Yield the lines: the heading, unless it is empty, a rule, and the body."""
        widths, style = self._widths(width), "bold" if self.ruled else "dim"
        if any(self.heading):
            yield from self._row([(text, style) for text in self.heading], widths)
            yield from self._hung(self.below, widths, width, style)
            if self.ruled:
                yield Line("─" * (sum(widths) + GAP * (len(widths) - 1)), style="dim")
        for row in self.body:
            if isinstance(row, Line):
                yield row
            elif isinstance(row, str):
                yield from self._hung(row, widths, width)
            elif self.whole and cell_len(row[0][0]) > widths[0]:
                yield from (Line(part, row[0][1]) for part in wrapped(row[0][0], width))
                yield from self._row([("", ""), *row[1:]], widths)
            else:
                yield from self._row(row, widths)

    def _hung(self, text: str, widths: Sequence[int], width: int, style: str = "") -> Iterator[Line]:
        indent = _HUNG + sum(GAP + before for before in widths[: self.under])
        for part in wrapped(text, width - indent) if text else []:
            yield Line(" " * indent + part, style)

    def _widths(self, width: int) -> list[int]:
        """Share out what `width` leaves over among the wrapped columns; where nothing fits, the widest give way."""
        rows = [[(text, "") for text in self.heading], *(row for row in self.body if not isinstance(row, str | Line))]
        wanted = [max(cell_len(row[index][0]) for row in rows) for index in range(len(self.least))]
        widths = list(self.least)
        spare = width - sum(widths) - GAP * (len(widths) - 1)
        for _ in range(-spare):
            widest = widths.index(max(widths))
            widths[widest] = max(widths[widest] - 1, 1)
        while spare > 0 and (wrapped_ones := [index for index, own in enumerate(widths) if own < wanted[index]]):
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
        self._words = min(max(width // 6, 8), 14)  # columns of words are wrapped, down to this width
        self._word = max(width // 3, self._words)  # or to that of their longest word, up to this one
        self.columns = [column for column in table.columns if column.audience != "machines"]
        self._texts = {
            column.key: [readable(table.cell(row, column).text) for row in table.rows]
            for column in self.columns
            if column.kind != "bar"
        }
        self._texts |= self._drawn_bars()
        self.columns = [column for column in self.columns if column.key in self._texts]
        self._least = {column.key: self._least_of(column) for column in self.columns}

    def choose(self) -> tuple[list[Column], Column | None, list[range]]:
        """Return the columns that stand beside each other, one that hangs below, and the rows of transposed pieces.

        No piece means upright. A text that ends the rows hangs below them where that takes fewer lines, and before a
        column is left out.
        """
        pieces = list(self._pieces()) if self.table.layout == "arms" and not self._fit(self.columns) else []
        if len(pieces) == 1:
            return self.columns, None, pieces
        chosen, hung = list(self.columns), None
        if self._may_hang() and (not self._fit(chosen) or self._is_shorter_hung()):
            hung = chosen.pop()
        going = [column for column in chosen if column.give_up is not None]
        for column in sorted(going, key=lambda column: column.give_up or 0):
            if not self._fit(chosen):
                chosen.remove(column)
        if self._fit(chosen) or not any(column.header for column in self.columns):
            return chosen, hung, []
        return self.columns, None, pieces or [range(row, row + 1) for row in range(len(self.table.rows))]

    def _may_hang(self) -> bool:
        last, headed = self.columns[-1], any(column.header for column in self.columns)
        return self.table.layout == "records" and headed and last.kind == "text" and last.give_up is None

    def _is_shorter_hung(self) -> bool:
        beside, below = self.upright(self.columns, None), self.upright(self.columns[:-1], self.columns[-1])
        return sum(1 for _ in below.lines(self.width)) < sum(1 for _ in beside.lines(self.width))

    def upright(self, columns: Sequence[Column], hung: Column | None) -> _Grid:
        """Return one row per line."""
        grouping = [column.key for column in columns if column.grouped]
        body: list[_Cells | str | Line] = []
        for index, row in enumerate(self.table.rows):
            above = self.table.rows[index - 1] if index else {}
            repeated = [key for key in grouping if above and row.get(key) == above.get(key)]
            if above and len(repeated) < len(grouping):
                body.append(Line())
            texts = ["" if column.key in repeated else self._texts[column.key][index] for column in columns]
            body.append([(text, self._style(text, column)) for text, column in zip(texts, columns, strict=True)])
            if hung:
                body.append(self._texts[hung.key][index])
        return _Grid(
            heading=[_header(column) for column in columns],
            body=body,
            least=[self._least[column.key] for column in columns],
            right=[column.numeric for column in columns],
            evenly=self.table.layout == "records",
            whole=columns[0].whole,
            below=_header(hung) if hung else "",
            under=len(grouping),
        )

    def transposed(self, piece: range) -> _Grid:
        """Return one row per column, the first column as heading."""
        first, *others = self.columns
        body = [[(_header(column), "bold"), *(self._styled(column, index) for index in piece)] for column in others]
        return _Grid(
            heading=[_header(first), *(self._texts[first.key][index] for index in piece)],
            body=body,
            least=[self._labels, *map(self._width_of_row, piece)],
            right=[False] * (1 + len(piece)),
        )

    def _pieces(self) -> Iterator[range]:
        """Yield the rows that fit beside each other."""
        start, used, rows = 0, self._labels, len(self.table.rows)
        for index in range(rows):
            needed = GAP + self._width_of_row(index)
            if used + needed > self.width and index > start:
                yield range(start, index)
                start, used = index, self._labels
            used += needed
        yield range(start, rows)

    def _fit(self, columns: Sequence[Column]) -> bool:
        return sum(self._least[column.key] for column in columns) + GAP * (len(columns) - 1) <= self.width

    def _least_of(self, column: Column) -> int:
        """Return the width below which a column would cut a number or a word."""
        header = _longest(_header(column).replace(" %", "\N{NO-BREAK SPACE}%"), self._word)
        needed = [self._needed(text, column) for text in self._texts[column.key]]
        if column.whole and column is self.columns[0] and self.table.layout == "records":
            needed = [own for own in needed if own <= self.width * 3 // 10]  # the others stand above their rows
        return max([column.least, header, *needed])

    @property
    def _labels(self) -> int:
        return min(max(cell_len(_header(column)) for column in self.columns), max(self.width // 2, self._word))

    def _width_of_row(self, index: int) -> int:
        return max(self._needed(self._texts[column.key][index], column) for column in self.columns)

    def _needed(self, text: str, column: Column) -> int:
        natural = cell_len(text)
        if natural <= self._words or column.kind != "text" or column.whole:
            return natural
        return min(natural, max(self._words, _longest(text, self._word)))

    def _styled(self, column: Column, index: int) -> tuple[str, str]:
        text = self._texts[column.key][index]
        return text, self._style(text, column)

    def _style(self, text: str, column: Column) -> str:
        if column.kind == "bar":
            bars = [other.key for other in self.columns if other.kind == "bar"]
            return _BAR_COLORS[bars.index(column.key) % len(_BAR_COLORS)]
        words = text.replace(",", "").split() if column.key == "status" else []
        return next((_STYLES[word] for word in words if word in _STYLES), "")

    def _drawn_bars(self) -> dict[str, list[str]]:
        """Return the bars of each column of bars, as long as the other columns leave room for, if it is enough."""
        bars = [column for column in self.columns if column.kind == "bar"]
        others = [column for column in self.columns if column.kind != "bar"]
        room = (self.width - sum(self._least_of(column) + GAP for column in others)) // max(len(bars), 1) - GAP
        if room < _LEAST_BAR:
            return {}
        rows, room = self.table.rows, min(room, _MOST_BAR)
        return {bar.key: log_bars([float(self.table.cell(row, bar).value or 0) for row in rows], room) for bar in bars}


def _number_pieces(table: Table, width: int) -> Iterator[list[Line]]:
    """Yield the pieces of a table of numbers, as many as its columns need, with a line that counts what is left out."""
    rows, (labels, *columns), rows_left_out, columns_left_out = truncated(table)
    label_texts = [readable(labels.header), *(readable(row[labels.key].text) for row in rows if row)]
    shown = {column.key: ["" if row is None else readable(row[column.key].text) for row in rows] for column in columns}
    widths = {
        column.key: max(column.least, *map(cell_len, (readable(column.header), *shown[column.key])))
        for column in columns
    }
    # Long labels are wrapped rather than that the widest column goes beyond the terminal.
    room = width - GAP - max(widths.values(), default=0)
    label_width = min(max(map(cell_len, label_texts)), max(room, *(_longest(text, width // 3) for text in label_texts)))
    while columns:
        needed = accumulate(GAP + widths[column.key] for column in columns)
        fit = max(sum(total <= width - label_width for total in needed), 1)
        piece, columns = columns[:fit], columns[fit:]
        body: list[_Cells | str | Line] = []
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
        yield list(_Grid(heading, body, least, right, ruled=False).lines(width))


def _header(column: Column) -> str:
    return readable(column.short or column.header)


def wrapped(text: str, width: int) -> list[str]:
    """Break text into lines of at most `width` cells: at spaces, else at `_ / = , .`, at last anywhere in a word."""
    if cell_len(text) <= width:
        return [text.rstrip()]
    lines = [""]
    for word in _SPACE.split(text):
        for piece in [word] if cell_len(word.rstrip()) <= width else _pieces_of(word, width):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces_of(word: str, width: int) -> Iterator[str]:
    """Yield a word in pieces, none wider than `width`; a number is only broken where it alone is wider."""
    for piece in _WITHIN.split(word):
        for part in [piece] if cell_len(piece.rstrip()) <= width else _HYPHEN.split(piece):
            for letters in [part] if cell_len(part.rstrip()) <= width else _LETTERS.findall(part):
                yield from [letters] if cell_len(letters.rstrip()) <= width else letters


def _longest(text: str, most: int) -> int:
    """Return the width of the longest piece of a text that stays whole; of a word, `most` at most."""
    pieces = [cell_len(piece.rstrip()) for word in _SPACE.split(text) for piece in _WITHIN.split(word)]
    numbers = [len(letters) for letters in _LETTERS.findall(text) if len(letters) > most]
    return max(min(max(pieces, default=0), most), *numbers, 0)
