"""Plots of runs as values: curves with bands, heat maps and paired differences; `drawing` draws them.

Each has a `key`, the name of its numbers, a `title`, which says what it shows, a `caption`, which says how to read it
and of how many runs it is, and `notes` on what it leaves out. Numbers are in the unit of metrics.jsonl: accuracies are
fractions, also where an axis shows them in percent. What was not measured, or not finite, is nan.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Numbers = Mapping[str, object]
Form = Literal["png", "svg", "pdf"]
"""Of a file that a plot is drawn into."""
SizeName = Literal["column", "page", "slide"]
"""What a plot is drawn for: the column of a paper, its page, or a slide."""


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Attributes:
        name: with its unit, such as `validation accuracy (%)`.
        log: even in the logarithm; all values are above 0.
        percent: the values are fractions, and are shown in percent.
        ticks: the values to mark; where there are none, the drawing chooses.
        labels: words that stand at the values 0, 1, 2, ..., where the axis counts no numbers.
        ends: the least and the greatest value that is shown, where some lie far beyond; else all are.
    """

    name: str
    log: bool = False
    percent: bool = False
    ticks: Sequence[float] = ()
    labels: Sequence[str] = ()
    ends: tuple[float, float] | None = None

    @property
    def quantity(self) -> str:
        """Its name for a title, without the percent of an accuracy."""
        return self.name.removesuffix(" (%)")

    def text(self, value: float) -> str:
        """Write a value of this axis for people."""
        if self.labels and value in range(len(self.labels)):
            return self.labels[int(value)]
        return f"{100 * value:.2f}" if self.percent else f"{value:.4g}"


@dataclass(frozen=True)
class Curve:
    """The values of one arm over x, as wide as they scatter.

    Attributes:
        x: (n,) ascending.
        y: (n,) the middle; nan where there is none, which leaves a gap.
        low, high: (n,) the edges of the band; nan where there is none, as with one run.
        runs: (n,) how many runs each value is of.
        diverged: at which x runs diverged: x, how many, of how many.
    """

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    runs: Sequence[int]
    diverged: Sequence[tuple[float, int, int]] = ()

    @property
    def has_band(self) -> bool:
        """Tell whether any of its values has edges."""
        return any(math.isfinite(low) for low in self.low)


@dataclass(frozen=True)
class Panel:
    """Curves in one frame, by the names of their arms; those of another panel may be other quantities of the same arms.

    Attributes:
        form: how a curve is drawn: a `line` with a band; `points` joined by lines, each with the bar of its interval;
            `edges`, a line in the middle and one at each edge; or a `range`, its two edges and no middle.
    """

    title: str
    x: Axis
    y: Axis
    series: Mapping[str, Curve]
    form: Literal["line", "points", "edges", "range"] = "line"


@dataclass(frozen=True)
class Curves:
    """Curves with bands, in one panel or in several side by side.

    Attributes:
        band: what the band is, such as `95 % interval of the mean`; empty where there is none.
        same_y: the panels show one quantity, on the same scales.
    """

    key: str
    title: str
    caption: str
    panels: Sequence[Panel]
    band: str = ""
    same_y: bool = False
    notes: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The arms, in the order of their first panel."""
        return list(dict.fromkeys(name for panel in self.panels for name in panel.series))

    @property
    def numbers(self) -> Numbers:
        """By panel and arm x, the middle, the edges and the numbers of runs."""
        panels = {
            panel.title or panel.y.name: {name: _numbers_of(curve) for name, curve in panel.series.items()}
            for panel in self.panels
        }
        return {self.key: panels}


def _numbers_of(curve: Curve) -> Numbers:
    lists = {name: list(getattr(curve, name)) for name in ("x", "y", "low", "high", "runs")}
    return {**lists, "diverged": [list(mark) for mark in curve.diverged]}


@dataclass(frozen=True)
class Grid:
    """The cells of one arm in a heat map.

    Attributes:
        title: the arm.
        columns: (c,) ascending, such as steps; each is as wide as the others.
        rows: (r,) names, the first on top.
        values: (r, c) nan where nothing was measured.
    """

    title: str
    columns: Sequence[float]
    rows: Sequence[str]
    values: Sequence[Sequence[float]]


@dataclass(frozen=True)
class HeatMap:
    """Values as colors, by row and column; a grid an arm, all with one scale of colors.

    Attributes:
        x, y: what columns and rows count.
        value: what a color means.
    """

    key: str
    title: str
    caption: str
    x: Axis
    y: Axis
    value: Axis
    grids: Sequence[Grid]
    notes: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """No names: a color means a value here, and no arm."""
        return []

    @property
    def numbers(self) -> Numbers:
        """By arm columns, rows and values."""
        grids = {
            grid.title: {
                "columns": list(grid.columns),
                "rows": list(grid.rows),
                "values": [list(row) for row in grid.values],
            }
            for grid in self.grids
        }
        return {self.key: grids}


@dataclass(frozen=True)
class Paired:
    """What one arm has more than the baseline, by seed.

    Attributes:
        seeds: (n,) in both arms.
        differences: (n,) the arm less the baseline with the same seed.
        diverged: (n,) where a run of the pair diverged, and its value is the stated one of such runs.
        mean, low, high: the mean difference with its interval; low and high are nan where n is too small for one.
    """

    seeds: Sequence[int]
    differences: Sequence[float]
    diverged: Sequence[bool]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Differences:
    """Paired differences to a baseline: of each arm a dot a seed, their mean and its interval.

    Attributes:
        x: the axis of the differences.
        rows: by arm, the first on top.
        better: the side on which the arm is better; None where neither is.
    """

    key: str
    title: str
    caption: str
    x: Axis
    baseline: str
    rows: Mapping[str, Paired]
    better: Literal["left", "right"] | None = None
    notes: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The arms."""
        return list(self.rows)

    @property
    def numbers(self) -> Numbers:
        """By arm the seeds, the differences, their mean and its interval."""
        rows = {
            name: {
                "seeds": list(row.seeds),
                "differences": list(row.differences),
                "diverged": list(row.diverged),
                "mean": row.mean,
                "low": row.low,
                "high": row.high,
            }
            for name, row in self.rows.items()
        }
        return {self.key: {"baseline": self.baseline, "arms": rows}}


Plot = Curves | HeatMap | Differences
