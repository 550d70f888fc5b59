"""Writes a lesson as one HTML page: it needs no other file and no network, and nothing in it runs."""

import io
import re
from collections.abc import Iterator
from html import escape

from rich.console import Console

from bnexp import __version__
from bnexp.errors import visible
from bnexp.lessons.lesson import Heading, Lesson, Part, Table, Text
from bnexp.lessons.numerals import column_text
from bnexp.lessons.terminal import picture_lines

_CODE = re.compile(r"`([^`]+)`")
_STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
p { max-width: 46rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.6rem 0.8rem; border: 1px solid #8884; border-radius: 4px; }
figure { margin: 1rem 0; overflow-x: auto; }
figcaption { font-weight: 600; } .formula { display: block; font-weight: 400; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: left; } th, td { padding: 0.1rem 0.8rem 0.1rem 0; } .number { text-align: right; }
thead th { border-bottom: 1px solid #8888; }
footer { margin-top: 3rem; font-size: 0.85rem; opacity: 0.7; }
"""


def to_html(lesson: Lesson) -> str:
    """Return the page of a lesson."""
    title = f"{escape(lesson.topic)}: {_inline(lesson.title)}"
    body = "\n".join(block for part in lesson.parts for block in _blocks(part))
    commands = "\n".join(escape(command) for command in lesson.experiment.commands)
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
    else:
        console = Console(file=io.StringIO(), width=100, color_system=None)
        drawn = "\n".join(line.plain for line in picture_lines(part, console.width))
        yield f"<figure><figcaption>{_inline(part.title)}</figcaption><pre>{escape(drawn)}</pre></figure>"


def _table(table: Table) -> str:
    numeric = [table.is_numeric(column) for column in range(len(table.columns))]
    columns = [
        column_text([cells[column] for _, cells in table.rows], table.digits) for column in range(len(table.columns))
    ]
    head = "".join(
        f"<th{_class(right)}>{escape(visible(name))}</th>" for name, right in zip(table.columns, numeric, strict=True)
    )
    rows = "".join(
        f"<tr><th>{escape(visible(label))}</th>"
        + "".join(f"<td{_class(numeric[c])}>{escape(visible(columns[c][index]))}</td>" for c in range(len(columns)))
        + "</tr>\n"
        for index, (label, _) in enumerate(table.rows)
    )
    formula = "".join(f'<code class="formula">{escape(line)}</code>' for line in table.formula)
    return (
        f"<figure><figcaption>{_inline(table.title)}{formula}</figcaption>\n<table>\n"
        f"<thead><tr><th>{escape(table.corner)}</th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></figure>"
    )


def _class(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _inline(text: str) -> str:
    """Return text for HTML, what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(visible(text)))
