"""A document as a value: headings, paragraphs, tables, figures and commands, in the order of reading.

A part that holds numbers gives them by key, in full precision, as `numbers`; keys are unique in a document. `terminal`,
`page` and `exports` write a document in its forms.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, ClassVar

from bnexp.document.figure import Figure
from bnexp.document.plots import Numbers
from bnexp.document.table import Table
from bnexp.document.writing import decimal

CODE = re.compile(r"`([^`]+)`")
"""What stands between backticks."""
_FORMULA = re.compile(r"\$([^$]+)\$")


@dataclass(frozen=True)
class Heading:
    """The name of what follows; level 1 is the title of the document."""

    numbers: ClassVar[Numbers] = {}

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph, and by key the numbers that it names; a `lead`, such as `warning`, stands out before its words.

    `formulas` are pieces of the text that a page sets as mathematics, wherever they stand in it.
    """

    text: str
    numbers: Numbers = field(default_factory=dict)
    lead: str = ""
    formulas: Sequence[str] = ()

    @property
    def whole(self) -> str:
        """The lead and the words."""
        return f"{self.lead}: {self.text}" if self.lead else self.text


class _Sentence(Formatter):
    """Write a float without a format of its own as `decimal` does, and nothing at all as 0."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, float) and value == 0 and format_spec.endswith("e"):
            return "0"
        if isinstance(value, float) and not format_spec:
            return decimal(value)
        return str(super().format_field(value, format_spec))


def text(template: str, **values: object) -> Text:
    """Return a paragraph whose numbers are named once: what is shown, and what `--json` gives, come from one value.

        text("The unbiased variance is {ratio} times as large, in {share:.1%} of all units.", ratio=4 / 3, share=0.5)

    The template is that of `str.format`, but `{name}` of a float is written as `decimal` writes it. Words among the
    values are only shown; numbers, and lists or mappings of them, stand in `numbers` also where nothing names them.
    What stands between dollars, `$sqrt((B - 1) / B)$`, is a formula, and the dollars are not shown.
    """
    numbers = {key: value for key, value in values.items() if not isinstance(value, str)}
    pieces = [_Sentence().vformat(piece, (), values) for piece in _FORMULA.split(template)]
    return Text("".join(pieces), numbers, formulas=tuple(dict.fromkeys(pieces[1::2])))


@dataclass(frozen=True)
class TryIt:
    """The commands that test a lesson for real, and what to look for in what they print."""

    numbers: ClassVar[Numbers] = {}

    commands: Sequence[str]
    look_for: str
    heading: str = "Test it"


@dataclass(frozen=True)
class Listing:
    """The lines of a file, which a page shows when it is asked to; the title says what file it is."""

    numbers: ClassVar[Numbers] = {}

    title: str
    lines: str


@dataclass(frozen=True)
class Control:
    """A quantity that a reader sets to one of `values`, numbers in their order or names; it begins at `start`."""

    name: str
    label: str
    values: Sequence[float] | Sequence[str]
    start: float | str


@dataclass(frozen=True)
class Play:
    """What a reader moves on a page, by `play.js`; without a script, and on paper, the figure `still` stands there.

    Attributes:
        kind: the topic of the lesson; `play_<kind>.js` has its arithmetic.
        still: how it looks at the start of all controls.
        controls: what is set, in the order of the page.
        values: what is computed on, for JSON, by the names that the script has for it.
    """

    key: str
    kind: str
    still: Figure
    controls: Sequence[Control]
    values: Mapping[str, object]

    @property
    def numbers(self) -> Numbers:
        """The numbers of its first state."""
        return self.still.numbers

    @property
    def line(self) -> str:
        """Where it is found, for who does not read a page."""
        names = ", ".join(control.label for control in self.controls)
        return f"`bnexp explain {self.kind} --html {self.kind}.html` writes a page on which you move: {names}."


Part = Heading | Text | Table | Figure | TryIt | Listing | Play
Document = Iterable[Part]


@dataclass(frozen=True)
class Lesson:
    """The lesson of `bnexp explain TOPIC`; as a document, it begins with its title and ends with its commands.

    The title is the answer in a line; `experiment` tests it on a real network. `read` says how the file that
    it is computed on was read.
    """

    topic: str
    title: str
    parts: Sequence[Part]
    experiment: TryIt
    read: Sequence[str] = ()

    def __iter__(self) -> Iterator[Part]:
        """Yield every part of the document."""
        yield Heading(f"{self.topic}: {self.title}", level=1)
        yield from self.parts
        yield self.experiment

    @property
    def numbers(self) -> dict[str, object]:
        """Every number of the lesson, by key, in full precision."""
        return {key: value for part in self.parts for key, value in part.numbers.items()}
