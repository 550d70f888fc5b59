"""Shows a document in a terminal, or as text in a pipe; no number is ever cut.

Paragraphs, figures and tables of numbers are at most 100 columns wide, other tables as wide as the terminal.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segments
from rich.text import Text as Line

from bnexp.document.figure import figure_styles
from bnexp.document.table import Table
from bnexp.document.terminal_figure import figure_lines
from bnexp.document.terminal_table import table_lines, wrapped
from bnexp.document.values import CODE, Document, Heading, Listing, Part, Play, Text, TryIt
from bnexp.document.writing import GAP, readable
from bnexp.errors import visible, visible_lines

WIDEST = 100
WHOLE = "a wider terminal or | less -S shows all"
NARROWEST = 30
"""Figures need so many columns; the lines of a terminal that has fewer break."""
_FORMULA_ROOM = 56
"""A formula stands beside its table up to this width, above it beyond."""


def to_text(document: Document, width: int = WIDEST, *, whole: str = WHOLE) -> str:
    """Return a document as plain text, so many columns wide; `whole` as for `print_document`."""
    text = io.StringIO()
    print_document(Console(file=text, width=width, highlight=False, color_system=None), document, whole=whole)
    return text.getvalue()


def print_document(console: Console, document: Document, *, whole: str = WHOLE) -> None:
    """Print a document, an empty line between its parts; paragraphs with a lead follow each other without one.

    `whole` says how columns are seen that a narrow terminal leaves out.
    """
    parts = list(document)
    page = _Page(console, parts, whole)
    for above, part in zip([None, *parts], parts, strict=False):
        if above is not None and not (isinstance(above, Text) and isinstance(part, Text) and above.lead and part.lead):
            console.print()
        # The lines are ready: to lay out each once more would take half a second for a thousand.
        console.print(Segments(Line("\n").join(page.lines(part)).render(console, "\n")), crop=False)


class _Page:
    """Makes the lines of the parts of a document, for a terminal of some width."""

    def __init__(self, console: Console, parts: Sequence[Part], whole: str) -> None:
        self._console, self._whole = console, whole
        self._width = max(min(console.width, WIDEST), NARROWEST)
        self._styles = figure_styles(parts)
        self._formulas = _formula_width(parts)

    def lines(self, part: Part) -> Iterator[Line]:
        """Yield the lines of a part."""
        if isinstance(part, Table) and part.layout != "numbers":
            yield from self._records(part)
            return
        for line in self._unwrapped(part):
            for piece in self._wrapped(line, self._width):
                piece.rstrip()
                yield piece

    def _wrapped(self, line: Line, width: int) -> list[Line]:
        return list(line.wrap(self._console, width)) if cell_len(line.plain) > width else [line]

    def _unwrapped(self, part: Part) -> Sequence[Line]:
        """Return the lines of a part, those of prose as long as they are."""
        if isinstance(part, Heading):
            return [Line(visible(part.text), "bold" if part.level == 1 else "bold cyan")]
        if isinstance(part, Text):
            return _prose(part)
        if isinstance(part, TryIt):
            commands = [Line(line) for command in part.commands for line in command_lines(command, self._width - GAP)]
            return [Line(visible(part.heading), "bold cyan"), *commands, *_prose(Text(part.look_for))]
        if isinstance(part, Play):
            return _prose(Text(part.line))
        if isinstance(part, Listing):
            return [Line(visible(part.title), "bold"), *map(Line, visible_lines(part.lines).split("\n"))]
        if isinstance(part, Table):
            return list(self._numbers(part))
        lines = figure_lines(part, self._width, self._styles.get(part.key))
        return [Line(visible(part.title), "bold"), *lines]

    def _records(self, table: Table) -> Iterator[Line]:
        """Yield the rows, then the notes, with one on the columns that are left out for want of room."""
        pieces, names = table_lines(table, self._console.width)
        if table.title:
            yield Line(readable(table.title), "bold")
        for number, lines in enumerate(pieces):
            yield from [Line()] * (number > 0)
            yield from lines
        hint = [f"left out at this width: {', '.join(names)}; {self._whole}"] if names else []
        if notes := [*table.notes, *hint]:
            yield Line()
            for note in notes:
                yield from (Line(line, "dim") for line in wrapped(readable(note), self._console.width))

    def _numbers(self, table: Table) -> Iterator[Line]:
        """Yield the formula with the table beside it where both fit, else one above the other."""
        heading = [Line(visible(table.title), "bold"), *(Line(line, "cyan") for line in table.formula)]
        beside = bool(table.formula) and all(cell_len(line.plain) <= self._formulas for line in heading)
        pieces, _ = table_lines(table, self._width - GAP)
        right = max(cell_len(line.plain) for piece in pieces for line in piece)
        if not beside or self._formulas + GAP + right > self._width or len(pieces) > 1:
            yield from heading
            for piece in pieces:
                yield from (Line(" " * GAP).append_text(line) for line in piece)
            return
        for text, numbers in zip_longest(heading, pieces[0]):
            line = text.copy() if text else Line()
            line.append(" " * (self._formulas + GAP - cell_len(line.plain)))
            yield line.append_text(numbers) if numbers else line


def _formula_width(parts: Sequence[Part]) -> int:
    """Return the width of the widest formula, so that all tables of numbers of a document stand in one column."""
    tables = [part for part in parts if isinstance(part, Table) and part.formula]
    widths = [cell_len(line) for table in tables for line in (table.title, *table.formula)]
    return max((width for width in widths if width <= _FORMULA_ROOM), default=0)


def _prose(text: Text) -> list[Line]:
    """Return the lines of a paragraph; code stands out by color as well where there is color."""
    lines = [Line(line) for line in visible_lines(text.whole).split("\n")]
    for line in lines:
        line.highlight_regex(CODE, "cyan")
    if text.lead:
        lines[0].stylize("yellow", 0, len(text.lead) + 1)
    return lines


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
