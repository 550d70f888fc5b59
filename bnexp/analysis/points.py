"""Take the value of any logged metric at a point of a run, by the notation `metric:point`.

    accuracy/val            the last value, as accuracy/val:last
    accuracy/val:best       the highest accuracy, the lowest loss; of a metric without a better side, say min or max
    loss/train:min          also max, mean (over rows), and auc (the mean over the epochs, by trapezoids)
    loss/val:@step500       the last row up to step 500 of a run that came that far; @epoch2 the same in epochs
    accuracy/val:to(0.95)   epochs until the value first is as good as 0.95; inf where a complete run never is
    accuracy/test           of the last weights; accuracy/test:best of those with the best validation accuracy
    step_ms                 the mean of the run

Used as

    points = parse_points("accuracy/val:best, loss/train:last")     # ConfigError for what it cannot read
    values, problems = values_at(runs, points)                      # one reading of metrics.jsonl for all points
    values[points[0]][run.folder]                                   # a float; None where the run has none (yet)
    points[0].direction, points[0].header, points[0].text(0.9512)   # "up", "accuracy/val:best %", "95.12"

A value is what the records hold, also of a run that diverged: what it had before; nan where it was not finite at its
last row, or at the step that was asked for. The other points are over the finite values. What a diverged run counts as,
next to others, is settled in `analysis/pairing.py`. Accuracies are fractions.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bnexp.document.writing import decimal, epochs, loss, milliseconds, percent
from bnexp.errors import ConfigError, did_you_mean
from bnexp.files import parse_json
from bnexp.runs.columns import Columns, each_columns
from bnexp.runs.run import COMPLETE, Run

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

Direction = Literal["up", "down"]
POINTS = ("last", "best", "min", "max", "mean", "auc", "@step", "@epoch", "to(X)")
_POINT = re.compile(
    r"(?P<word>last|best|min|max|mean|auc)|(?P<at>@step|@epoch|@)=?(?P<place>[\d.]+)|to\((?P<goal>.+)\)"
)
_COMMA = re.compile(r",(?![^()]*\))")
_KINDS: dict[str, tuple[Direction, str]] = {
    "accuracy": ("up", "fraction"),
    "balanced_accuracy": ("up", "fraction"),
    "accuracy_by_mode": ("up", "fraction"),
    "loss": ("down", ""),
    "loss_by_mode": ("down", ""),
    "step_ms": ("down", "ms"),
    "examples_per_s": ("up", ""),
    "peak_memory_mib": ("down", ""),
    "non_finite": ("down", ""),
    "skipped_steps": ("down", ""),
}
"""The better side and the unit of metrics, by what stands before the slash."""
_OF_SUMMARY = {
    ("accuracy/val", "last"): "val_accuracy",
    ("accuracy/val", "best"): "val_accuracy_best",
    ("accuracy/val", "max"): "val_accuracy_best",
    ("balanced_accuracy/val", "last"): "val_balanced_accuracy",
    ("loss/val", "last"): "val_loss",
    ("accuracy/test", "last"): "test_accuracy",
    ("accuracy/test", "best"): "test_accuracy_best",
    ("balanced_accuracy/test", "last"): "test_balanced_accuracy",
    ("step_ms", "last"): "step_ms",
}
"""Points whose value stands in summary.json, and in `Run.figures` under this name."""
_END_BYTES = 1 << 16
_NEAR = 1e-9
"""Epochs by which an evaluation may seem early, from rounding."""


@dataclass(frozen=True)
class MetricPoint:
    """A metric and the point at which it is taken; `point` as it is written, such as `last` or `to(0.95)`."""

    metric: str
    point: str = "last"

    def __str__(self) -> str:
        return f"{self.metric}:{self.point}"

    @property
    def goal(self) -> float | None:
        """The value to reach, of `to(X)`; None for every other point."""
        return float(self.point[3:-1]) if self.point.startswith("to(") else None

    @property
    def direction(self) -> Direction | None:
        """Which side is better; fewer epochs are, to a goal."""
        return "down" if self.goal is not None else direction(self.metric)

    @property
    def unit(self) -> str:
        """`fraction`, `epochs`, `ms`, or nothing where a metric has no unit that is known."""
        if self.goal is not None:
            return "epochs"
        return _KINDS.get(_kind(self.metric), ("", ""))[1]

    @property
    def header(self) -> str:
        """Its name over a column for people, with the unit that `text` writes."""
        unit = {"fraction": " %", "epochs": " (epochs)", "ms": ""}.get(self.unit, "")
        return f"{self}{unit}"

    def text(self, value: float, beside: float | None = None) -> str:
        """Write a value for people, a fraction in percent; a spread with the decimals of the mean `beside` it."""
        if not math.isfinite(value):
            return "never" if self.goal is not None else str(value)
        if _kind(self.metric).startswith("loss") and not self.unit:
            return loss(value, beside)
        known: dict[str, Callable[..., str]] = {"fraction": percent, "epochs": epochs, "ms": milliseconds}
        return known[self.unit](value, beside) if self.unit else decimal(value)


def direction(metric: str) -> Direction | None:
    """Return which side of a metric is better; None where that is not known, as of a gradient norm."""
    kind = _kind(metric)
    return _KINDS[kind][0] if kind in _KINDS else None


def _kind(metric: str) -> str:
    return metric.partition("/")[0]


def figure_of(text: str) -> str | None:
    """Return the figure of the end that a written point is, such as `val_accuracy` of `accuracy/val:last`, if any."""
    metric, _, point = text.partition(":")
    return _OF_SUMMARY.get((metric.strip(), point.strip() or "last"))


def _is_test(metric: str) -> bool:
    """Tell whether a metric is of the test set, which a run is scored on once, at its end."""
    return metric.partition("/")[2].startswith("test")


def parse_points(text: str) -> tuple[MetricPoint, ...]:
    """Read `metric:point, metric:point`; a metric without a point is taken at its last value.

    Raises:
        ConfigError: what was found, and what was expected.
    """
    return tuple(dict.fromkeys(parse_point(part) for part in _COMMA.split(text)))


def parse_point(text: str) -> MetricPoint:
    """Read one `metric:point`.

    Raises:
        ConfigError: no metric, no such point, or a point that this metric does not have.
    """
    metric, colon, point = (part.strip() for part in text.strip().partition(":"))
    point = re.sub(r"\s+", "", point) if colon else "last"
    if not re.fullmatch(r"[^\s:/]+/[^\s:]+", metric) and metric != "step_ms":
        raise ConfigError(f'"{text.strip()}": expected a metric and a point, such as accuracy/val:best')
    match = _POINT.fullmatch(point)
    if match is None:
        hint = did_you_mean(point, POINTS)
        raise ConfigError(f"{metric}:{point}: no such point.{hint} Points: {', '.join(POINTS)}")
    better = direction(metric)
    if match["goal"]:
        goal = _goal(metric, better, match["goal"])
        return MetricPoint(metric, f"to({goal:g})" if float(f"{goal:g}") == goal else f"to({goal!r})")
    if match["at"]:
        point = _place(metric, "@step" if match["at"] == "@" else match["at"], match["place"])
    if point == "best" and better is None:
        expected = f"{metric}:min or {metric}:max.{did_you_mean(_kind(metric), _KINDS)}"
        raise ConfigError(f"{metric}:best: which side of {metric} is better is not known; expected {expected}")
    once = _is_test(metric) or metric == "step_ms"
    if once and point != "last" and not (point == "best" and metric.endswith("/test")):
        best = f" or {metric}:best, of the weights that were best on validation" if metric.endswith("/test") else ""
        raise ConfigError(f"{metric}:{point}: a run has it once, at its end; expected {metric}{best}")
    return MetricPoint(metric, point)


def _goal(metric: str, better: Direction | None, text: str) -> float:
    try:
        goal = float(text)
    except ValueError:
        goal = math.nan
    if better is None or _is_test(metric) or metric == "step_ms":
        raise ConfigError(f"{metric}:to({text}): expected a metric with a better side, such as accuracy/val:to(0.95)")
    if _KINDS[_kind(metric)][1] == "fraction" and not 0 < goal <= 1:
        fraction = goal / 100 if 1 < goal <= 100 else 0.95
        raise ConfigError(f"{metric}:to({text}): expected a fraction, such as {metric}:to({fraction:g})")
    if not math.isfinite(goal):
        raise ConfigError(f"{metric}:to({text}): expected a number, such as {metric}:to(0.1)")
    return goal


def _place(metric: str, at: str, text: str) -> str:
    try:
        place = float(text)
    except ValueError:
        place = math.nan
    if not place > 0 or (at == "@step" and not place.is_integer()):
        raise ConfigError(f"{metric}:{at}{text}: expected such as {metric}:@step500 or {metric}:@epoch2")
    return f"{at}{place:.0f}" if place.is_integer() else f"{at}{place!r}"


def values_at(
    runs: Sequence[Run], points: Iterable[MetricPoint]
) -> tuple[dict[MetricPoint, dict[Path, float | None]], list[str]]:
    """Return the value of each run at each point, by the run's folder, and what is wrong with files that were read.

    A run in progress has values of what it logged, and None for what is yet to come. metrics.jsonl is read at most once
    a run, and not at all where summary.json holds what is asked of a complete run.
    """
    points = list(dict.fromkeys(points))
    values: dict[MetricPoint, dict[Path, float | None]] = {point: {} for point in points}
    logged = list[tuple[Run, list[MetricPoint]]]()
    for run in runs:
        complete = run.status in COMPLETE
        rest = list[MetricPoint]()
        for point in points:
            name = _OF_SUMMARY.get((point.metric, point.point), "")
            values[point][run.folder] = run.figures.get(name) if complete else None
            # A run that goes on after a former end has scores of that one in its rows.
            is_logged = point.metric != "step_ms" and (complete or not _is_test(point.metric))
            rest += [point] if is_logged and values[point][run.folder] is None else []
        logged += [(run, rest)] if rest else []
    names = list(dict.fromkeys(_column(point) for _, rest in logged for point in rest))
    seals, problems = {run.folder: run.rows_seal for run, _ in logged}, []
    read = each_columns([run.folder for run, _ in logged], names, seals)
    if logged:
        import numpy as np  # noqa: F401 - while the files are being read
    for (run, rest), columns in zip(logged, read, strict=True):
        problems += [columns.problem] if columns.problem else []
        for point in rest:
            values[point][run.folder] = _value(run, columns, point)
    return values, problems


def _column(point: MetricPoint) -> str:
    """Return the name in the rows; the scores of the best weights on the test set have one of their own."""
    return f"{point.metric}_best" if _is_test(point.metric) and point.point == "best" else point.metric


def _value(run: Run, columns: Columns, point: MetricPoint) -> float | None:
    """Return the value of a run at a point, from the rows that hold the metric."""
    import numpy as np

    column, nulls = columns.values[_column(point)], columns.nulls[_column(point)]
    known = np.isfinite(column)
    if point.point == "last" or point.point.startswith("@"):
        known |= nulls  # what was not finite at this place is no earlier value
    steps, epochs_of, values = columns.steps[known], columns.epochs[known], column[known]
    if (np.diff(steps) <= 0).any():  # written twice: the later row counts
        _, last = np.unique(steps[::-1], return_index=True)
        kept = len(steps) - 1 - last
        steps, epochs_of, values = steps[kept], epochs_of[kept], values[kept]
    places = steps.astype(np.float64)
    if point.goal is not None:
        return _epochs_to(run, epochs_of, values, point)
    if not len(values):
        return None
    if point.point.startswith("@"):
        return _value_at(run, places if point.point.startswith("@step") else epochs_of, values, point)
    extreme = {"up": "max", "down": "min"}[direction(point.metric) or "up"] if point.point == "best" else point.point
    if extreme == "auc":
        return _mean_over(epochs_of if np.isfinite(epochs_of).all() else places, values)
    return float(values[-1] if extreme == "last" else getattr(np, extreme)(values))


def _epochs_to(run: Run, epochs_of: "Floats", values: "Floats", point: MetricPoint) -> float | None:
    """Return the epochs of the first value that is as good as the goal; inf for a complete run without one."""
    import numpy as np

    goal = point.goal or 0.0
    there = np.flatnonzero(values >= goal if direction(point.metric) == "up" else values <= goal)
    if len(there):
        return float(epochs_of[there[0]]) if np.isfinite(epochs_of[there[0]]) else None
    return math.inf if run.status in COMPLETE and len(values) else None


def _value_at(run: Run, places: "Floats", values: "Floats", point: MetricPoint) -> float | None:
    """Return the last value up to a step or an epoch; None for a run that did not come that far, or had none by then.

    A run that is not complete may still log that place, as long as nothing after it is logged.
    """
    unit = "step" if point.point.startswith("@step") else "epoch"
    wanted = float(point.point.removeprefix(f"@{unit}")) + _NEAR
    reached = run.figures.get(f"{unit}s", -math.inf) if run.status in COMPLETE else -math.inf
    if max(reached, float(places[-1])) < wanted - 2 * _NEAR:
        return None
    before = values[places <= wanted]
    return float(before[-1]) if len(before) else None


def _mean_over(places: "Floats", values: "Floats") -> float:
    """Return the integral of the values over epochs, by trapezoids, divided by the length: a mean over the training."""
    import numpy as np

    length = float(places[-1] - places[0])
    return float(np.trapezoid(values, places)) / length if length > 0 else float(values.mean())


def logged_metrics(run: Run) -> list[str]:
    """Return the names of the metrics in the rows near the beginning and the end of a run, for messages."""
    names: dict[str, None] = {}
    try:
        with run.metrics_path.open("rb") as file:
            head = file.read(_END_BYTES)
            file.seek(max(file.seek(0, 2) - _END_BYTES, 0))
            lines = [*head.split(b"\n"), *file.read().split(b"\n")]
    except OSError:
        return []
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue
        names |= dict.fromkeys(row)
    return [name for name in names if name not in ("step", "epoch")]
