"""Writes a document as one HTML page: it needs no other file and no network, and nothing in it runs."""

from collections.abc import Iterator, Sequence
from html import escape

from bnexp import __version__
from bnexp.document.figure import STYLES, Regions, SeriesStyle, figure_styles
from bnexp.document.svg import to_svg
from bnexp.document.table import Column, Table, truncated
from bnexp.document.terminal import CODE, command_lines
from bnexp.document.values import Document, Heading, Part, Text, TryIt
from bnexp.errors import visible

_COMMAND = 96
"""Letters in a line of a command."""
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: white; }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
p { max-width: 46rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.6rem 0.8rem; border: 1px solid #8884; border-radius: 4px; }
figure { margin: 1rem 0; overflow-x: auto; }
figcaption { font-weight: 600; } svg { max-width: 100%; height: auto; }
.formula { display: block; font-weight: 400; white-space: pre; }
@media (min-width: 52rem) { .calculated { display: grid; grid-template-columns: 22rem auto; justify-content: start; } }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: left; white-space: nowrap; }
th, td { padding: 0.1rem 0.8rem 0.1rem 0; } .number { text-align: right; min-width: 4rem; }
thead th { border-bottom: 1px solid #8888; }
.blocks { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; }
.regions td { padding: 0.1rem 0.5rem; border: 2px solid white; text-align: center; }
.regions th, caption { font-weight: 400; font-size: 0.85rem; }
footer { margin-top: 3rem; font-size: 0.85rem; opacity: 0.7; }
"""


def to_html(document: Document, command: str = "") -> str:
    """Return the page of a document; `command` is what made it, for its last line."""
    parts = list(document)
    title = next((part.text for part in parts if isinstance(part, Heading)), "bnexp")
    styles = figure_styles(parts)
    body = "\n".join(block for part in parts for block in _blocks(part, styles))
    made_by = f": <code>{escape(command)}</code>" if command else ""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(visible(title))}</title>
<style>
{_STYLE}</style>
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
        svg = to_svg(part, styles[part.key])
        yield f"<figure><figcaption>{_inline(part.title)}</figcaption>\n{svg}</figure>"


def _table(table: Table) -> str:
    """Return a table, with the formula that its numbers come from beside it; of numbers, what people see."""
    rows, columns, rows_left_out, columns_left_out = truncated(table)
    if table.layout != "numbers":
        rows, columns, columns_left_out = list(table.rows), table.columns_for("people"), 0
    body = "".join(
        f'<tr><td colspan="{len(columns)}">... {rows_left_out:,} more rows</td></tr>\n'
        if row is None
        else f"<tr>{_cells(columns, [table.cell(row, column).text for column in columns])}</tr>\n"
        for row in rows
    )
    headers = [column.header for column in columns]
    head = f"<thead><tr>{_cells(columns, headers, 'th')}</tr></thead>\n" if any(headers) else ""
    notes = [*table.notes, *([f"... {columns_left_out:,} more columns"] if columns_left_out else [])]
    below = "".join(f"<p>{escape(visible(note))}</p>" for note in notes)
    formula = "".join(f'<code class="formula">{escape(line)}</code>' for line in table.formula)
    kind = ' class="calculated"' if table.formula else ""
    return (
        f"<figure{kind}><figcaption>{_inline(table.title)}{formula}</figcaption>\n"
        f'<div class="table"><table>\n{head}<tbody>\n{body}</tbody>\n</table>{below}</div></figure>'
    )


def _cells(columns: Sequence[Column], texts: Sequence[str], tag: str = "td") -> str:
    """Return the cells of a line; the first is the name of its row."""
    return "".join(
        _cell(tag if number else "th", text, column.numeric)
        for number, (column, text) in enumerate(zip(columns, texts, strict=True))
    )


def _regions(figure: Regions) -> str:
    """Return the blocks side by side, as tables whose cells have the color of their letter."""
    colors = {letter: STYLES[number % len(STYLES[:-1])].color for number, letter in enumerate(figure.letters)}
    blocks = "".join(_block(name, rows, colors) for name, rows in figure.blocks)
    return f'<figure><figcaption>{_inline(figure.title)}</figcaption>\n<div class="blocks">{blocks}</div></figure>'


def _block(name: str, rows: Sequence[tuple[str, Sequence[str]]], colors: dict[str, str]) -> str:
    def colored(letter: str) -> str:
        return f'<td style="background: {colors[letter]}55">{escape(letter)}</td>'

    lines = "".join(
        f"<tr>{_cell('th', label)}{''.join(colored(letter) for letter in row)}</tr>\n" for label, row in rows
    )
    return f'<table class="regions"><caption>{escape(visible(name))}</caption>\n{lines}</table>'


def _cell(tag: str, text: str, numeric: bool = False) -> str:
    kind = ' class="number"' if numeric else ""
    return f"<{tag}{kind}>{escape(visible(text))}</{tag}>"


def _inline(text: str) -> str:
    """Return text for HTML, what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", escape(visible(text)))
