"""Make one curve of the runs of an arm: their mean at each place, and how far they scatter.

A place counts where every run that came so far has a value: runs of one arm may log at other steps, and a mean over now
these and now those would jump. Values that are not finite count as none.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from bnexp.analysis.arms import Arm
from bnexp.analysis.statistics import LEAST_PAIRS, mean_interval
from bnexp.document.plots import Axis, Curve
from bnexp.document.writing import counted
from bnexp.runs.columns import Columns
from bnexp.runs.run import COMPLETE, Run

Place = Literal["step", "epoch"]
MOST_POINTS = 400
"""Of a curve; of more, every second, third, ... is drawn, the last one always."""
_FEW = 10
"""Values, of which none is called far from the rest."""
_SPREAD = {"interval": "95% interval of the mean", "range": "least to greatest seed", "": ""}


@dataclass(frozen=True)
class Spread:
    """What the bands of a figure are: the `interval` of a mean, the `range` of the seeds, or nothing."""

    kind: Literal["interval", "range", ""]

    def __str__(self) -> str:
        return _SPREAD[self.kind]

    @property
    def least(self) -> int:
        """The number of seeds from which on there is a band."""
        return LEAST_PAIRS if self.kind == "interval" else 2

    def edges(self, values: Sequence[float]) -> tuple[float, float]:
        """Return the edges of the band of some values; nan where they are too few."""
        if self.kind == "range" and len(values) > 1:
            return min(values), max(values)
        interval = mean_interval(values) if self.kind == "interval" and len(values) >= LEAST_PAIRS else None
        return (interval.low, interval.high) if interval else (math.nan, math.nan)


def spread_of(counts: Sequence[int]) -> Spread:
    """Return the band for arms with so many runs: an interval, where any has three or more; those with fewer have none.

    The interval of two is 9 times as wide to each side as their deviation, and hides the others.
    """
    most = max(counts, default=0)
    return Spread("interval" if most >= LEAST_PAIRS else "range" if most > 1 else "")


def one_a_seed(arm: Arm) -> list[Run]:
    """Return the runs of an arm, one a seed: the complete one, else the newest; in the order of the seeds."""
    chosen: dict[object, Run] = {}
    for run in sorted(arm.runs, key=lambda run: (run.status in COMPLETE, run.recency)):
        chosen[run.folder if run.seed is None else run.seed] = run
    return sorted(chosen.values(), key=lambda run: (run.seed is None, run.seed or 0, str(run.folder)))


def series_of(columns: Columns, name: str, place: Place = "step") -> dict[float, float]:
    """Return the finite values of a metric by step or epoch, ascending; of a step written twice, the later row."""
    import numpy as np

    places, values = columns.steps if place == "step" else columns.epochs, columns.values[name]
    if (places[1:] > places[:-1]).all():
        known = np.isfinite(places) & np.isfinite(values)
        return dict(zip(places[known].tolist(), values[known].tolist(), strict=True))
    pairs = dict(zip(places.tolist(), values.tolist(), strict=True))
    return dict(sorted((at, value) for at, value in pairs.items() if math.isfinite(value) and math.isfinite(at)))


def places_of(runs: Sequence[dict[float, float]]) -> list[float]:
    """Return the places where every run that came so far has a value."""
    ends = [next(reversed(run), -math.inf) for run in runs]
    known = sorted(set().union(*runs))
    return [at for at in known if all(at in run for run, end in zip(runs, ends, strict=True) if end >= at)]


def mean_of(values: Sequence[float]) -> float:
    """Return the mean; nan where there is no value."""
    return math.fsum(values) / len(values) if values else math.nan


def curve_of(runs: Sequence[dict[float, float]], spread: Spread, at: Sequence[float] | None = None) -> Curve:
    """Return the curve of some runs, given by place, at all places that count, or at those given."""
    x = thinned(places_of(runs)) if at is None else list(at)
    values = [[run[place] for run in runs if place in run] for place in x]
    edges = [spread.edges(some) for some in values]
    y = [mean_of(some) for some in values]
    return Curve(x, y, [low for low, _ in edges], [high for _, high in edges], [len(some) for some in values])


def thinned(x: Sequence[float], most: int = MOST_POINTS) -> list[float]:
    """Return at most about so many of some places, evenly spaced, the last one among them."""
    apart = math.ceil(len(x) / most) if x else 1
    return [*x[:-1][::apart], *x[-1:]]


def with_diverged(curve: Curve, places: Sequence[float | None], of: int) -> Curve:
    """Return a curve with the places at which some of its runs diverged."""
    known = sorted(place for place in places if place is not None)
    return replace(curve, diverged=[(place, known.count(place), of) for place in dict.fromkeys(known)])


def are_log_spaced(x: Sequence[float]) -> bool:
    """Tell whether places lie further apart the larger they are, as those of `per_decade` do."""
    if len(x) < 5 or x[0] <= 0 or x[-1] < 100 * x[0]:
        return False
    gaps = [later - earlier for earlier, later in pairwise(x)]
    return max(gaps) >= 20 * min(gaps)


def value_axis(axis: Axis, values: Iterable[float], decades: float = 1.5) -> tuple[Axis, list[str]]:
    """Return the axis that values are read on, and a note where some lie beyond its ends.

    Values above 0 of which nine tenths span so many powers of ten get a logarithmic axis; a few zeros do not count.
    What lies further from the middle four fifths than ten times their span, as before a divergence, is left outside.
    """
    finite = sorted(value for value in values if math.isfinite(value))
    above = [value for value in finite if value > 0]
    log = not axis.percent and bool(above) and finite[0] >= 0 and len(above) >= 0.9 * len(finite)
    few = len(above) // 20
    log = log and above[-1 - few] >= above[few] * 10**decades
    axis, known = replace(axis, log=log), above if log else finite
    if axis.percent or len(known) < _FEW:
        return axis, []
    heights = [math.log10(value) if log else value for value in known]
    low, high = heights[len(known) // 10], heights[-1 - len(known) // 10]
    reach = (3 if log else 10) * (high - low)
    inside = [value for value, at in zip(known, heights, strict=True) if low - reach <= at <= high + reach]
    if len(inside) == len(known) or not reach:
        return axis, []
    note = f"{axis.name}: {counted(len(known) - len(inside), 'value')} far from the rest, up to {finite[-1]:.3g}"
    note += f" and down to {finite[0]:.3g}" if finite[0] < inside[0] else ""
    return replace(axis, ends=(inside[0], inside[-1])), [f"{note}: beyond the end of the axis"]
