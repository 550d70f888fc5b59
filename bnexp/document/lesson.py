"""A lesson as a value: what is said, calculated and drawn, and the command that tests it.

A part that holds numbers gives them by key, in full precision, as `numbers`; keys are unique in a lesson. How a part is
shown is the affair of `views`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from string import Formatter
from typing import TYPE_CHECKING, Any

from bnexp.document.numerals import Cell, decimal

if TYPE_CHECKING:
    from torch import Tensor


Numbers = Mapping[str, object]


@dataclass(frozen=True)
class Heading:
    """The name of a step."""

    text: str

    @property
    def numbers(self) -> Numbers:
        """None."""
        return {}


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backticks is code.

    Attributes:
        text: the words.
        numbers: by key, the computed numbers that the words name.
    """

    text: str
    numbers: Numbers = field(default_factory=dict)


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
class Table:
    """Numbers in rows and columns, with the formula that they come from.

    Attributes:
        key: the name of its numbers.
        title: what it shows.
        columns: their headings.
        rows: of each its label and a cell per column; a word, a number, or None for nothing.
        formula: the lines of the formula, if there is one.
        corner: the heading of the labels.
        digits: decimals of numbers that are not whole.
        values: what `numbers` holds under `key`; without it, an object per row.
    """

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    formula: Sequence[str] = ()
    corner: str = ""
    digits: int = 4
    values: object = None

    @property
    def numbers(self) -> Numbers:
        """The cells in full precision."""
        if self.values is not None:
            return {self.key: self.values}
        corner = self.corner or "row"
        return {
            self.key: [{corner: label, **dict(zip(self.columns, cells, strict=True))} for label, cells in self.rows]
        }

    def is_numeric(self, column: int) -> bool:
        """Tell whether a column holds numbers only, which are aligned to the right."""
        return not any(isinstance(cells[column], str) for _, cells in self.rows)


@dataclass(frozen=True)
class Histogram:
    """Shares of values in bins, a series beside the other.

    Attributes:
        key: the name of its numbers.
        title: what it shows.
        edges: n + 1 edges of n bins.
        series: of each its name and the share (0 .. 1) of its values in each bin.
    """

    key: str
    title: str
    edges: Sequence[float]
    series: Mapping[str, Sequence[float]]

    @property
    def numbers(self) -> Numbers:
        """Edges and shares."""
        return {self.key: {"edges": list(self.edges), "shares": {name: list(one) for name, one in self.series.items()}}}


def histogram(key: str, title: str, edges: Sequence[float], series: "Mapping[str, Tensor]") -> Histogram:
    """Return the histogram of tensors of any shape; what lies beyond the edges counts in the bin at that end.

    A bin takes in its lower edge. Values that are not finite are in no bin, and the shares are those of the others. The
    title says so where a bin at an end holds what lies beyond.
    """
    beyond = any(((one < edges[0]) | (one > edges[-1])).any() for one in series.values())
    title += "; the first and the last bin hold what lies beyond, too" if beyond else ""
    return Histogram(key, title, edges, {name: _shares(values.detach(), edges) for name, values in series.items()})


def _shares(values: "Tensor", edges: Sequence[float]) -> list[float]:
    finite = values[values.isfinite()]
    below = [0, *((finite < edge).sum().item() for edge in edges[1:-1]), finite.numel()]
    return [(high - low) / max(finite.numel(), 1) for low, high in pairwise(below)]


@dataclass(frozen=True)
class Scatter:
    """Clouds of points in the plane, each in a square around the origin, an axis as long as the other.

    Attributes:
        key: the name of its numbers.
        title: what it shows.
        clouds: of each its name and its points (x, y).
    """

    key: str
    title: str
    clouds: Mapping[str, Sequence[tuple[float, float]]]

    @property
    def numbers(self) -> Numbers:
        """The points."""
        return {self.key: {name: [list(point) for point in points] for name, points in self.clouds.items()}}


@dataclass(frozen=True)
class Lines:
    """Curves over one axis.

    Attributes:
        key: the name of its numbers.
        title: what it shows, with the unit of y.
        x_name: what x counts.
        x: the points of the axis.
        series: of each its name and a value per point; what is not finite is left out.
    """

    key: str
    title: str
    x_name: str
    x: Sequence[float]
    series: Mapping[str, Sequence[float]]

    @property
    def numbers(self) -> Numbers:
        """The points of the axis and the values of each series."""
        return {self.key: {self.x_name: list(self.x), **{name: list(one) for name, one in self.series.items()}}}


@dataclass(frozen=True)
class Regions:
    """Which values are averaged together: in a block, equal letters share one mean and one variance.

    Attributes:
        key: the name of its numbers.
        title: what it shows.
        blocks: side by side, each another normalization of one input: its name and its rows; of each row its label and
            a letter per value.
        values_per_statistic: by the name of the block, how many values each mean is of.
    """

    key: str
    title: str
    blocks: Sequence[tuple[str, Sequence[tuple[str, Sequence[str]]]]]
    values_per_statistic: Mapping[str, int]

    @property
    def numbers(self) -> Numbers:
        """How many statistics each block has, and of how many values each is."""
        counts = {name: len({letter for _, row in rows for letter in row}) for name, rows in self.blocks}
        values = self.values_per_statistic
        return {
            self.key: {
                name: {"statistics": count, "values_per_statistic": values[name]} for name, count in counts.items()
            }
        }


Picture = Histogram | Scatter | Lines | Regions
Part = Heading | Text | Table | Picture


@dataclass(frozen=True)
class Experiment:
    """The commands that test a lesson for real, and what to look for in what they print."""

    commands: Sequence[str]
    look_for: str


@dataclass(frozen=True)
class Lesson:
    """What `bnexp explain TOPIC` teaches.

    Attributes:
        topic: the name on the command line.
        title: the answer in a line.
        parts: in the order of reading.
        experiment: how it is tested on a real network.
    """

    topic: str
    title: str
    parts: Sequence[Part]
    experiment: Experiment

    @property
    def numbers(self) -> dict[str, object]:
        """Every number of the lesson, by key, in full precision."""
        return {key: value for part in self.parts for key, value in part.numbers.items()}
