"""A document as a value: headings, paragraphs, tables, figures and commands, in the order of reading.

A part that holds numbers gives them by key, in full precision, as `numbers`; keys are unique in a document. `terminal`,
`page` and `exports` write a document in its forms.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, ClassVar

from bnexp.document.figure import Figure, Numbers
from bnexp.document.table import Table
from bnexp.document.writing import decimal

CODE = re.compile(r"`([^`]+)`")
"""What stands between backticks."""


@dataclass(frozen=True)
class Heading:
    """The name of what follows; level 1 is the title of the document."""

    numbers: ClassVar[Numbers] = {}

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backticks is code.

    Attributes:
        text: the words.
        numbers: by key, the computed numbers that the words name.
        lead: a word before them that stands out, such as `warning`.
    """

    text: str
    numbers: Numbers = field(default_factory=dict)
    lead: str = ""

    @property
    def whole(self) -> str:
        """The lead and the words."""
        return f"{self.lead}: {self.text}" if self.lead else self.text


class _Sentence(Formatter):
    """Write a float without a format of its own as `decimal` does."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, float) and not format_spec:
            return decimal(value)
        return str(super().format_field(value, format_spec))


def text(template: str, **values: object) -> Text:
    """Return a paragraph whose numbers are named once: what is shown, and what `--json` gives, come from one value.

        text("The unbiased variance is {ratio} times as large, in {share:.1%} of all units.", ratio=4 / 3, share=0.5)

    Args:
        template: the words, as for `str.format`; `{name}` of a float is written as `decimal` writes it.
        values: by key, what the template names. Words among them are shown only; numbers, and lists or mappings of
            numbers, also stand in `numbers` in full precision, whether the template names them or not.
    """
    numbers = {key: value for key, value in values.items() if not isinstance(value, str)}
    return Text(_Sentence().vformat(template, (), values), numbers)


@dataclass(frozen=True)
class TryIt:
    """The commands that test a lesson for real, and what to look for in what they print."""

    numbers: ClassVar[Numbers] = {}

    commands: Sequence[str]
    look_for: str


Part = Heading | Text | Table | Figure | TryIt
Document = Iterable[Part]


@dataclass(frozen=True)
class Lesson:
    """The lesson of `bnexp explain TOPIC`; as a document, it begins with its title and ends with its commands.

    Attributes:
        topic: the name on the command line.
        title: the answer in a line.
        parts: in the order of reading.
        experiment: how it is tested on a real network.
    """

    topic: str
    title: str
    parts: Sequence[Part]
    experiment: TryIt

    def __iter__(self) -> Iterator[Part]:
        """Yield every part of the document."""
        yield Heading(f"{self.topic}: {self.title}", level=1)
        yield from self.parts
        yield self.experiment

    @property
    def numbers(self) -> dict[str, object]:
        """Every number of the lesson, by key, in full precision."""
        return {key: value for part in self.parts for key, value in part.numbers.items()}
