"""Tune each arm alike: the same candidates on the same seeds, and the best on the validation part is the arm's own.

The choice never sees the test set, and runs that served to choose enter no mean: the arm is then trained with seeds of
its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean

from bnexp.config.wording import shown
from bnexp.document.writing import counted
from bnexp.runs.run import COMPLETE, Run
from bnexp.sweep.arms import Arm


@dataclass(frozen=True)
class Score:
    """What a candidate reached: its mean final validation accuracy and loss, and how many of its seeds diverged."""

    candidate: Arm
    accuracy: float
    loss: float
    diverged: int
    seeds: int

    @property
    def rank(self) -> tuple[int, float, float]:
        """Sorts the best first: a seed that diverged is worse than any accuracy, and of equal ones the loss decides."""
        return self.diverged, -self.accuracy, self.loss


@dataclass(frozen=True)
class Choice:
    """The values that an arm got.

    Attributes:
        arm: the arm with the chosen values, under its own name.
        keys: those that were tuned.
        scores: of all candidates, in their order.
        chosen: the best of them; of equals the first.
    """

    arm: Arm
    keys: tuple[str, ...]
    scores: tuple[Score, ...]
    chosen: Score

    @property
    def text(self) -> str:
        """Say what was chosen of what, and what gives reason to doubt it."""
        tried = f"{len(self.scores)} candidates on {counted(self.chosen.seeds, 'seed')} each"
        own = {key: self.chosen.candidate.values[key] for key in self.keys}
        values = ", ".join(f"{key} {shown(value)}" for key, value in own.items())
        if self.chosen.diverged == self.chosen.seeds:
            return f"{self.arm.name}: each of {tried} diverged; {values} is the first of them"
        some = f", {self.chosen.diverged} diverged" if self.chosen.diverged else ""
        equal = [score for score in self.scores if score.rank[:2] == self.chosen.rank[:2] and score is not self.chosen]
        some += f", as {counted(len(equal), 'other')}, by the loss" if equal else ""
        best = f"{self.arm.name}: {values} is the best of {tried}, validation {self.chosen.accuracy:.2%}{some}"
        ends = [(key, self._end(key)) for key in self.keys]
        return "; ".join(
            [best, *(f"it is the {end} {key} tried, and a better one may lie beyond" for key, end in ends if end)]
        )

    def _end(self, key: str) -> str:
        """Tell whether the chosen number is the smallest or the largest of those that were tried."""
        tried, own = [score.candidate.values[key] for score in self.scores], self.chosen.candidate.values[key]
        numbers = [one for one in tried if isinstance(one, int | float) and not isinstance(one, bool)]
        if len(numbers) < len(tried) or min(numbers) == max(numbers):
            return ""
        return "smallest" if own == min(numbers) else "largest" if own == max(numbers) else ""


def choose(arm: Arm, keys: Sequence[str], runs: Mapping[str, Sequence[Run]]) -> Choice | None:
    """Choose among the candidates of an arm by their runs; None where one has not come to its end.

    Args:
        arm: with its candidates.
        keys: those that are tuned.
        runs: of each candidate, by its name.
    """
    if not all(run.status in COMPLETE for candidate in arm.candidates for run in runs[candidate.name]):
        return None
    scores = tuple(_score(candidate, runs[candidate.name]) for candidate in arm.candidates)
    chosen = min(scores, key=lambda score: score.rank)
    config = chosen.candidate.config.model_copy(update={"name": arm.name})
    values = {**arm.values, **chosen.candidate.values}
    own = {key: chosen.candidate.values[key] for key in keys}
    record = {"values": own, "candidates": len(scores), "seeds": chosen.seeds}
    tuned = replace(arm, values=values, config=config, candidates=(), chosen=record)
    return Choice(tuned, tuple(keys), scores, chosen)


def _score(candidate: Arm, runs: Sequence[Run]) -> Score:
    def mean(figure: str, otherwise: float) -> float:
        return fmean([run.figures[figure] for run in reached if figure in run.figures] or [otherwise])

    reached = [run for run in runs if run.status == "finished" and "val_accuracy" in run.figures]
    loss = mean("val_loss", inf)
    return Score(candidate, mean("val_accuracy", 0.0), loss, len(runs) - len(reached), len(runs))
