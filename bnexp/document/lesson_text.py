"""Shows a lesson in a terminal, or as text in a pipe: at most 100 columns, and no number is ever cut."""

import io
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text as Line

from bnexp.document.cut import cut
from bnexp.document.lesson import Heading, Histogram, Lesson, Lines, Part, Picture, Scatter, Table, Text
from bnexp.document.letters import draw_histogram, draw_lines, draw_regions, draw_scatter
from bnexp.document.numerals import column_text
from bnexp.errors import visible

WIDEST = 100
NARROWEST = 30
"""Pictures need so many columns; the lines of a terminal that has fewer break."""
_FORMULA_ROOM = 56
"""A formula stands beside its table up to this width, above it beyond."""
_LEAST_CELL = 8
_GAP = 2
CODE = re.compile(r"`([^`]+)`")
"""What stands between backticks."""


def to_text(lesson: Lesson) -> str:
    """Return a lesson as plain text, 100 columns wide."""
    console = Console(file=io.StringIO(), width=WIDEST, highlight=False, color_system=None)
    print_lesson(console, lesson)
    assert isinstance(console.file, io.StringIO)  # noqa: S101  for the type checker
    return console.file.getvalue()


def print_lesson(console: Console, lesson: Lesson) -> None:
    """Print a lesson, as wide as the console but for 100 columns at most."""
    width = max(min(console.width, WIDEST), NARROWEST)
    _print(console, [Line(f"{lesson.topic}: {lesson.title}", "bold"), Line()], width)
    left = _formula_width(lesson.parts)
    for part in lesson.parts:
        _print(console, [*_lines(part, width, left), Line()], width)
    _print(console, [Line("Test it", "bold cyan")], width)
    for command in lesson.experiment.commands:
        _print(console, [Line(line) for line in command_lines(command, width - _GAP)], width)
    _print(console, _prose(lesson.experiment.look_for), width)


def _print(console: Console, lines: Sequence[Line], width: int) -> None:
    for line in lines:
        for piece in line.wrap(console, width) if cell_len(line.plain) > width else [line]:
            piece.rstrip()
            console.print(piece, no_wrap=True, overflow="ignore", crop=False)


def _lines(part: Part, width: int, left: int) -> list[Line]:
    """Return the lines of a part; those of prose are wrapped later."""
    if isinstance(part, Heading):
        return [Line(part.text, "bold cyan")]
    if isinstance(part, Text):
        return _prose(part.text)
    if isinstance(part, Table):
        return list(_table(part, width, left))
    return [Line(visible(part.title), "bold"), *picture_lines(part, width)]


def command_lines(command: str, width: int) -> Iterator[str]:
    """Yield a command in lines that a shell takes as one: broken before an option, after a backslash."""
    first, *options = command.split(" --")
    line = first
    for option in options:
        if cell_len(f"{line} --{option} \\") > width:
            yield f"  {line} \\"
            line = " "
        line += f" --{option}"
    yield f"  {line}"


def picture_lines(part: Picture, width: int) -> Iterator[Line]:
    """Yield the lines of a picture."""
    if isinstance(part, Histogram):
        return draw_histogram(part, width)
    if isinstance(part, Scatter):
        return draw_scatter(part, width)
    if isinstance(part, Lines):
        return draw_lines(part, width)
    return draw_regions(part, width)


def _prose(text: str) -> list[Line]:
    """Return a paragraph; code stands out by color as well where there is color."""
    line = Line(visible(text))
    line.highlight_regex(CODE, "cyan")
    return [line]


def _formula_width(parts: Sequence[Part]) -> int:
    """Return the width of the widest formula, so that all tables of a lesson stand in one column."""
    tables = [part for part in parts if isinstance(part, Table) and part.formula]
    widths = [cell_len(line) for table in tables for line in (table.title, *table.formula)]
    return max((width for width in widths if width <= _FORMULA_ROOM), default=0)


def _table(table: Table, width: int, left: int) -> Iterator[Line]:
    """Yield the formula with the table beside it where both fit, else one above the other."""
    heading = [Line(visible(table.title), "bold"), *(Line(line, "cyan") for line in table.formula)]
    beside = bool(table.formula) and all(cell_len(line.plain) <= left for line in heading)
    blocks = list(_blocks(table, width - _GAP))
    right = max(cell_len(line.plain) for block in blocks for line in block)
    if not beside or left + _GAP + right > width or len(blocks) > 1:
        yield from heading
        for block in blocks:
            yield from (Line(" " * _GAP).append_text(line) for line in block)
        return
    for text, numbers in zip_longest(heading, blocks[0]):
        line = text.copy() if text else Line()
        line.append(" " * (left + _GAP - cell_len(line.plain)))
        yield line.append_text(numbers) if numbers else line


def _blocks(table: Table, width: int) -> Iterator[list[Line]]:
    """Yield the table in as many pieces, one below the other, as its columns need; what is left out is said."""
    seen = cut(table)
    rows, columns = seen.rows, seen.columns
    labels = ["" if row is None else visible(table.rows[row][0]) for row in rows]
    label_width = max(map(cell_len, (table.corner, *labels)))
    shown = {column: _Column(table, column, rows) for column in columns}
    while columns:
        taken = _that_fit(columns, [shown[column].width for column in columns], width - label_width)
        columns = columns[len(taken) :]
        lines = [_row(table.corner, label_width, [shown[column].heading for column in taken], "dim")]
        for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
            if row is None:
                lines.append(Line(f"... {seen.rows_left_out:,} more rows; --json has all", "dim"))
            else:
                lines.append(_row(label, label_width, [shown[column].aligned(index) for column in taken], ""))
        if not columns and seen.columns_left_out:
            lines.append(Line(f"... {seen.columns_left_out:,} more columns; --json has all", "dim"))
        yield lines


class _Column:
    """The texts of a column, all as wide as the widest."""

    def __init__(self, table: Table, column: int, rows: Sequence[int | None]) -> None:
        self._numeric = table.is_numeric(column)
        self._texts = column_text([None if row is None else table.rows[row][1][column] for row in rows], table.digits)
        name = visible(table.columns[column])
        self.width = max(_LEAST_CELL if self._numeric else 0, *map(cell_len, (name, *self._texts)))
        self.heading = self._aligned(name)

    def aligned(self, index: int) -> str:
        """Return a row's text, as wide as the column."""
        return self._aligned(self._texts[index])

    def _aligned(self, text: str) -> str:
        space = " " * (self.width - cell_len(text))
        return space + text if self._numeric else text + space


def _that_fit(columns: Sequence[int], widths: Sequence[int], width: int) -> list[int]:
    """Return as many columns as fit, at least one."""
    total = 0
    taken: list[int] = []
    for column, one in zip(columns, widths, strict=True):
        total += _GAP + one
        if taken and total > width:
            break
        taken.append(column)
    return taken


def _row(label: str, label_width: int, texts: Sequence[str], style: str) -> Line:
    line = Line(label + " " * (label_width - cell_len(label)), style)
    for text in texts:
        line.append(" " * _GAP + text)
    line.rstrip()
    return line
