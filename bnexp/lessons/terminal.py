"""Shows a lesson in a terminal, or as text in a pipe: at most 100 columns, and no number is ever cut."""

import io
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text as Line

from bnexp.errors import visible
from bnexp.lessons.drawing import draw_histogram, draw_lines, draw_regions, draw_scatter
from bnexp.lessons.lesson import Heading, Histogram, Lesson, Lines, Part, Picture, Scatter, Table, Text
from bnexp.lessons.numerals import column_text

WIDEST = 100
MOST_ROWS, FIRST_ROWS, LAST_ROWS = 12, 8, 3
MOST_COLUMNS = 16
_FORMULA_ROOM = 56
"""A formula stands beside its table up to this width, above it beyond."""
_LEAST_CELL = 8
_GAP = 2
_CODE = re.compile(r"`([^`]+)`")


def to_text(lesson: Lesson) -> str:
    """Return a lesson as plain text, 100 columns wide."""
    console = Console(file=io.StringIO(), width=WIDEST, highlight=False, color_system=None)
    print_lesson(console, lesson)
    assert isinstance(console.file, io.StringIO)  # noqa: S101  for the type checker
    return console.file.getvalue()


def print_lesson(console: Console, lesson: Lesson) -> None:
    """Print a lesson, as wide as the console but for 100 columns at most."""
    width = min(console.width, WIDEST)
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
    line.highlight_regex(_CODE, "cyan")
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
    shown = list(range(min(len(table.columns), MOST_COLUMNS)))
    rows, gap = _shown_rows(len(table.rows))
    labels = [visible(table.rows[row][0]) for row in rows]
    label_width = max(map(cell_len, (table.corner, *labels)))
    texts = {column: column_text([table.rows[row][1][column] for row in rows], table.digits) for column in shown}
    widths = {
        column: max(
            _LEAST_CELL if table.is_numeric(column) else 0,
            *map(cell_len, (visible(table.columns[column]), *texts[column])),
        )
        for column in shown
    }
    while shown:
        taken: list[int] = []
        total = label_width
        for column in shown:
            total += _GAP + widths[column]
            if taken and total > width:
                break
            taken.append(column)
        shown = shown[len(taken) :]
        lines = [
            _row(
                table.corner,
                label_width,
                [(visible(table.columns[c]), widths[c], table.is_numeric(c)) for c in taken],
                "dim",
            )
        ]
        for index, label in enumerate(labels):
            if index == gap:
                lines.append(Line(f"... {len(table.rows) - len(rows):,} more rows; --json has all", "dim"))
            lines.append(
                _row(label, label_width, [(texts[c][index], widths[c], table.is_numeric(c)) for c in taken], "")
            )
        if not shown and len(table.columns) > MOST_COLUMNS:
            lines.append(Line(f"... {len(table.columns) - MOST_COLUMNS:,} more columns; --json has all", "dim"))
        yield lines


def _row(label: str, label_width: int, cells: Sequence[tuple[str, int, bool]], style: str) -> Line:
    line = Line(label + " " * (label_width - cell_len(label)), style)
    for text, width, numeric in cells:
        space = " " * (width - cell_len(text))
        line.append(" " * _GAP + (space + text if numeric else text + space))
    line.rstrip()
    return line


def _shown_rows(count: int) -> tuple[list[int], int | None]:
    """Return the rows that are shown, and before which of them others are left out."""
    if count <= MOST_ROWS:
        return list(range(count)), None
    return [*range(FIRST_ROWS), *range(count - LAST_ROWS, count)], FIRST_ROWS
