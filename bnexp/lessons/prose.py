"""Lessons written as they are read: a page in Markdown beside the file that computes its numbers."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Formatter

from bnexp.document.figure import Figure
from bnexp.document.table import Table
from bnexp.document.values import Heading, Lesson, Part, Play, Text, TryIt, text

Placed = Table | Figure | Play
"""What a text places by its key."""
_BLOCK = re.compile(r"^#+ .+$|^\[.+\]$|(?:^(?![#\[]).+\n?)+", re.MULTILINE)
_CONDITION = re.compile(r"^\?(!?\w*) ", re.MULTILINE)
_SECTION = re.compile(r"^\?(\w+) (#.+\n(?:(?!#|\?\w+ #)(?:.+\n?|\n))*)", re.MULTILINE)
_LAST_HEADING = "\n## Test it\n"


def compose(module: str, parts: Sequence[Placed], **values: object) -> Lesson:
    """Return the lesson whose page stands beside a module, given by its `__name__`: `<module>.md`.

        # whitening: three steps to a round cloud

        ## 1. Mean and covariance
        [moments] [points]
        Of {POINTS} points, two differ by up to {distance:.2g}, in {source}.
        ?constant All values of {constant} are equal.

        ## Test it
        bnexp train demo
        Look at the curves.

    A line that begins with # is a heading, and one in brackets places tables and pictures by their keys. Lines between
    them are a paragraph, which a blank line ends. What follows `?name` up to the next `?` or the end of the paragraph
    is said only if that value is true; `?!name` only if it is not; `?` alone always. `?name` before a heading decides
    on its whole section.

    A sentence names the constants of the module, in capitals, and `values`, and has formulas between dollars, all as
    for `text`. A number among the values
    belongs to the first paragraph that names it, or else to the first of all. A `Text` is placed as a table is; a bool
    or None is for conditions alone.

    Raises:
        ValueError: a part has no place on the page.
    """
    lesson = sys.modules[module]
    page = Path(str(lesson.__file__)).with_suffix(".md").read_text(encoding="utf-8")
    constants = {name: value for name, value in vars(lesson).items() if name.isupper()}
    return compose_page(page, parts, **constants, **values)


def compose_page(page: str, parts: Sequence[Placed], **values: object) -> Lesson:
    """Return the lesson that a page, in the form of `compose`, and its parts and values make."""
    first_line, _, body = page.strip().removeprefix("# ").partition("\n")
    topic, _, title = first_line.partition(": ")
    body, _, test = body.partition(_LAST_HEADING)
    commands = [line for line in test.splitlines() if line.startswith("bnexp ")]
    look_for = " ".join(line for line in test.splitlines() if line not in commands)
    return Lesson(topic, title, _composed(body, parts, values), TryIt(commands, look_for))


def _composed(body: str, parts: Sequence[Placed], values: Mapping[str, object]) -> list[Part]:
    unplaced: dict[str, Part] = {part.key: part for part in parts}
    unplaced |= {name: value for name, value in values.items() if isinstance(value, Text)}
    numbers = {
        name: value
        for name, value in values.items()
        if not (name.isupper() or isinstance(value, str | bool | Text | None))
    }
    composed: list[Part] = []
    for block in _BLOCK.findall(_SECTION.sub(lambda section: section[2] if values[section[1]] else "", body)):
        if block.startswith("#"):
            composed.append(Heading(block.lstrip("# ")))
        elif block.startswith("["):
            composed += [unplaced.pop(name) for name in re.findall(r"\w+", block)]
        elif template := _said(block, values):
            named = {field.partition("[")[0] for _, field, _, _ in Formatter().parse(template) if field}
            own = {name: numbers.pop(name) for name in list(numbers) if name in named}
            composed.append(replace(text(template, **values), numbers=own))
    if unplaced:
        raise ValueError(f"no place in the text for {', '.join(unplaced)}")
    at, first = next((at, part) for at, part in enumerate(composed) if isinstance(part, Text))
    composed[at] = replace(first, numbers={**first.numbers, **numbers})
    return composed


def _said(paragraph: str, values: Mapping[str, object]) -> str:
    """Return the sentences of a paragraph whose conditions hold, in one line."""
    always, *conditional = _CONDITION.split(paragraph)
    pieces = zip(conditional[::2], conditional[1::2], strict=True)
    said = [piece for name, piece in pieces if not name or bool(values[name.lstrip("!")]) != name.startswith("!")]
    return " ".join(" ".join([always, *said]).split())
