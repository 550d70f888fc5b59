"""Take points of any logged metrics as columns of a comparison: the mean over seeds with its 95 % t interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnexp.analysis.arms import Arm
from bnexp.analysis.notes import MOST_NOTES
from bnexp.analysis.points import MetricPoint, logged_metrics, parse_points, values_at
from bnexp.analysis.statistics import Interval, mean_interval
from bnexp.document.table import Cell, Column, sample_of
from bnexp.document.writing import at_most, first_few
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.run import COMPLETE, Run

_STATISTICS = ("mean", "std", "low", "high", "n")
_LOOKED_AT = 20
"""Runs whose rows are searched for the names of metrics, for a message."""
_FEW = 3

Values = Mapping[MetricPoint, Mapping[Path, float | None]]


@dataclass(frozen=True)
class Measured:
    """Points of metrics, and their values in each run, by its folder."""

    points: Sequence[MetricPoint] = ()
    values: Values = field(default_factory=dict)


def measure(arms: Sequence[Arm], text: str) -> tuple[Measured, list[str]]:
    """Return the points that a text such as `accuracy/val:best, loss/train:last` names, with their values.

    Notes say which files could not be read, and which arms lack a metric.

    Raises:
        ConfigError: no such point, or a metric that no run has logged.
    """
    points = parse_points(text) if text else ()
    runs = [run for arm in arms for run in arm.runs]
    values, problems = values_at(runs, points)
    for point in points:
        known = {folder for folder, value in values[point].items() if value is not None}
        if not known:
            _refuse_unlogged(point, runs)
        if lacking := [arm.name for arm in arms if arm.finished and not {run.folder for run in arm.finished} & known]:
            problems.append(f"{point}: no value in {first_few(lacking, _FEW)}")
    return Measured(points, values), at_most(problems, MOST_NOTES, "such notes")


def _refuse_unlogged(point: MetricPoint, runs: Sequence[Run]) -> None:
    """Refuse a metric that is in no row of complete runs; one in progress may have it at its end."""
    names = dict.fromkeys(name for run in runs[:_LOOKED_AT] for name in logged_metrics(run))
    if point.metric not in names and all(run.status in COMPLETE for run in runs):
        raise ConfigError(f"{point}: no run has logged {point.metric}.{did_you_mean(point.metric, names)}")


def point_column(point: MetricPoint) -> Column:
    """Return the column of a point, with interval for programs."""
    descending = point.direction == "up"
    return Column(str(point), point.header, "sample", descending=descending, statistics=_STATISTICS)


def point_cell(arm: Arm, point: MetricPoint, values: Mapping[Path, float | None]) -> Cell:
    """Show the mean over seeds and its 95 % t interval; in parentheses, the value so far of an arm without an end."""
    every = arm.sampled(lambda run: values.get(run.folder))
    reached = [value for value in every if math.isfinite(value)]
    sample, short = sample_of(reached), len(every) - len(reached)
    lacking = "not finite" if point.goal is None else "never"
    if sample is None:
        shown = None if every or arm.diverged or not arm.unfinished else values.get(arm.shown[0].folder)
        return Cell(lacking if short else "-") if shown is None else Cell(f"({point.text(shown)})")
    if short:  # a mean of the others is none of the arm, and has no interval
        return Cell(f"{point.text(sample.mean)} ({short} of {len(every)} {lacking})", sample=sample)
    part = "" if sample.n == len(arm.samples) else f" ({sample.n} of {len(arm.samples)})"
    interval = mean_interval(reached)
    more = {"low": interval.low, "high": interval.high} if interval else {}
    return Cell(point.text(sample.mean) + ends(point, interval) + part, sample=sample, more=more)


def ends(point: MetricPoint, interval: Interval | None) -> str:
    """Write the interval of a mean behind it, in brackets; nothing where there is none."""
    if interval is None:
        return ""
    low, high = (point.text(end, beside=interval.mean) for end in (interval.low, interval.high))
    return f" [{low}, {high}]"
