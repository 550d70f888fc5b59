"""Writes a lesson as one HTML page: it needs no other file and no network, and nothing in it runs."""

from collections.abc import Iterator, Sequence
from html import escape

from bnexp import __version__
from bnexp.document.cut import cut
from bnexp.document.lesson import Heading, Lesson, Part, Regions, Table, Text
from bnexp.document.lesson_text import CODE, command_lines
from bnexp.document.numerals import column_text
from bnexp.document.svg import COLORS, to_svg
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


def to_html(lesson: Lesson) -> str:
    """Return the page of a lesson."""
    title = f"{escape(lesson.topic)}: {_inline(lesson.title)}"
    body = "\n".join(block for part in lesson.parts for block in _blocks(part))
    commands = "\n".join(escape(line) for one in lesson.experiment.commands for line in command_lines(one, _COMMAND))
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(lesson.topic)}</title>
<style>
{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{body}
<h2>Test it</h2>
<pre>{commands}</pre>
<p>{_inline(lesson.experiment.look_for)}</p>
<footer>Computed by bnexp {escape(__version__)}: <code>bnexp explain {escape(lesson.topic)}</code></footer>
</body>
</html>
"""


def _blocks(part: Part) -> Iterator[str]:
    if isinstance(part, Heading):
        yield f"<h2>{_inline(part.text)}</h2>"
    elif isinstance(part, Text):
        yield f"<p>{_inline(part.text)}</p>"
    elif isinstance(part, Table):
        yield _table(part)
    elif isinstance(part, Regions):
        yield _regions(part)
    else:
        yield f"<figure><figcaption>{_inline(part.title)}</figcaption>\n{to_svg(part)}</figure>"


def _table(table: Table) -> str:
    seen = cut(table)
    rows, columns = seen.rows, seen.columns
    texts = [
        column_text([None if row is None else table.rows[row][1][column] for row in rows], table.digits)
        for column in columns
    ]
    head = "".join(_cell("th", table.columns[column], table.is_numeric(column)) for column in columns)
    body = "".join(
        f'<tr><td colspan="{len(columns) + 1}">... {seen.rows_left_out:,} more rows</td></tr>\n'
        if row is None
        else f"<tr>{_cell('th', table.rows[row][0])}"
        + "".join(_cell("td", texts[column][index], table.is_numeric(column)) for column in columns)
        + "</tr>\n"
        for index, row in enumerate(rows)
    )
    more = f"<p>... {seen.columns_left_out:,} more columns</p>" if seen.columns_left_out else ""
    formula = "".join(f'<code class="formula">{escape(line)}</code>' for line in table.formula)
    kind = ' class="calculated"' if table.formula else ""
    return (
        f"<figure{kind}><figcaption>{_inline(table.title)}{formula}</figcaption>\n"
        f"<div><table>\n<thead><tr>{_cell('th', table.corner)}{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>{more}</div></figure>"
    )


def _regions(picture: Regions) -> str:
    """Return the blocks side by side, as tables whose cells have the color of their letter."""
    letters = list(dict.fromkeys(letter for _, rows in picture.blocks for _, row in rows for letter in row))
    blocks = "".join(_block(name, rows, letters) for name, rows in picture.blocks)
    return f'<figure><figcaption>{_inline(picture.title)}</figcaption>\n<div class="blocks">{blocks}</div></figure>'


def _block(name: str, rows: Sequence[tuple[str, Sequence[str]]], letters: Sequence[str]) -> str:
    def colored(letter: str) -> str:
        color = COLORS[letters.index(letter) % len(COLORS)]
        return f'<td style="background: {color}55">{escape(letter)}</td>'

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
