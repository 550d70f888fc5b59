"""Running statistics that lag behind the weights: where they are scored otherwise than recomputed ones."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.analysis.arms import Arm
from bnexp.document.writing import at_most, percent
from bnexp.runs.run import FRACTIONS, NUMBERS

_CHI_SQUARED = 6.63
"""Exceeded by chance in one comparison of a hundred: that of one degree of freedom, p = 0.01."""
_MOST_NOTES = 8
SCORES = {
    "val_accuracy": "val % final",
    "test_accuracy": "test %",
    "val_accuracy_best": "val % best",
    "test_accuracy_best": "test % of best",
}
"""The scores that exist with recomputed statistics too, the first one that tells first, and their headers."""


def differ(only_one: float, only_other: float) -> bool:
    """Tell whether two scores of the same examples differ by more than chance, from those that only one has right.

        (|b - c| - 1)^2 / (b + c) > 6.63

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996; the 1 is Edwards' correction, 1948
    """
    return (max(abs(only_one - only_other) - 1, 0)) ** 2 > _CHI_SQUARED * (only_one + only_other)


@dataclass(frozen=True)
class Lag:
    """A score of the same weights and examples with running and with recomputed statistics, as fractions."""

    score: str
    running: float
    recomputed: float

    @property
    def figures(self) -> str:
        """Both, and of what they are."""
        running, recomputed = percent(self.running), percent(self.recomputed)
        return f"{running} % with running, {recomputed} % with recomputed ones ({self.score})"

    def __str__(self) -> str:
        what = "running statistics lag behind the weights"
        if self.recomputed < self.running:
            what = "recomputed statistics do worse than the running ones"
        return f"{what}: {self.figures}"


def lag_of(runs: Sequence[Mapping[str, float]]) -> Lag | None:
    """Return the first score that differs by more than chance over the runs together, given as their figures.

    The scores are asked in the order of final, then best weights; means over the runs are told.
    """
    for name, header in SCORES.items():
        names = (name, f"{name}_recomputed", f"{name}_only_running", f"{name}_only_recomputed")
        scores = [[figures[each] for each in names] for figures in runs if all(each in figures for each in names)]
        if not scores:
            continue
        running, recomputed, only_running, only_recomputed = map(sum, zip(*scores, strict=True))
        if differ(only_running, only_recomputed):
            return Lag(header, running / len(scores), recomputed / len(scores))
    return None


def lag_in(summary: Mapping[str, Any]) -> Lag | None:
    """Return the first score of a run's summary that differs by more than chance."""
    figures = {name: _at(summary, place) for name, place in (FRACTIONS | NUMBERS).items()}
    return lag_of([{name: value for name, value in figures.items() if value is not None and math.isfinite(value)}])


def _at(summary: Mapping[str, Any], place: Sequence[str]) -> float | None:
    found: Any = summary
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None


def on_lagging(arms: Sequence[Arm]) -> Iterator[str]:
    """Say of which arms the running statistics were scored rather than the weights."""
    lags = [(arm.name, lag_of([run.figures for run in arm.finished])) for arm in arms]
    yield from at_most([f"{name}: {lag}" for name, lag in lags if lag], _MOST_NOTES, "arms whose statistics differ")
