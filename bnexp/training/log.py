"""Collects the figures of the steps on the device and writes them as rows, with one transfer a row."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.config.plan import Plan
from bnexp.probes.probe import Reading
from bnexp.store.writers import Writer
from bnexp.training.clock import Clock
from bnexp.training.evaluation import Score


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
        self._corrects: list[Tensor] = []
        self._counts: list[int] = []
        self._recent: deque[_Sums] = deque()

    def add(self, loss: float, logits: Tensor, labels: Tensor) -> None:
        """Note a step: mean loss of its batch, logits (B, classes), labels (B,)."""
        self._losses.append(loss)
        self._corrects.append((logits.detach().argmax(dim=1) == labels).sum())
        self._counts.append(len(labels))
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
        """Return loss and accuracy over the training batches of the last epoch, or of all steps where they are fewer.

        Whole rows are counted, so up to one logging interval more than an epoch may be in it.
        """
        total = _Sums()
        for sums in self._recent:
            total.add(sums)
        return total.mean()

    def _transfer(self, readings: Sequence[Reading], averages: bool) -> tuple[list[float], dict[str, float]]:
        """Bring the counts of correct answers and the probes' figures to Python together."""
        scalars = {name: value for reading in readings for name, value in reading.scalars.items()}
        corrects = self._corrects if averages else []
        together = [*corrects, *scalars.values()]
        numbers = torch.stack([tensor.float() for tensor in together]).tolist() if together else []
        return numbers[: len(corrects)], dict(zip(scalars, numbers[len(corrects) :], strict=True))

    def _average(self, corrects: list[float]) -> Score:
        """Average over examples, so that a short last batch counts for less."""
        loss = sum(loss * count for loss, count in zip(self._losses, self._counts, strict=True))
        sums = _Sums(loss, sum(corrects), sum(self._counts))
        self._recent.append(sums)
        kept = sum(other.examples for other in self._recent)
        while kept - self._recent[0].examples >= self._plan.examples_per_epoch:
            kept -= self._recent.popleft().examples
        self._losses, self._corrects, self._counts = [], [], []
        return sums.mean()


@dataclass
class _Sums:
    """Sums over examples."""

    loss: float = 0.0
    correct: float = 0.0
    examples: int = 0

    def add(self, other: "_Sums") -> None:
        self.loss += other.loss
        self.correct += other.correct
        self.examples += other.examples

    def mean(self) -> Score:
        if self.examples == 0:
            return Score(math.nan, math.nan)
        return Score(self.loss / self.examples, self.correct / self.examples)
