"""Collects the figures of the steps on the device and writes them as rows, with one transfer a row."""

import math
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.config.plan import Plan
from bnexp.probes.evaluation import Score
from bnexp.probes.probe import Reading
from bnexp.store.writers import Writer
from bnexp.training.clock import Clock


class StepLog:
    """Averages training loss and accuracy between rows, and writes the rows.

    Args:
        plan: for the epoch of a step.
        writer: takes the rows.
        clock: for the speed.
    """

    def __init__(self, plan: Plan, writer: Writer, clock: Clock) -> None:
        self._plan, self._writer, self._clock = plan, writer, clock
        self._losses: list[float] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._recent: deque[_Step] = deque(maxlen=plan.steps_per_epoch)

    def add(self, loss: float, logits: Tensor, labels: Tensor) -> None:
        """Note a step: mean loss of its batch, logits (B, classes), labels (B,)."""
        self._losses.append(loss)
        self._logits.append(logits.detach())
        self._labels.append(labels)
        self._clock.count(len(labels))

    def write(
        self,
        step: int,
        figures: dict[str, float],
        readings: Sequence[Reading],
        *,
        averages: bool,
        score: Score | None = None,
    ) -> None:
        """Write the row of a step, counted from 1.

        Args:
            step: of the row.
            figures: what the loop itself knows, such as the learning rate.
            readings: what the probes saw.
            averages: include training loss and accuracy, averaged over the examples since the last time.
            score: of the validation part, when it was evaluated.
        """
        corrects, scalars = self._transfer(readings, averages)
        row: dict[str, float] = {"epoch": self._plan.epoch_at(step)}
        if averages:
            mean = self._average(corrects)
            row |= {"loss/train": mean.loss, "accuracy/train": mean.accuracy, **figures, **self._clock.pace().figures()}
        if score is not None:
            row |= {"loss/val": score.loss, "accuracy/val": score.accuracy}
        self._writer.scalars(step, row | scalars)
        for reading in readings:
            if reading.histograms:
                values = {name: tensor.float().cpu().numpy() for name, tensor in reading.histograms.items()}
                self._writer.histograms(step, values)

    def last_epoch(self) -> Score:
        """Return loss and accuracy over the training batches of the last epoch (of all steps, where they are fewer)."""
        return _mean(self._recent)

    def _transfer(self, readings: Sequence[Reading], averages: bool) -> tuple[list[float], dict[str, float]]:
        """Bring the counts of correct answers and the probes' figures to Python together."""
        scalars = {name: value for reading in readings for name, value in reading.scalars.items()}
        corrects = self._corrects() if averages else []
        together = [*corrects, *scalars.values()]
        numbers = torch.stack([tensor.float() for tensor in together]).tolist() if together else []
        return numbers[: len(corrects)], dict(zip(scalars, numbers[len(corrects) :], strict=True))

    def _corrects(self) -> list[Tensor]:
        """Count the correct answers of each step since the last time, all at once: one by one costs far more."""
        if not self._labels:
            return []
        right = torch.cat(self._logits).argmax(dim=1) == torch.cat(self._labels)  # (all examples,)
        return [step.sum() for step in right.split([len(labels) for labels in self._labels])]

    def _average(self, corrects: list[float]) -> Score:
        """Average the steps since the last time over their examples."""
        counts = map(len, self._labels)
        steps = [_Step(*step) for step in zip(self._losses, corrects, counts, strict=True)]
        self._recent.extend(steps)
        self._losses, self._logits, self._labels = [], [], []
        return _mean(steps)


class _Step(NamedTuple):
    """Mean loss, correct answers and examples of a batch."""

    loss: float
    correct: float
    examples: int


def _mean(steps: Collection[_Step]) -> Score:
    """Average over examples, so that a short last batch counts for less."""
    examples = sum(step.examples for step in steps)
    if not examples:
        return Score(math.nan, math.nan)
    loss = math.fsum(step.loss * step.examples for step in steps)
    return Score(loss / examples, sum(step.correct for step in steps) / examples)
