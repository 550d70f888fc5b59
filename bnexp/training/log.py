"""Collects the figures of the steps on the device and writes them as rows, with one transfer a row."""

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.config.plan import Plan
from bnexp.measure.evaluation import Score
from bnexp.measure.machine import numbers_of
from bnexp.probes.probe import NOTHING_MEASURED, Measured
from bnexp.runs.rows import Counts, Writer
from bnexp.training.clock import Clock
from bnexp.training.state import Each

_MOST_KEPT = 500
"""Steps whose logits are kept for the next row; where rows are further apart, they are counted on the way."""


class StepLog:
    """Averages training loss and accuracy between rows, and writes the rows."""

    def __init__(self, plan: Plan, writer: Writer, clock: Clock) -> None:
        self._plan, self._writer, self._clock = plan, writer, clock
        self._losses: list[float] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._counted: list[_Step] = []
        self._recent: deque[_Step] = deque(maxlen=plan.steps_per_epoch)
        self._pending: Callable[[], None] | None = None

    def add(self, loss: float, logits: Tensor, labels: Tensor) -> None:
        """Note a step: mean loss of its batch, logits (B, classes), detached, and labels (B,)."""
        self._losses.append(loss)
        self._logits.append(logits)
        self._labels.append(labels)
        self._clock.count(len(labels))
        if len(self._labels) == _MOST_KEPT:
            with self._clock.measuring():
                self._count(numbers_of(self._corrects()))

    def add_counted(self, losses: Sequence[float], corrects: Sequence[float], examples: Sequence[int]) -> None:
        """Note steps of which Python has the mean losses, the correct answers and the examples."""
        if self._labels:
            with self._clock.measuring():
                self._count(numbers_of(self._corrects()))
        self._counted += [_Step(*step) for step in zip(losses, corrects, examples, strict=True)]
        for count in examples:
            self._clock.count(count)

    def write(
        self,
        step: int,
        figures: dict[str, float],
        measured: Measured = NOTHING_MEASURED,
        *,
        averages: bool,
        score: Score | None = None,
        averaged: Mapping[str, float] | None = None,
        later: bool = False,
    ) -> None:
        """Write the row of a step, counted from 1: what probes measured, and the scores of the validation part if any.

        With `averages`, it has the figures of the loop, such as the learning rate, beside training loss and accuracy
        over the examples since the last time. A row for `later` is written by `catch_up`.
        """
        self.catch_up()
        with self._clock.measuring():
            row: dict[str, float] = {"epoch": self._plan.epoch_at(step)}
            if averages:
                self._count(numbers_of(self._corrects()))
                self._recent.extend(self._counted)
                mean, self._counted = _mean(self._counted), []
                row |= {"loss/train": mean.loss, "accuracy/train": mean.accuracy, **figures}
                row |= self._clock.figures()
            if score is not None:
                row |= {**{f"{name}/val": value for name, value in score.figures().items()}, **(averaged or {})}
            row |= measured.scalars
            self._pending = partial(self._hand_over, step, row, measured.histograms)
        if not later:
            self.catch_up()

    def catch_up(self, *, for_others: bool = False) -> None:
        """Hand the row that was to be written later to the writer, if there is one.

        `for_others`, called by what takes steps of other runs as well, it leaves an error to the next call.
        """
        if self._pending is None:
            return
        hand_over, self._pending = self._pending, None
        try:
            with self._clock.measuring():
                hand_over()
        except Exception as error:
            if not for_others:
                raise
            self._pending = partial(_raise, error)

    def _hand_over(self, step: int, row: dict[str, float], histograms: dict[str, Counts]) -> None:
        self._writer.scalars(step, row)
        if histograms:
            self._writer.histograms(step, histograms)

    def recent_loss(self) -> float | None:
        """Return the mean training loss over the steps since the last row; None without any. Nothing is transferred."""
        pending = zip(self._losses, map(len, self._labels), strict=True)
        steps = [*((step.loss, step.examples) for step in self._counted), *pending]
        examples = sum(count for _, count in steps)
        return math.fsum(loss * count for loss, count in steps) / examples if examples else None

    def recent(self, most: int) -> Score | None:
        """Return loss and accuracy over the last `most` steps, an epoch of them at most; None without any."""
        with self._clock.measuring():
            self._count(numbers_of(self._corrects()))
        steps = [*self._recent, *self._counted][-min(most, self._plan.steps_per_epoch) :]
        return _mean(steps) if steps else None

    def last_epoch(self) -> Score:
        """Return loss and accuracy over the training batches of the last epoch (of all steps, where they are fewer)."""
        return self.recent(self._plan.steps_per_epoch) or _mean([])

    def state_dict(self) -> dict[str, list[tuple[float, ...]]]:
        """Return the steps since the last row, and those of the last epoch, which averages are taken over."""
        self._count(numbers_of(self._corrects()))
        return {"since_row": [*map(tuple, self._counted)], "recent": [*map(tuple, self._recent)]}

    def load_state_dict(self, state: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Resume from the steps of an earlier session."""
        self._counted = list(map(_Step._make, state["since_row"]))
        self._recent.extend(map(_Step._make, state["recent"]))

    def state_form(self) -> dict[str, Each]:
        """Return what a stored state may be: any number of steps."""
        return dict.fromkeys(("since_row", "recent"), Each((0.0, 0.0, 0)))

    def _corrects(self) -> list[Tensor]:
        """Count the correct answers of each step since the last row, all at once: one by one costs far more."""
        if not self._labels:
            return []
        right = torch.cat(self._logits).argmax(dim=1) == torch.cat(self._labels)  # (all examples,)
        sizes = [len(labels) for labels in self._labels]
        if min(sizes) == max(sizes):
            return list(right.view(len(sizes), -1).sum(dim=1).float().unbind())
        return [step.sum() for step in right.split(sizes)]

    def _count(self, corrects: list[float]) -> None:
        """Replace logits and labels by the number of correct answers."""
        counts = map(len, self._labels)
        self._counted += [_Step(*step) for step in zip(self._losses, corrects, counts, strict=True)]
        self._losses, self._logits, self._labels = [], [], []


class _Step(NamedTuple):
    """Mean loss, correct answers and examples of a batch."""

    loss: float
    correct: float
    examples: int


def _raise(error: Exception) -> None:
    raise error


def _mean(steps: Collection[_Step]) -> Score:
    """Average over examples, so that a short last batch counts for less."""
    examples = sum(step.examples for step in steps)
    if not examples:
        return Score(math.nan, math.nan)
    loss = math.fsum(step.loss * step.examples for step in steps)
    return Score(loss / examples, sum(step.correct for step in steps) / examples)
