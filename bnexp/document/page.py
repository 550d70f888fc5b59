"""Writes a document as one HTML page: it needs no other file and no network.

All that runs in it is `page.js`, by which tables sort, and figures say their values and zoom, and `play.js` in a page
with something to move; a policy in the page lets a browser run nothing else, and fetch nothing.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path

from bnexp import __version__
from bnexp.document.drawing import to_bytes
from bnexp.document.figure import STYLES, Regions, figure_styles
from bnexp.document.plots import Plot
from bnexp.document.svg import Drawable, to_svgs
from bnexp.document.table import Cell, Column, Row, Table, sort_key, truncated
from bnexp.document.terminal import command_lines
from bnexp.document.values import CODE, Document, Heading, Listing, Part, Play, Text, TryIt
from bnexp.document.writing import readable
from bnexp.errors import visible, visible_lines

_COMMAND = 76
"""Letters in a line of a command."""
_LETTER, _PADDING, _LEAST_NUMBER = 0.6, 0.8, 4.0
"""Rem that a letter of a table takes up, the space after a cell, and a column at least."""
_SMALL_LETTER, _ARROW = 0.5, 2
"""Rem of a letter of a table that sorts, and letters of the sign that says so."""
_NARROW = 48
"""Rem of a page from which on a table that sorts is not folded: where it is wider, it is moved to and fro."""
_WORDS = 24
"""Letters of a column of words, which are wrapped beyond."""
_FOLDED = """\
@container (width < {width}rem) {{
.w{width} thead {{ display: none; }} .w{width} tr {{ display: flex; flex-wrap: wrap; border-bottom: 1px solid #8884; }}
.w{width} tbody th {{ flex: 1 0 100%; box-sizing: border-box; text-align: left; }}
.w{width}.sortable {{ overflow-wrap: anywhere; }}
.w{width} [data-name]::before {{ content: attr(data-name) " "; font-weight: 400; color: var(--faint); }}
.w{width}.sortable thead {{ display: block; }} .w{width} thead th {{ border: 0; min-width: 0; font-weight: 400; }}
@media print {{ .w{width}.sortable thead {{ display: none; }} }}
}}
"""
"""Where a table has no room for its width, each row is a paragraph, with the name of the column before each value."""


def to_html(document: Document, command: str = "") -> str:
    """Return the page of a document; `command` is what made it, for its last line."""
    parts = _with_stills(document)
    title = next((part.text for part in parts if isinstance(part, Heading)), "bnexp")
    script, style = (_own_files("page", parts, kind) for kind in ("js", "css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    wide = any(isinstance(part, Table) and part.layout != "numbers" for part in parts)
    drawings = to_svgs([part for part in parts if isinstance(part, Drawable)], figure_styles(parts))
    groups = groupby(parts, lambda part: isinstance(part, Plot))
    body = "\n".join(
        _group((block for part in group for block in _blocks(part, drawings)), side) for side, group in groups
    )
    widths = sorted({_fold(part) for part in parts if isinstance(part, Table)})
    made_by = f": <code>{escape(visible(command))}</code>" if command else ""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(readable(title))}</title>
<style>
{style}{"".join(_FOLDED.format(width=width) for width in widths)}</style>
</head>
<body{' class="wide"' if wide else ""}>
<main>
{body}
</main>
<footer>Computed by bnexp {escape(__version__)}{made_by}</footer>
<script>{script}</script>
</body>
</html>
"""


def to_fragment(document: Document) -> str:
    """Return a document as HTML inside another page, such as a notebook, whose looks it has; plots are pictures."""
    parts = [part for part in _with_stills(document) if not isinstance(part, Play)]
    drawn = [part for part in parts if isinstance(part, Drawable) and not isinstance(part, Plot)]
    drawings = to_svgs(drawn, figure_styles(parts))
    blocks = (_picture(part) if isinstance(part, Plot) else "\n".join(_blocks(part, drawings)) for part in parts)
    return f'<div class="bnexp">\n{chr(10).join(blocks)}\n</div>'


def _picture(plot: Plot) -> str:
    """Return a plot as a picture over its caption."""
    svg = base64.b64encode(to_bytes(plot, "svg")).decode()
    picture = (
        f'<img alt="{escape(readable(plot.title))}" style="max-width: 100%" src="data:image/svg+xml;base64,{svg}">'
    )
    return f"<figure>{picture}\n<figcaption>{_inline(plot.caption)}</figcaption>{_notes(plot.notes)}</figure>"


def _group(blocks: Iterator[str], side_by_side: bool) -> str:
    """Return parts below each other, or figures side by side where the page has room."""
    text = "\n".join(blocks)
    return f'<div class="figures">\n{text}\n</div>' if side_by_side else text


def _with_stills(document: Document) -> list[Part]:
    """Return the parts, before each that is played the figure that stands there without a script."""
    return [piece for part in document for piece in ((part.still, part) if isinstance(part, Play) else (part,))]


def _own_files(name: str, parts: Sequence[Part], kind: str) -> str:
    """Return the script or the style of a page, with those of what is played on it."""
    played = sorted({part.kind for part in parts if isinstance(part, Play)})
    names = [name, *(["play"] if played else []), *(f"play_{one}" for one in played if kind == "js")]
    return "".join(_own_file(f"{one}.{kind}") for one in names)


@cache
def _own_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _blocks(part: Part, drawings: Iterator[str]) -> Iterator[str]:
    if isinstance(part, Heading):
        yield f"<h{part.level}>{_inline(part.text)}</h{part.level}>"
    elif isinstance(part, Text):
        yield f"<p>{f'<strong>{_inline(part.lead)}:</strong> ' if part.lead else ''}{_inline(part.text)}</p>"
    elif isinstance(part, TryIt):
        lines = (line for command in part.commands for line in command_lines(command, _COMMAND))
        yield f"<h2>{_inline(part.heading)}</h2>"
        yield f"<pre>{escape(visible_lines(chr(10).join(lines)))}</pre>"
        yield f"<p>{_inline(part.look_for)}</p>"
    elif isinstance(part, Listing):
        text = escape(visible_lines(part.lines))
        yield f"<details><summary>{_inline(part.title)}</summary>\n<pre>{text}</pre></details>"
    elif isinstance(part, Play):
        controls = [vars(control) for control in part.controls]
        data = json.dumps({"kind": part.kind, "controls": controls, "values": part.values}, separators=(",", ":"))
        yield f'<section id="{part.key}" class="play" data-play="{escape(data)}" hidden></section>'
    elif isinstance(part, Table):
        yield _table(part)
    elif isinstance(part, Regions):
        yield _regions(part)
    else:
        panels = f'<div class="panels">{next(drawings)}</div>'
        below = f"<p>{_inline(part.caption)}</p>{_notes(part.notes)}" if isinstance(part, Plot) else ""
        yield f"<figure><figcaption>{_inline(part.title)}</figcaption>\n{panels}{below}</figure>"


def _table(table: Table) -> str:
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
    below = _notes(notes)
    formula = "".join(f'<code class="formula">{escape(line)}</code>' for line in table.formula)
    kind, sortable = ' class="calculated"' if table.formula else "", " sortable" if sorts else ""
    frame = f'<div class="table{sortable}" style="min-width: min(100%, {width}rem)">'
    return (
        f"<figure{kind}><figcaption>{_inline(table.title)}{formula}</figcaption>\n"
        f'{frame}<table class="w{_fold(table)}{sortable}">\n{head}<tbody>\n{body}</tbody>\n</table>{below}'
        "</div></figure>"
    )


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{_inline(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if notes else ""


def _shown(table: Table) -> tuple[Sequence[Row | None], list[Column], int, int]:
    """Return the rows and columns that people see, and how many of both are left out."""
    return truncated(table) if table.layout == "numbers" else (table.rows, table.columns_for("people"), 0, 0)


def _width(table: Table) -> int:
    """Return about how many rem a table needs, so that no number is broken and words only where they are many."""
    rows, columns, _, _ = _shown(table)
    sortable, total = _is_sortable(table), 0.0
    for column in columns:
        header = max(map(len, column.header.split()), default=0) + _ARROW if sortable else len(column.header)
        longest = max([header, *(len(table.cell(row, column).text) for row in rows if row)])
        letters = longest if column.numeric else min(longest, _WORDS)
        total += _PADDING + (_SMALL_LETTER * letters if sortable else max(_LETTER * letters, _LEAST_NUMBER))
    return math.ceil(total)


def _fold(table: Table) -> int:
    """Return the rem of a page below which a table is folded."""
    return min(_width(table), _NARROW) if _is_sortable(table) else _width(table)


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
    short = sortable and len(cell.text) <= _WORDS
    marks = ' class="number"' if column.numeric else ' class="short"' if short else ""
    if column.kind == "curve":
        marks = ' class="short" aria-hidden="true"'  # letters that are seen, and of which nothing can be heard
    if named and column.header:
        marks += f' data-name="{escape(readable(column.header))}"'
    key = sort_key(cell)
    if not sortable or (key is not None and key[0]):
        return marks
    return f"{marks} data-missing" if key is None else f'{marks} data-value="{key[1]!r}"'


def _regions(figure: Regions) -> str:
    """Return the blocks side by side, as tables whose cells have the color of their letter."""
    blocks = ""
    cells = {
        letter: f'<td style="background: {STYLES[number % len(STYLES[:-1])].color}55">{escape(letter)}</td>'
        for number, letter in enumerate(figure.letters)
    }
    for name, rows in figure.blocks:
        lines = (
            f'<tr><th scope="row">{escape(readable(label))}</th>{"".join(cells[letter] for letter in row)}</tr>\n'
            for label, row in rows
        )
        blocks += f'<table class="regions"><caption>{escape(readable(name))}</caption>\n{"".join(lines)}</table>'
    return f'<figure><figcaption>{_inline(figure.title)}</figcaption>\n<div class="blocks">{blocks}</div></figure>'


def _inline(text: str) -> str:
    """Return text for HTML, what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", escape(visible(text)))
