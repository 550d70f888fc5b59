"""Figures as values: histograms, clouds of points, curves and regions, and the style of each series by its name.

Each has a `key`, the name of its numbers, and a `title`, which says what it shows. `terminal_figure` draws them with
letters, `drawing` for a page or a file. The plots of runs are in `plots`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TYPE_CHECKING

from bnexp.document.plots import Numbers, Plot

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Histogram:
    """Shares of values in bins, a series beside the other.

    Attributes:
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
        shares = {name: list(values) for name, values in self.series.items()}
        return {self.key: {"edges": list(self.edges), "shares": shares}}


def histogram(key: str, title: str, edges: Sequence[float], series: "Mapping[str, Tensor]") -> Histogram:
    """Return the histogram of tensors of any shape; what lies beyond the edges counts in the bin at that end.

    A bin takes in its lower edge. Values that are not finite are in no bin, and the shares are those of the others. The
    title says so where a bin at an end holds what lies beyond.
    """
    beyond = any(((values < edges[0]) | (values > edges[-1])).any() for values in series.values())
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
        series: of each its name and its points (x, y).
    """

    key: str
    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]

    @property
    def numbers(self) -> Numbers:
        """The points."""
        return {self.key: {name: [list(point) for point in points] for name, points in self.series.items()}}


@dataclass(frozen=True)
class Lines:
    """Curves over one axis; the title has the unit of y.

    Attributes:
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
        return {self.key: {self.x_name: list(self.x), **{name: list(values) for name, values in self.series.items()}}}


@dataclass(frozen=True)
class Regions:
    """A picture of the values that are averaged together: in a block, equal letters share one mean and one variance.

    Attributes:
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
        """The number of statistics of each block, and of how many values each is."""
        counts = {name: len({letter for _, row in rows for letter in row}) for name, rows in self.blocks}
        sizes = self.values_per_statistic
        figures = {name: {"statistics": n, "values_per_statistic": sizes[name]} for name, n in counts.items()}
        return {self.key: figures}

    @property
    def letters(self) -> list[str]:
        """The letters, in the order of their first appearance."""
        return list(dict.fromkeys(letter for _, rows in self.blocks for _, row in rows for letter in row))


Figure = Histogram | Scatter | Lines | Regions | Plot


@dataclass(frozen=True)
class SeriesStyle:
    """The style of a series: it differs from the others by color, and in grey by its dashes, marker or hatching.

    `color` is that of a page, `terminal` that of a terminal. `dashes` are lengths of dash and gap, in turn, in widths
    of the line. `marker`, of a point and here and there on a line, and `hatch`, of a surface, are matplotlib's names.
    """

    color: str
    terminal: str
    dashes: tuple[float, ...]
    marker: str
    hatch: str


STYLES = (
    SeriesStyle("#0072b2", "cyan", (), "o", ""),
    SeriesStyle("#cc79a7", "magenta", (6, 2), "s", "///"),
    SeriesStyle("#e69f00", "yellow", (2, 1.5), "^", "..."),
    SeriesStyle("#009e73", "green", (8, 2, 1, 2), "D", "xxx"),
    SeriesStyle("#56b4e9", "blue", (4, 1.5, 1, 1.5, 1, 1.5), "v", "---"),
    SeriesStyle("#d55e00", "red", (10, 3), "P", "\\\\\\"),
    SeriesStyle("#000000", "bright_black", (1, 1), "X", "|||"),
)
"""Okabe and Ito's palette, told apart by color-blind people too, without its yellow, which is pale on white."""

_FIXED = {"bn": 0, "none": 6, "no norm": 6, "ln": 2, "gn": 3, "in": 4, "rms": 5}
"""The arms that are compared most keep their style in every figure."""
_PERCENTILE = re.compile(r", \d+ %$")


def styles_of(names: Iterable[str], known: Mapping[str, SeriesStyle] | None = None) -> dict[str, SeriesStyle]:
    """Return a style per series: those that are known keep theirs, the others take what is free, in order.

    Args:
        names: the series of one figure. Norms that are compared often, such as `bn`, `bn, seed 1` or `norm=bn,lr=0.1`,
            have a style of their own; of several with the same norm, the first has it. Percentiles of one arm, such as
            `bn, 15 %` and `bn, 85 %`, share its color.
        known: the styles of earlier figures of the same document, where a name may have one already; another name takes
            none of theirs while there are others.
    """
    known, names = known or {}, list(dict.fromkeys(names))
    arms = {name: _PERCENTILE.sub("", name) for name in names}
    styles: dict[str, SeriesStyle] = {}
    for arm in arms.values():
        fixed = _FIXED.get(arm.partition(",")[0].removeprefix("norm="))
        style = known.get(arm) or (None if fixed is None else STYLES[fixed])
        if style is not None and arm not in styles and style not in styles.values():
            styles[arm] = style
    taken = {*styles.values(), *known.values()}
    unused = [style for style in STYLES if style not in taken]
    numbered = (style for number in count() if (style := _numbered(number)) not in styles.values())
    for arm in arms.values():
        if arm not in styles:
            styles[arm] = unused.pop(0) if unused else next(numbered)
    own: dict[str, SeriesStyle] = {}
    for name, arm in arms.items():
        own[name] = _again(styles[arm], sum(arms[earlier] == arm for earlier in own))
    return own


def figure_styles(parts: Iterable[object]) -> dict[str, dict[str, SeriesStyle]]:
    """Return the styles of each figure of a document, by the figure's key: a name has one style in all of them."""
    known: dict[str, SeriesStyle] = {}
    styles = {}
    for figure in parts:
        if isinstance(figure, Histogram | Scatter | Lines | Plot):
            names = figure.names if isinstance(figure, Plot) else figure.series
            styles[figure.key] = styles_of(names, known)
            known |= styles[figure.key]
    return styles


def _numbered(number: int) -> SeriesStyle:
    """Return one style of many; those beyond the palette have a color of it with the dashes and marks of another."""
    return _again(STYLES[number % len(STYLES)], number // len(STYLES))


def _again(style: SeriesStyle, times: int) -> SeriesStyle:
    """Return a style of the same color, the next but so many, which its dashes and marks tell apart."""
    if times == 0:
        return style
    own = next(number for number, one in enumerate(STYLES) if one.color == style.color)
    other = STYLES[(own + times) % len(STYLES)]
    return replace(style, dashes=other.dashes, marker=other.marker, hatch=other.hatch)
