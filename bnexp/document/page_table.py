"""Writes a table as HTML for a page: it scrolls inside itself where the page is narrow, and is never cut on paper."""

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from bnexp.document.mathml import formula_lines, to_mathml
from bnexp.document.table import Cell, Column, Row, Table, sort_key, truncated
from bnexp.document.values import CODE
from bnexp.document.writing import readable
from bnexp.errors import visible

_LETTER, _PADDING, _LEAST_NUMBER = 0.6, 0.8, 4.0
"""Rem that a letter of a table takes up, the space after a cell, and a column at least."""
_SMALL_LETTER, _ARROW = 0.5, 2
"""Rem of a letter of a table that sorts, and letters of the sign that says so."""
_NARROW = 48
"""Rem of a page from which on a table that sorts is not folded: where it is wider, it is moved to and fro."""
_WORDS = 24
"""Letters of a column of words, which are wrapped beyond."""
_POWER = r"\b[\d.]+e[+-]\d+"
"""A number that a line would be broken in."""
_SHORT = 12
"""Letters of a cell beside calculated numbers that stays in one line."""
_FOLDED = """\
@container (width < {width}rem) {{
.{name} thead {{ display: none; }} .{name} tr {{ display: flex; flex-wrap: wrap; border-bottom: 1px solid #8884; }}
.{name} tbody th {{ flex: 1 0 100%; box-sizing: border-box; text-align: left; }}
.{name}.sortable {{ overflow-wrap: anywhere; }}
.{name} [data-name]::before {{ content: attr(data-name) " "; font-weight: 400; color: var(--faint); }}
.{name}.sortable thead {{ display: block; }} .{name} thead th {{ border: 0; min-width: 0; font-weight: 400; }}
@media print {{ .{name}.sortable thead {{ display: none; }} }}
}}
"""
"""Where a table has no room for its width, each row is a paragraph, with the name of the column before each value."""


def table_html(table: Table) -> str:
    """Return a table, with the formula that its numbers come from beside it; all but numbers of a lesson sort."""
    rows, columns, rows_left_out, columns_left_out = _shown(table)
    sorts, width = _is_sortable(table), _width(table)
    body = "".join(
        f'<tr><td colspan="{len(columns)}">... {rows_left_out:,} more rows</td></tr>\n'
        if row is None
        else f"<tr>{_cells(columns, [table.cell(row, column) for column in columns], sortable=sorts)}</tr>\n"
        for row in rows
    )
    names = "".join(_head(column) for column in columns)
    head = f"<thead><tr>{names}</tr></thead>\n" if any(column.header for column in columns) else ""
    notes = [*table.notes, *([f"... {columns_left_out:,} more columns"] if columns_left_out else [])]
    formula = "".join(f'<div class="formula">{line}</div>' for line in formula_lines(table.formula))
    kind, sortable = ' class="calculated"' if table.formula else "", " sortable" if sorts else ""
    frame = f'<div class="table{sortable}" style="min-width: min(100%, {width}rem)">'
    return (
        f"<figure{identifier(table.key)}{kind}><figcaption>{inline(table.title)}{formula}</figcaption>\n"
        f'{frame}<table class="{_class(table)}{sortable}">\n{head}<tbody>\n{body}</tbody>\n</table>{notes_html(notes)}'
        "</div></figure>"
    )


def table_styles(tables: Iterable[Table]) -> str:
    """Return the styles by which tables are folded: those that sort on any narrow page, others only on paper."""
    found = sorted({(_class(table), _fold(table), _is_sortable(table)) for table in tables})
    styles = [(_FOLDED.format(name=name, width=width), sorts) for name, width, sorts in found]
    return "".join(style if sorts else f"@media print {{\n{style}}}\n" for style, sorts in styles)


def inline(text: str, formulas: Sequence[str] = ()) -> str:
    """Return text for HTML: what stands between backticks as code, formulas as mathematics, powers of ten unbroken."""
    names = "|".join(re.escape(formula) for formula in sorted(formulas, key=len, reverse=True)) or "(?!)"
    written, end = "", 0
    for found in re.finditer(rf"{CODE.pattern}|(?<!\w)({names})(?!\w)|{_POWER}", text := visible(text)):
        code, formula = found[1], found[2]
        written += escape(text[end : found.start()])
        if code is not None:
            written += f"<code>{escape(code)}</code>"
        else:
            written += to_mathml(formula) if formula else f'<span class="short">{found[0]}</span>'
        end = found.end()
    return written + escape(text[end:])


def identifier(key: str) -> str:
    """Return the attribute that names a part of a page by its key, or nothing."""
    return f' id="{escape(readable(key))}"' if key else ""


def notes_html(notes: Sequence[str]) -> str:
    """Return notes below a table or a figure."""
    items = "".join(f"<li>{inline(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if notes else ""


def _class(table: Table) -> str:
    return f"{'w' if _is_sortable(table) else 'n'}{_fold(table)}"


def _shown(table: Table) -> tuple[Sequence[Row | None], list[Column], int, int]:
    """Return the rows and columns that people see, and how many of both are left out."""
    return truncated(table) if table.layout == "numbers" else (table.rows, table.columns_for("people"), 0, 0)


def _width(table: Table, *, least: bool = False) -> int:
    """Return about how many rem a table needs, so that no number is broken and words only where they are many.

    With `least` it is what it can do with, where the names of its columns take several lines.
    """
    rows, columns, _, _ = _shown(table)
    sortable, total = _is_sortable(table), 0.0
    for column in columns:
        words = column.header.split() if sortable or least else [column.header]
        header = max(map(len, words), default=0) + _ARROW * sortable
        longest = max([header, *(len(table.cell(row, column).text) for row in rows if row)])
        letters = longest if column.numeric else min(longest, _WORDS)
        total += _PADDING + (_SMALL_LETTER * letters if sortable else max(_LETTER * letters, _LEAST_NUMBER))
    return math.ceil(total)


def _fold(table: Table) -> int:
    """Return the rem of a page below which a table is folded."""
    return min(_width(table), _NARROW) if _is_sortable(table) else _width(table, least=True)


def _is_sortable(table: Table) -> bool:
    """Tell whether a table sorts: all but calculated numbers, of which only some may be shown."""
    return table.layout != "numbers" and len(table.rows) > 1 and any(column.header for column in table.columns)


def _head(column: Column) -> str:
    kind = ' class="number"' if column.numeric else ""
    first = " data-descending" if column.descending else ""
    return f'<th scope="col"{kind}{first}>{escape(readable(column.header))}</th>'


def _cells(columns: Sequence[Column], cells: Sequence[Cell], *, sortable: bool) -> str:
    """Return the cells of a row; the first is its name."""
    tags = ['th scope="row"', *["td"] * (len(cells) - 1)]
    return "".join(
        f"<{tag}{_marked(column, cell, named=number > 0, sortable=sortable)}>{escape(readable(cell.text))}</{tag[:2]}>"
        for number, (tag, column, cell) in enumerate(zip(tags, columns, cells, strict=True))
    )


def _marked(column: Column, cell: Cell, *, named: bool, sortable: bool) -> str:
    """Return the attributes of a cell: how it is aligned, the name of its column, and by what it is sorted."""
    short = len(cell.text) <= (_WORDS if sortable else _SHORT)
    marks = ' class="number"' if column.numeric else ' class="short"' if short else ""
    if column.kind == "curve":
        marks = ' class="short" aria-hidden="true"'  # letters that are seen, and of which nothing can be heard
    if named and column.header:
        marks += f' data-name="{escape(readable(column.header))}"'
    key = sort_key(cell)
    if not sortable or (key is not None and key[0]):
        return marks
    return f"{marks} data-missing" if key is None else f'{marks} data-value="{key[1]!r}"'
