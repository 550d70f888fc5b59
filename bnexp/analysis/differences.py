"""Compare arms with a baseline, seed by seed: the mean difference, its interval, the seeds won and a corrected p.

A seed that diverged counts with the value that `analysis/pairing.py` states for it, and a note says so.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from bnexp.analysis.arms import Arm, no_such_baseline
from bnexp.analysis.notes import MOST_NOTES
from bnexp.analysis.pairing import Outcomes, Pairing, Stated, outcomes, pair, stated_value, without_diverged
from bnexp.analysis.point_columns import Measured, Values, ends
from bnexp.analysis.points import MetricPoint
from bnexp.analysis.rates import RateAxis
from bnexp.analysis.statistics import ALPHA, LEAST_PAIRS, Interval, holm, least_p, mean_interval, sign_flip_p
from bnexp.document.table import Cell, Column, Row, Table, sample_of, word
from bnexp.document.writing import at_most, counted, first_few

DEFAULT_POINTS = "accuracy/test"
"""What a difference to a baseline is taken of, where no columns are asked for."""
_STATISTICS = ("mean", "low", "high", "n", "won", "p", "p_corrected")
_ROUNDING = 1e-12
"""Differences below this, relative to the largest value, come from rounding: the values are equal."""
_SIGNS = {"up": 1, "down": -1, None: 0}
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Difference:
    """An arm beside the baseline, at one point.

    Attributes:
        differences: the arm's value minus that of the baseline, one a seed that both have.
        won: of how many seeds the arm is the better one; None where no side is.
        p: two-sided, of the sign-flip test; None for fewer than 2 seeds. `p_corrected` is Holm's.
    """

    arm: Arm
    point: MetricPoint
    differences: tuple[float, ...]
    won: int | None
    p: float | None
    p_corrected: float | None = None

    @property
    def interval(self) -> Interval | None:
        """Mean and 95 % t interval; None for fewer than 2 seeds."""
        return mean_interval(self.differences)


def with_differences(
    table: Table, arms: Sequence[Arm], axes: Sequence[RateAxis], baseline: str, measured: Measured
) -> tuple[Table, Table]:
    """Return the table with the differences to the baseline in columns for programs, and a table of them for people."""
    beside, others = _with_baseline(arms, axes, baseline)
    alike = [arm for arm in others if arm.scored_on == beside.scored_on]
    found, notes = differences_of(alike, beside, measured.points, measured.values)
    if elsewhere := [arm.name for arm in others if arm.scored_on != beside.scored_on]:
        notes = [f"not compared, since scored on other examples: {first_few(elsewhere, _NAMES_SHOWN)}", *notes]
    rows = [{**row, **_cells(found, arm)} for row, arm in zip(table.rows, arms, strict=True)]
    more = replace(table, rows=tuple(rows), columns=(*table.columns, *map(_column, measured.points)))
    how = "" if any(beside is arm for arm in arms) else "each arm at its own best learning rate"
    return more, _table(found, beside, notes, how)


def _with_baseline(arms: Sequence[Arm], axes: Sequence[RateAxis], name: str) -> tuple[Arm, list[Arm]]:
    """Return the arm of a name, and those to compare with it; of learning rates, the arms at their own best rates.

    Raises:
        ConfigError: none has that name.
    """
    for arm in arms:
        if arm.name == name:
            return arm, list(arms)
    best = [replace(axis.best.arm, name=axis.name) for axis in axes if axis.best]
    for arm in best:
        if arm.name == name:
            return arm, best
    raise no_such_baseline(name, [arm.name for arm in (*arms, *best)])


def differences_of(
    arms: Sequence[Arm], baseline: Arm, points: Sequence[MetricPoint], values: Values
) -> tuple[list[Difference], list[str]]:
    """Return the difference of each other arm to the baseline at each point, paired by seed, with notes on the pairing.

    p-values are corrected for all that are returned together.
    """
    runs, differences, notes = [run for arm in arms for run in arm.runs], list[Difference](), list[str]()
    for point in points:
        stated = stated_value(point, point.direction or "up", runs, values[point])
        of_arm = {id(arm): _outcomes(arm, point, values[point], stated) for arm in arms}
        if point.direction is None:
            of_arm = {key: without_diverged(one) for key, one in of_arm.items()}
        for arm in arms:
            if arm is baseline:
                continue
            pairing = pair(of_arm[id(arm)], of_arm[id(baseline)])
            differences.append(_difference(arm, point, pairing))
            notes += pairing.notes
    corrected = holm([one.p for one in differences])
    differences = [replace(one, p_corrected=p) for one, p in zip(differences, corrected, strict=True)]
    return differences, at_most(list(dict.fromkeys(notes)), MOST_NOTES, "notes on pairs")


def _difference(arm: Arm, point: MetricPoint, pairing: Pairing) -> Difference:
    """Judge the pairs of an arm and the baseline."""
    size = max(map(abs, (*pairing.first.values.values(), *pairing.second.values.values())), default=0.0)
    differences = tuple(0.0 if abs(one) <= _ROUNDING * size else one for one in pairing.differences("up"))
    sign = _SIGNS[point.direction]
    won = sum(sign * difference > 0 for difference in differences) if sign else None
    return Difference(arm, point, differences, won, sign_flip_p(differences) if len(differences) > 1 else None)


def _outcomes(arm: Arm, point: MetricPoint, values: Mapping[Path, float | None], stated: Stated) -> Outcomes:
    """Return what an arm came to by seed; of a pooled one the mean over its arms, for seeds that all of them have."""
    if not arm.pooled:
        return outcomes(arm.name, arm.runs, point, values, stated)
    parts = [_outcomes(part, point, values, stated) for part in arm.pooled]
    seeds = [seed for seed in parts[0].values if all(seed in part.values for part in parts)]
    diverged = tuple(seed for seed in seeds if any(seed in part.diverged for part in parts))
    never = tuple(seed for seed in seeds if any(seed in part.never for part in parts))
    infinite = tuple(seed for seed in diverged if all(seed in part.infinite for part in parts if seed in part.diverged))
    absent = {seed: why for part in parts for seed, why in part.absent.items()}
    means = {seed: fmean(part.values[seed] for part in parts) for seed in seeds}
    return Outcomes(arm.name, means, diverged, never, absent, stated, infinite)


def _column(point: MetricPoint) -> Column:
    """Return the column of the differences at a point, for programs; people get a table of their own."""
    key, descending = _key(point), point.direction == "up"
    return Column(key, "", "sample", descending=descending, audience="machines", statistics=_STATISTICS)


def _cells(found: Sequence[Difference], arm: Arm) -> Row:
    """Return the cells of the differences of an arm."""
    cells = {}
    for difference in found:
        if difference.arm.runs is arm.runs:  # under the name of an axis, too
            interval = difference.interval
            more = {"low": interval.low, "high": interval.high} if interval else {}
            tests = {"won": difference.won, "p": difference.p, "p_corrected": difference.p_corrected}
            cells[_key(difference.point)] = Cell(sample=sample_of(difference.differences), more={**more, **tests})
    return cells


def _key(point: MetricPoint) -> str:
    return f"{point}_difference"


def _table(differences: Sequence[Difference], baseline: Arm, notes: Sequence[str], how: str) -> Table:
    """Return a row for each point and arm; of each point, the arm with the best mean difference comes first."""
    several = len({one.point for one in differences}) > 1
    metric = "" if several or not differences else f" in {differences[0].point.header}"
    title = f"difference to {baseline.name}{metric}, paired by seed{f', {how}' if how else ''}"
    columns = (
        *([Column("metric", "metric", grouped=True)] if several else []),
        Column("name", "arm"),
        Column("difference", "difference [95 % interval]", "sample", short="difference"),
        Column("won", "seeds won", short="won"),
        Column("p", "p", "number"),
        Column("p_corrected", "p (Holm)", "number"),
    )
    points = list(dict.fromkeys(one.point for one in differences))
    ordered = sorted(differences, key=lambda one: (points.index(one.point), -_gain(one)))
    return Table(columns, tuple(map(_row, ordered)), (*notes, *_limits(differences)), title)


def _gain(difference: Difference) -> float:
    """Return by how much the arm is the better one; without a better side, by how much it lies above."""
    mean = fmean(difference.differences) if difference.differences else -math.inf
    return mean * (_SIGNS[difference.point.direction] or 1) if difference.differences else mean


def _row(one: Difference) -> Row:
    n, mean, interval = len(one.differences), sample_of(one.differences), one.interval
    sign = "+" if mean and mean.mean > 0 else ""
    won = f"{one.won} of {n}" if one.won is not None else counted(n, "pair")
    return {
        "name": word(one.arm.name),
        "metric": word(one.point.header),
        "difference": Cell(f"{sign}{one.point.text(mean.mean)}{ends(one.point, interval)}") if mean else Cell(),
        "won": Cell(won if n else "no pairs"),
        "p": _p(one.p),
        "p_corrected": _p(one.p_corrected),
    }


def _p(p: float | None) -> Cell:
    return Cell() if p is None else Cell(f"{p:.3f}" if p >= 0.001 else f"{p:.1g}", p)


def _limits(found: Sequence[Difference]) -> Iterator[str]:
    """Say what the tests are, and what so few seeds cannot show."""
    if not found:
        yield "there is no other arm to compare with it"
        return
    yield (
        "difference: the arm minus the baseline, with the 95 % t interval of their mean; p: two-sided sign-flip test; "
        f"Holm: corrected for the {len(found)} differences of this table"
    )
    pairs = [len(one.differences) for one in found]
    if few := list(dict.fromkeys(one.arm.name for one in found if len(one.differences) < LEAST_PAIRS)):
        named = f": {first_few(few, _NAMES_SHOWN)}" if max(pairs) >= LEAST_PAIRS else ""
        yield f"fewer than {LEAST_PAIRS} pairs decide nothing{named}"
    if pairs and max(pairs) >= LEAST_PAIRS and least_p(max(pairs)) > ALPHA:
        yield f"{max(pairs)} pairs give no p below {least_p(max(pairs)):g}, whatever they are: look at the intervals"
