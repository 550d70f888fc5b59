"""Running statistics beside recomputed ones: where they lag behind the weights, and with averaged weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from bnexp.analysis.arms import Arm
from bnexp.document.writing import at_most, percent
from bnexp.runs.run import FRACTIONS, NUMBERS

_FALSE_ALARMS = 0.01
"""Of arms whose statistics are all as good, at most this part is told of by chance."""
_MOST_NOTES = 8
WITH_BOTH_STATISTICS = {
    "val_accuracy": "val % final",
    "test_accuracy": "test %",
    "val_accuracy_best": "val % best",
    "test_accuracy_best": "test % of best",
}
"""The scores that exist with running and with recomputed statistics, in the order in which they are asked, and their
headers."""


def chance(only_one: float, only_other: float) -> float:
    """Return the probability that as unequal counts come about where both are as good: McNemar's test, two-sided.

        p = erfc(sqrt(chi^2 / 2)),  chi^2 = max(|b - c| - 1, 0)^2 / (b + c)

    b examples are right only with the one (`only_one`), c only with the other; the examples must be independent of
    each other. Beside the exact binomial test it errs on the side of chance.

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996; the 1 is Edwards' correction, 1948
    """
    if not only_one + only_other:
        return 1.0
    return math.erfc(max(abs(only_one - only_other) - 1, 0) / math.sqrt(2 * (only_one + only_other)))


@dataclass(frozen=True)
class Lag:
    """A score of the same weights and examples with running and with recomputed statistics, as fractions."""

    score: str
    running: float
    recomputed: float

    @property
    def figures(self) -> str:
        """Both in percent, and of what: `88.00 % with running, 95.00 % with recomputed ones (val % final)`."""
        running, recomputed = percent(self.running), percent(self.recomputed)
        return f"{running} % with running, {recomputed} % with recomputed ones ({self.score})"

    def __str__(self) -> str:
        what = "running statistics lag behind the weights"
        if self.recomputed < self.running:
            what = "recomputed statistics do worse than the running ones"
        return f"{what}: {self.figures}"


def lag_of(runs: Sequence[Mapping[str, float]]) -> Lag | None:
    """Return the first score by which running and recomputed statistics differ by more than chance.

    Takes the figures of an arm's runs, by the names in `runs/run.py`. In one run at least the score must differ beyond
    chance, and in none the other way. Runs of an arm are scored on the same examples, so that their counts are not
    independent and may not be added up; each is tested alone, at a level divided by the number of tests (Bonferroni),
    which holds however they depend. Told are the means over the runs. None where no score differs, or none is there
    with both statistics.
    """
    scores = {name: known for name in WITH_BOTH_STATISTICS if (known := _with_both(name, runs))}
    level = _FALSE_ALARMS / (sum(map(len, scores.values())) or 1)
    for name, known in scores.items():
        ways = {math.copysign(1, each.recomputed - each.running) for each in known if each.recomputed != each.running}
        if len(ways) == 1 and min(chance(each.only_running, each.only_recomputed) for each in known) <= level:
            means = (fmean(each.running for each in known), fmean(each.recomputed for each in known))
            return Lag(WITH_BOTH_STATISTICS[name], *means)
    return None


class _Pair(NamedTuple):
    """Accuracies of a run with both statistics, and how many examples only the one answers right."""

    running: float
    recomputed: float
    only_running: float
    only_recomputed: float


def _with_both(name: str, runs: Sequence[Mapping[str, float]]) -> list[_Pair]:
    names = (name, f"{name}_recomputed", f"{name}_only_running", f"{name}_only_recomputed")
    return [_Pair(*(figures[each] for each in names)) for figures in runs if all(each in figures for each in names)]


@dataclass(frozen=True)
class Average:
    """Test accuracies of averaged weights (`training.ema`) and of the last weights beside them, as fractions.

    Each is a pair, with running statistics and with recomputed ones, which are None where no norm has any.
    """

    running: tuple[float, float]
    recomputed: tuple[float, float] | None

    @property
    def figures(self) -> str:
        """All of them in percent, as a sentence: with recomputed statistics first, where there are any."""
        (average, last), recomputed = map(percent, self.running), self.recomputed
        if recomputed is None:
            return f"test {average} %, the last weights {last} %"
        own, theirs = map(percent, recomputed)
        return (
            f"test {own} %, the last weights {theirs} % with recomputed statistics; "
            f"{average} % and {last} % with running ones"
        )


def average_of(runs: Sequence[Mapping[str, float]]) -> Average | None:
    """Return the means over those runs, given as their figures, that have averaged weights."""

    def means(suffix: str) -> tuple[float, float] | None:
        names = (f"test_accuracy_ema{suffix}", f"test_accuracy{suffix}")
        known = [[figures[name] for name in names] for figures in runs if all(name in figures for name in names)]
        return (fmean(pair[0] for pair in known), fmean(pair[1] for pair in known)) if known else None

    running = means("")
    return running and Average(running, means("_recomputed"))


def lag_in(summary: Mapping[str, Any]) -> Lag | None:
    """Return the first score of a run's summary that differs by more than chance."""
    return lag_of([_figures_in(summary)])


def average_in(summary: Mapping[str, Any]) -> Average | None:
    """Return the accuracies of a run's summary with averaged weights."""
    return average_of([_figures_in(summary)])


def _figures_in(summary: Mapping[str, Any]) -> dict[str, float]:
    figures = {name: _at(summary, place) for name, place in (FRACTIONS | NUMBERS).items()}
    return {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}


def _at(summary: Mapping[str, Any], place: Sequence[str]) -> float | None:
    found: Any = summary
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None


def on_lagging(arms: Sequence[Arm]) -> Iterator[str]:
    """Say of which arms the running statistics were scored rather than the weights."""
    lags = [(arm.name, lag_of([run.figures for run in arm.finished])) for arm in arms]
    yield from at_most([f"{name}: {lag}" for name, lag in lags if lag], _MOST_NOTES, "arms whose statistics differ")


def on_averages(arms: Sequence[Arm]) -> Iterator[str]:
    """Say what averaged weights come to, of arms that have them."""
    averages = [(arm.name, average_of([run.figures for run in arm.finished])) for arm in arms]
    notes = [f"{name}: averaged weights: {average.figures}" for name, average in averages if average]
    yield from at_most(notes, _MOST_NOTES, "arms with averaged weights")
