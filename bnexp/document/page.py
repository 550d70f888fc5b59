"""Writes a document as one HTML page: it needs no other file and no network, and nothing in it runs."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from bnexp import __version__
from bnexp.document.figure import STYLES, Regions, SeriesStyle, figure_styles
from bnexp.document.svg import to_svg
from bnexp.document.table import Column, Row, Table, truncated
from bnexp.document.terminal import command_lines
from bnexp.document.values import CODE, Document, Heading, Part, Text, TryIt
from bnexp.errors import visible

_COMMAND = 76
"""Letters in a line of a command."""
_LETTER, _PADDING, _LEAST_NUMBER = 0.6, 0.8, 4.0
"""Rem that a letter of a table takes up, the space after a cell, and a column at least."""
_WORDS = 24
"""Letters of a column of words, which are wrapped beyond."""
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: white; }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; break-after: avoid; }
p { max-width: 46rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { white-space: pre-wrap; padding: 0.6rem 0.8rem; border: 1px solid #8884; border-radius: 4px; }
figure { margin: 1rem 0; break-inside: avoid; }
figcaption { font-weight: 600; } svg { max-width: 100%; height: auto; }
.formula { display: block; font-weight: 400; white-space: pre-wrap; }
.calculated { display: flex; flex-wrap: wrap; gap: 0.3rem 1.5rem; align-items: flex-start; }
.calculated figcaption { min-width: min(100%, 22rem); max-width: 100%; }
.table { container-type: inline-size; flex: 1; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: left; }
th, td { padding: 0.1rem 0.8rem 0.1rem 0; vertical-align: top; } .number { text-align: right; min-width: 4rem; }
thead th { border-bottom: 1px solid #8888; }
.number { white-space: nowrap; }
.panels { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.blocks { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; }
.regions td { padding: 0.1rem 0.5rem; border: 2px solid white; text-align: center; }
.regions th, caption { font-weight: 400; font-size: 0.85rem; }
footer { margin-top: 3rem; font-size: 0.85rem; opacity: 0.7; }
"""
_FOLDED = """\
@container (width < {width}rem) {{
.w{width} thead {{ display: none; }} .w{width} tr {{ display: flex; flex-wrap: wrap; border-bottom: 1px solid #8884; }}
.w{width} tbody th {{ flex: 1 0 100%; }}
.w{width} [data-name]::before {{ content: attr(data-name) " "; font-weight: 400; color: #666; }}
}}
"""
"""Where a table has no room for its width, each row is a paragraph, with the name of the column before each value."""


def to_html(document: Document, command: str = "") -> str:
    """Return the page of a document; `command` is what made it, for its last line."""
    parts = list(document)
    title = next((part.text for part in parts if isinstance(part, Heading)), "bnexp")
    styles = figure_styles(parts)
    body = "\n".join(block for part in parts for block in _blocks(part, styles))
    widths = sorted({_width(part) for part in parts if isinstance(part, Table)})
    made_by = f": <code>{escape(command)}</code>" if command else ""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(visible(title))}</title>
<style>
{_STYLE}{"".join(_FOLDED.format(width=width) for width in widths)}</style>
</head>
<body>
{body}
<footer>Computed by bnexp {escape(__version__)}{made_by}</footer>
</body>
</html>
"""


def _blocks(part: Part, styles: dict[str, dict[str, SeriesStyle]]) -> Iterator[str]:
    if isinstance(part, Heading):
        yield f"<h{part.level}>{_inline(part.text)}</h{part.level}>"
    elif isinstance(part, Text):
        yield f"<p>{_inline(part.whole)}</p>"
    elif isinstance(part, TryIt):
        lines = (line for command in part.commands for line in command_lines(command, _COMMAND))
        yield "<h2>Test it</h2>"
        yield f"<pre>{escape(chr(10).join(lines))}</pre>"
        yield f"<p>{_inline(part.look_for)}</p>"
    elif isinstance(part, Table):
        yield _table(part)
    elif isinstance(part, Regions):
        yield _regions(part)
    else:
        panels = f'<div class="panels">{to_svg(part, styles[part.key])}</div>'
        yield f"<figure><figcaption>{_inline(part.title)}</figcaption>\n{panels}</figure>"


def _table(table: Table) -> str:
    """Return a table, with the formula that its numbers come from beside it."""
    rows, columns, rows_left_out, columns_left_out = _shown(table)
    body = "".join(
        f'<tr><td colspan="{len(columns)}">... {rows_left_out:,} more rows</td></tr>\n'
        if row is None
        else f"<tr>{_cells(columns, [table.cell(row, column).text for column in columns])}</tr>\n"
        for row in rows
    )
    names = "".join(_cell("th", column.header, column.numeric) for column in columns)
    head = f"<thead><tr>{names}</tr></thead>\n" if any(column.header for column in columns) else ""
    notes = [*table.notes, *([f"... {columns_left_out:,} more columns"] if columns_left_out else [])]
    below = "".join(f"<p>{escape(visible(note))}</p>" for note in notes)
    formula = "".join(f'<code class="formula">{escape(line)}</code>' for line in table.formula)
    kind, width = ' class="calculated"' if table.formula else "", _width(table)
    return (
        f"<figure{kind}><figcaption>{_inline(table.title)}{formula}</figcaption>\n"
        f'<div class="table" style="min-width: min(100%, {width}rem)"><table class="w{width}">\n{head}<tbody>\n{body}'
        f"</tbody>\n</table>{below}</div></figure>"
    )


def _shown(table: Table) -> tuple[Sequence[Row | None], list[Column], int, int]:
    """Return the rows and columns that people see, and how many of both are left out."""
    return truncated(table) if table.layout == "numbers" else (table.rows, table.columns_for("people"), 0, 0)


def _width(table: Table) -> int:
    """Return about how many rem a table needs, so that no number is broken and words only where they are many."""
    rows, columns, _, _ = _shown(table)
    total = 0.0
    for column in columns:
        longest = max(len(text) for text in (column.header, *(table.cell(row, column).text for row in rows if row)))
        total += _PADDING + max(_LETTER * (longest if column.numeric else min(longest, _WORDS)), _LEAST_NUMBER)
    return math.ceil(total)


def _cells(columns: Sequence[Column], texts: Sequence[str]) -> str:
    """Return the cells of a row; the first is its name."""
    (first, *others), (label, *values) = columns, texts
    cells = (_cell("td", text, column.numeric, column.header) for column, text in zip(others, values, strict=True))
    return _cell("th", label, first.numeric, first.header) + "".join(cells)


def _regions(figure: Regions) -> str:
    """Return the blocks side by side, as tables whose cells have the color of their letter."""
    blocks = ""
    cells = {
        letter: f'<td style="background: {STYLES[number % len(STYLES[:-1])].color}55">{escape(letter)}</td>'
        for number, letter in enumerate(figure.letters)
    }
    for name, rows in figure.blocks:
        lines = (f"<tr>{_cell('th', label)}{''.join(cells[letter] for letter in row)}</tr>\n" for label, row in rows)
        blocks += f'<table class="regions"><caption>{escape(visible(name))}</caption>\n{"".join(lines)}</table>'
    return f'<figure><figcaption>{_inline(figure.title)}</figcaption>\n<div class="blocks">{blocks}</div></figure>'


def _cell(tag: str, text: str, numeric: bool = False, name: str = "") -> str:
    kind = ' class="number"' if numeric else ""
    named = f' data-name="{escape(visible(name))}"' if name else ""
    return f"<{tag}{kind}{named}>{escape(visible(text))}</{tag}>"


def _inline(text: str) -> str:
    """Return text for HTML, what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", escape(visible(text)))
