"""Writes a document as one HTML page: it needs no other file and no network.

All that runs in it is `page.js`, by which tables sort, and figures say their values and zoom, and `play.js` in a page
with something to move; a policy in the page lets a browser run nothing else, and fetch nothing.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path

from bnexp import __version__
from bnexp.document.drawing import to_bytes
from bnexp.document.figure import STYLES, Regions, figure_styles
from bnexp.document.page_table import identifier, inline, notes_html, table_html, table_styles
from bnexp.document.plots import Plot
from bnexp.document.svg import Drawable, to_svgs
from bnexp.document.table import Table
from bnexp.document.terminal import command_lines
from bnexp.document.values import Document, Heading, Listing, Part, Play, Text, TryIt
from bnexp.document.writing import readable
from bnexp.errors import visible, visible_lines

_COMMAND = 76
"""Letters in a line of a command."""


def to_html(document: Document, command: str = "", *, around: str = "") -> str:
    """Return the page of a document.

    Args:
        document: its parts.
        command: what made it, for its last line.
        around: HTML that stands above and below it, such as links to the pages beside it.
    """
    parts = _with_stills(document)
    title = next((part.text for part in parts if isinstance(part, Heading)), "bnexp")
    wide = any(isinstance(part, Table) and part.layout != "numbers" for part in parts)
    drawings = to_svgs([part for part in parts if isinstance(part, Drawable)], figure_styles(parts))
    groups = groupby(parts, lambda part: isinstance(part, Plot))
    body = "\n".join(
        _group((block for part in group for block in _blocks(part, drawings)), side) for side, group in groups
    )
    styles = table_styles(part for part in parts if isinstance(part, Table))
    body = f"{around}<main>\n{body}\n</main>\n{around}"
    played = sorted({part.kind for part in parts if isinstance(part, Play)})
    return framed(title, body, made_by=command, styles=styles, wide=wide, played=played)


def framed(
    title: str, body: str, *, made_by: str = "", styles: str = "", wide: bool = False, played: Sequence[str] = ()
) -> str:
    """Return a page around its body, with all that it needs; `made_by` is a command, `styles` are its own beside ours.

    A page that is `wide` takes more of a large screen; `played` are the kinds of what a reader moves on it.
    """
    names = ["page", *(["play"] if played else [])]
    script = "".join(_own_file(f"{name}.js") for name in (*names, *(f"play_{kind}" for kind in played)))
    style = "".join(_own_file(f"{name}.css") for name in names)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    command = f": <code>{escape(visible(made_by))}</code>" if made_by else ""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(readable(title))}</title>
<style>
{style}{styles}</style>
</head>
<body{' class="wide"' if wide else ""}>
{body}<footer>Computed by bnexp {escape(__version__)}{command}</footer>
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
    return f"<figure>{picture}\n<figcaption>{inline(plot.caption)}</figcaption>{notes_html(plot.notes)}</figure>"


def _group(blocks: Iterator[str], side_by_side: bool) -> str:
    """Return parts below each other, or figures side by side where the page has room."""
    text = "\n".join(blocks)
    return f'<div class="figures">\n{text}\n</div>' if side_by_side else text


def _with_stills(document: Document) -> list[Part]:
    """Return the parts, before each that is played the figure that stands there without a script."""
    return [piece for part in document for piece in ((part.still, part) if isinstance(part, Play) else (part,))]


@cache
def _own_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _blocks(part: Part, drawings: Iterator[str]) -> Iterator[str]:
    if isinstance(part, Heading):
        yield f"<h{part.level}>{inline(part.text)}</h{part.level}>"
    elif isinstance(part, Text):
        lead = f"<strong>{inline(part.lead)}:</strong> " if part.lead else ""
        yield f"<p>{lead}{inline(part.text, part.formulas)}</p>"
    elif isinstance(part, TryIt):
        lines = (line for command in part.commands for line in command_lines(command, _COMMAND))
        yield f"<h2>{inline(part.heading)}</h2>"
        yield f"<pre>{escape(visible_lines(chr(10).join(lines)))}</pre>"
        yield f"<p>{inline(part.look_for)}</p>"
    elif isinstance(part, Listing):
        text = escape(visible_lines(part.lines))
        yield f"<details><summary>{inline(part.title)}</summary>\n<pre>{text}</pre></details>"
    elif isinstance(part, Play):
        controls = [vars(control) for control in part.controls]
        data = json.dumps({"kind": part.kind, "controls": controls, "values": part.values}, separators=(",", ":"))
        yield f'<section id="{part.key}" class="play" data-play="{escape(data)}" hidden></section>'
    elif isinstance(part, Table):
        yield table_html(part)
    elif isinstance(part, Regions):
        yield _regions(part)
    else:
        panels = f'<div class="panels">{next(drawings)}</div>'
        below = f"<p>{inline(part.caption)}</p>{notes_html(part.notes)}" if isinstance(part, Plot) else ""
        caption = f"<figcaption>{inline(part.title)}</figcaption>"
        yield f"<figure{identifier(part.key)}>{caption}\n{panels}{below}</figure>"


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
    caption = f"<figcaption>{inline(figure.title)}</figcaption>"
    return f'<figure{identifier(figure.key)}>{caption}\n<div class="blocks">{blocks}</div></figure>'
