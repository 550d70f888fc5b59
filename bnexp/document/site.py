"""Writes documents as pages that lead to each other: an index in the order of reading, and one page each.

Each page is still one file that needs no other, and no network.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from bnexp.document.page import framed, to_html
from bnexp.document.values import Document

INDEX = "index.html"
_EXPLAIN = re.compile(r"<code>bnexp explain ([\w-]+)</code>")


@dataclass(frozen=True)
class Chapter:
    """A document of a site, and in a line what it is about."""

    document: Document
    line: str


def site_pages(title: str, chapters: Mapping[str, Chapter], command: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page, the index first; `command` made them all.

    Chapters go by their names, in the order of reading; where a text names `bnexp explain CHAPTER`, it leads there.
    """
    items = "".join(
        f'<li><a href="{escape(name)}.html">{escape(name)}</a><span>{escape(one.line)}</span></li>\n'
        for name, one in chapters.items()
    )
    head = f"<h1>{escape(title)}</h1>\n<p>In the order of reading. All numbers were computed for these pages.</p>"
    yield INDEX, framed(title, f'<main>\n{head}\n<ol class="lessons">\n{items}</ol>\n</main>\n', made_by=command)
    for name, one in chapters.items():
        page = to_html(one.document, command, around=_navigation(name, list(chapters)))
        yield f"{name}.html", _EXPLAIN.sub(lambda found: _linked(found, chapters), page)


def _navigation(name: str, names: list[str]) -> str:
    """Return the links to the index, and to the pages before and behind one."""
    at = names.index(name)
    links = [f'<a href="{INDEX}">All lessons</a>']
    if at > 0:
        links.append(f'<a rel="prev" href="{escape(names[at - 1])}.html">← {escape(names[at - 1])}</a>')
    if at + 1 < len(names):
        links.append(f'<a rel="next" href="{escape(names[at + 1])}.html">{escape(names[at + 1])} →</a>')
    return f'<nav aria-label="Lessons">{"".join(links)}</nav>\n'


def _linked(found: re.Match[str], chapters: Mapping[str, Chapter]) -> str:
    return f'<a href="{found[1]}.html">{found[0]}</a>' if found[1] in chapters else found[0]
