"""Collects the figures of the steps on the device and writes them as rows, with one transfer a row."""

import math
from collections.abc import Sequence

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
        self._losses: list[Tensor] = []
        self._corrects: list[Tensor] = []
        self._counts: list[int] = []
        self._period = _Sums()
        self.train_score: Score | None = None

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Note a step: mean loss () of its batch, logits (B, classes), labels (B,). Nothing leaves the device."""
        self._losses.append(loss.detach())
        self._corrects.append((logits.detach().argmax(dim=1) == labels).sum())
        self._counts.append(len(labels))
        self._clock.count(len(labels))

    def write(self, step: int, lr: float, readings: Sequence[Reading], *, averages: bool, score: Score | None) -> None:
        """Write the row of a step, counted from 1.

        Args:
            step: steps taken.
            lr: learning rate of the step.
            readings: what the probes saw.
            averages: include training loss and accuracy, averaged over the examples since the last time.
            score: of the validation part, when it was evaluated.
        """
        device_scalars = {name: value for reading in readings for name, value in reading.scalars.items()}
        losses, corrects, scalars = self._transfer(device_scalars, averages)
        row: dict[str, float] = {"epoch": self._plan.epoch_at(step)}
        if averages:
            mean = self._average(losses, corrects)
            pace = self._clock.pace()
            row |= {"loss/train": mean.loss, "accuracy/train": mean.accuracy, "learning_rate/optimizer": lr}
            row |= {"time/step_ms": pace.step_ms, "time/examples_per_s": pace.examples_per_s}
            row |= {"time/measuring_share": pace.measuring_share}
        if score is not None:
            row |= {"loss/val": score.loss, "accuracy/val": score.accuracy}
            self.train_score, self._period = self._period.mean(), _Sums()
        self._writer.scalars(step, row | scalars)
        for reading in readings:
            if reading.histograms:
                values = {name: tensor.float().cpu().numpy() for name, tensor in reading.histograms.items()}
                self._writer.histograms(step, values)

    def _transfer(
        self, scalars: dict[str, Tensor], averages: bool
    ) -> tuple[list[float], list[float], dict[str, float]]:
        """Bring losses, counts of correct answers and the probes' figures to Python together."""
        collected = [*self._losses, *self._corrects] if averages else []
        together = [*collected, *scalars.values()]
        if not together:
            return [], [], {}
        numbers = torch.stack([tensor.float() for tensor in together]).tolist()
        steps = len(collected) // 2
        figures = dict(zip(scalars, numbers[len(collected) :], strict=True))
        return numbers[:steps], numbers[steps : len(collected)], figures

    def _average(self, losses: list[float], corrects: list[float]) -> Score:
        """Average over examples, so that a short last batch counts for less."""
        sums = _Sums()
        sums.loss = sum(loss * count for loss, count in zip(losses, self._counts, strict=True))
        sums.correct, sums.examples = sum(corrects), sum(self._counts)
        self._period.add(sums)
        self._losses, self._corrects, self._counts = [], [], []
        return sums.mean()


class _Sums:
    """Sums over examples."""

    def __init__(self) -> None:
        self.loss, self.correct, self.examples = 0.0, 0.0, 0

    def add(self, other: "_Sums") -> None:
        self.loss, self.correct = self.loss + other.loss, self.correct + other.correct
        self.examples += other.examples

    def mean(self) -> Score:
        if self.examples == 0:
            return Score(math.nan, math.nan)
        return Score(self.loss / self.examples, self.correct / self.examples)
