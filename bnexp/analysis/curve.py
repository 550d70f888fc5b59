"""Draw curves as one line of text each, such as ▁▄▆▇█, all on one scale.

The scale is even in the logarithm of the error (1 - accuracy): going from 90 to 95 % is as large a step as from 98 to
99 %. On a scale even in accuracy, one bad arm, or the first epoch, would press all others flat.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bnexp.analysis.arms import Arm
from bnexp.document.writing import percent
from bnexp.runs.columns import Evaluation

_MARKS = "▁▂▃▄▅▆▇█"
_GAP = "·"
"""Stands for an evaluation that was not finite."""
_WIDEST = 16
LEAST_ERROR = 1e-4
"""Errors below this are drawn as this: one mistake in 10,000 examples."""


@dataclass(frozen=True)
class Scale:
    """The accuracies that the lowest and the highest mark stand for, and how many evaluations share a mark.

    A value gets the mark that is nearest to it: eight marks are seven steps.
    """

    low: float
    high: float
    per_mark: int

    @property
    def factor(self) -> float:
        """How many times as many errors a mark means as the mark above it; 1 where all values get one mark."""
        return float((_error(self.low) / _error(self.high)) ** (1 / (len(_MARKS) - 1)))

    def draw(self, curve: Sequence[float | None]) -> str:
        """Draw a curve; evaluations that share a mark are averaged."""
        groups = [curve[start : start + self.per_mark] for start in range(0, len(curve), self.per_mark)]
        return "".join(self._mark([value for value in group if value is not None]) for group in groups)

    def _mark(self, values: list[float]) -> str:
        if not values:
            return _GAP
        if self.factor == 1:
            return _MARKS[len(_MARKS) // 2]
        steps = math.log(_error(self.low) / _error(sum(values) / len(values))) / math.log(self.factor)
        return _MARKS[min(max(round(steps), 0), len(_MARKS) - 1)]


def _error(accuracy: float) -> float:
    return max(1 - accuracy, LEAST_ERROR)


def mean_curve(runs: Sequence[Sequence[Evaluation]]) -> list[float | None]:
    """Return the mean accuracy over runs at each evaluated step; None where no run has a finite one."""
    at_step: dict[int, list[float]] = {}
    for evaluations in runs:
        for evaluation in evaluations:
            values = at_step.setdefault(evaluation.step, [])
            if evaluation.accuracy is not None:
                values.append(evaluation.accuracy)
    return [sum(values) / len(values) if values else None for _, values in sorted(at_step.items())]


def common_scale(curves: Sequence[Sequence[float | None]]) -> Scale | None:
    """Return the scale that fits all curves; None where they have no value at all."""
    values = [value for curve in curves for value in curve if value is not None]
    if not values:
        return None
    return Scale(min(values), max(values), per_mark=-(-max(map(len, curves)) // _WIDEST))


def on_curves(arms: Sequence[Arm], scales: Mapping[str, Scale], labels: Mapping[str, str]) -> Iterator[str]:
    """Say what the marks of the curves mean, on each scale.

    Args:
        arms: those compared.
        scales: by what arms were scored on.
        labels: names of the data, by their key.
    """
    for data, scale in scales.items():
        rows = "all rows"
        if len(scales) > 1:
            rows = f"the rows of {next(labels[arm.data] for arm in arms if arm.scored_on == data)}"
        yield _on_scale(scale, rows)


def _on_scale(scale: Scale, rows: str) -> str:
    each = "evaluation" if scale.per_mark == 1 else f"{scale.per_mark} evaluations"
    low, high = percent(scale.low), percent(scale.high)
    if scale.low == scale.high:
        return f"curve: validation accuracy, in {rows} {low} % at every evaluation"
    if scale.factor == 1:
        return f"curve: validation accuracy, in {rows} {low} to {high} % at every evaluation: {_DRAWN_ALIKE}"
    floor = f"; {_DRAWN_ALIKE}" if 1 - scale.high < LEAST_ERROR else ""
    return (
        f"curve: validation accuracy (mean over seeds), a mark per {each}; in {rows} ▁ is {low} %, █ is {high} %, "
        f"and a step up is {_fewer(scale.factor)} errors{floor}"
    )


_DRAWN_ALIKE = f"errors of less than {percent(LEAST_ERROR)} % are drawn as so many"


def _fewer(factor: float) -> str:
    """Say how many fewer errors are left after a step: in percent where `times` would round to 1."""
    return f"{factor:.3g} times fewer" if factor >= 2 else f"{100 * (1 - 1 / factor):.2g} % fewer"
