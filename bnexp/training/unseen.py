"""Takes the steps of a stretch unseen: nothing is brought to Python before the last of them."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bnexp.data.batches import Drawn
from bnexp.measure.samples import as_one
from bnexp.measure.subject import Look
from bnexp.norms.random_stream import RandomStream
from bnexp.probes.probe import Reading, measured_from, numbers_in
from bnexp.probes.registry import NOTHING_DUE, Due
from bnexp.training.ahead import Seen, Stretch
from bnexp.training.build import TrainingRun
from bnexp.training.divergence import RunningStatistics
from bnexp.training.kept import KeptState
from bnexp.training.optimizer import rate_of


class Expected(NamedTuple):
    """What a step is taken with: what was drawn for its batches, its settings, and the probes that look at it."""

    drawn: Sequence[Drawn]
    settings: Sequence[float]
    due: Due = NOTHING_DUE

    @property
    def examples(self) -> int:
        """How many examples its batches have together."""
        return sum(len(batch.places) for batch in self.drawn)


class Taken(NamedTuple):
    """What a step gives, on the device: its figures, (F,) or of K stacked runs (F, K); the readings of probes at it.

    `numbers` has the row of all numbers in the readings (`numbers_in`), if there are any.
    """

    figures: Tensor
    readings: Sequence[Reading] = ()
    numbers: Sequence[Tensor] = ()


class Stepped(NamedTuple):
    """What a step leaves on the device, of which its figures are made; of K stacked runs each has K in front.

    Attributes:
        loss: mean over the examples of all its batches, ().
        logits: of all its batches, (N, classes).
        labels: (N,).
        others: further figures, () each.
        readings: of probes that looked at it.
        numbers: the row of all numbers in the readings (`numbers_in`), if there are any.
    """

    loss: Tensor
    logits: Tensor
    labels: Tensor
    others: Sequence[Tensor] = ()
    readings: Sequence[Reading] = ()
    numbers: Sequence[Tensor] = ()


def figures_of(steps: Sequence[Stepped]) -> Tensor:
    """Return the figures of S steps with batches of one size, their losses, correct answers and others: (S, F).

    Of K stacked runs they are (S, F, K). A GPU takes as long for those of ten steps as for those of one.
    """
    losses, logits, labels = (as_one(parts) for parts in zip(*(step[:3] for step in steps), strict=True))
    corrects = (logits.argmax(dim=-1) == labels).sum(dim=-1)
    others = (as_one(parts) for parts in zip(*(step.others for step in steps), strict=True))
    return torch.stack([losses.float(), corrects.float(), *others], dim=1)


def told(step: Stepped) -> Taken:
    """Return what a step gives, with the figures of what it leaves."""
    return Taken(figures_of([step])[0], step.readings, step.numbers)


class Steps:
    """Takes the steps of a run with nothing brought to Python.

    `expect` returns what Python has to say of a step, `set` writes the settings of that where the step reads them, and
    `take` is work of the device alone, so that it can be recorded (graph.py).
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run, self._kept, self._statistics = run, KeptState(run), RunningStatistics(run.network)
        # No norm of bnexp's ever comes back from statistics that are not finite: to look once, at the end, is enough.
        self._looks_at_each = run.has_own_code

    def kept(self) -> KeptState:
        """Return what keeps, and puts back, all that the steps change."""
        return self._kept

    def sight(self) -> "Sight":
        """Return what brings to Python what is to be seen of a stretch that begins now."""
        return Sight(self._run, self._statistics)

    @property
    def streams(self) -> Sequence[RandomStream]:
        """The random streams that they draw from."""
        return self._kept.streams

    def forget(self) -> None:
        """Forget the gradients of a step that was not taken to its end."""
        self._run.train_step.abandon()

    def expect(self, step: int) -> Expected:
        """Return what a step is taken with, counted from 1: to be called once for each, in order."""
        run = self._run
        settings = run.train_step.settings(run.learning_rate(step))
        return Expected([run.batches.draw(batch) for batch in run.plan.batches_of(step)], settings, run.probes.at(step))

    def set(self, settings: Sequence[float]) -> None:
        """Set the learning rate of the next step, and what it weighs in the average."""
        self._run.train_step.set(settings)

    @property
    def settable(self) -> list[Tensor]:
        """The tensors () that hold the settings on CUDA."""
        return self._run.train_step.settable

    def take(self, expected: Expected) -> Stepped:
        """Take the step by the settings that are set.

        Beside loss and correct answers its figures are what is 0 while the running statistics are finite (only where a
        norm is code of one's own), and the scale of the loss after it (only where it is scaled).
        """
        (*earlier, last), _, due = expected
        train_step, gather = self._run.train_step, self._run.batches.gather
        for batch in earlier:
            train_step.accumulate(*gather(*batch), of=expected.examples)
        x, y = gather(*last)
        look = Look(self._run.subject, 0, rate_of(train_step.optimizer), x, y)  # a recorded look has no number
        due.before(look)
        logits, labels, loss = train_step.gradients(x, y)
        zeros = self._statistics.zero() if self._looks_at_each else []
        readings = due.after_backward(look)
        train_step.update(unseen=True)
        readings += due.after_step(look)
        scale = [scale.clone() for scale in train_step.scaler.tensors[:1]]  # the next step writes into it
        return Stepped(loss, logits, labels, [*zeros, *scale], readings, [numbers_in(readings)] if readings else [])


def looks_at_weights(run: TrainingRun) -> bool:
    """Tell whether the weights must be finite at the end of a stretch.

    With this policy alone the guard of a run looks at gradients; one that is not finite leaves such a weight.
    """
    return run.config.training.on_divergence == "skip_step"


def seen_of(figures: Sequence[float], width: int, ends: Sequence[float], scale_before: Sequence[float] = ()) -> Seen:
    """Return what is seen of steps by their figures, `width` of each in a row: see `Steps.take`.

    `ends` are finite where running statistics and weights are so at the end; `scale_before` has the scale of the loss
    before the first step, where it is scaled.
    """
    losses, corrects, *others = (figures[column::width] for column in range(width))
    scales = [*scale_before, *(others.pop() if scale_before else [])]
    skipped = any(after < before for before, after in itertools.pairwise(scales))
    return Seen(losses, corrects, not skipped and all(map(math.isfinite, itertools.chain(*others, ends))))


class Sight:
    """Brings to Python what is to be seen of a stretch that begins here, in one transfer at its end."""

    def __init__(self, run: TrainingRun, statistics: RunningStatistics) -> None:
        self._run, self._statistics = run, statistics
        self._before = [scale.clone() for scale in run.train_step.scaler.tensors[:1]]

    def of(self, taken: Sequence[Taken], meanwhile: Callable[[], None]) -> Seen:
        """Return what is seen of steps that were asked of the device; `meanwhile` is called before it is waited for."""
        norm = [get_total_norm(self._run.network.parameters())] if looks_at_weights(self._run) else []
        figures, (_, readings, numbers) = [step.figures for step in taken], taken[-1]
        ends = [*norm, *self._statistics.zero()]
        together = torch.cat([*figures, *(one.reshape(1) for one in (*self._before, *ends)), *numbers])
        meanwhile()
        width, parts = len(figures[0]), [len(figures) * len(figures[0]), len(self._before), len(ends)]
        brought = iter(together.tolist())
        of_steps, before, at_end = (list(itertools.islice(brought, count)) for count in parts)
        return seen_of(of_steps, width, at_end, before)._replace(measured=measured_from(readings, list(brought)))


class OneByOne:
    """Takes the steps of a stretch as they are, each asked of the device before the one before it is done."""

    def __init__(self, run: TrainingRun) -> None:
        self._steps = Steps(run)

    def __call__(self, stretch: Stretch) -> Seen:
        """Take all steps of a stretch; nothing is brought to Python before the last."""
        sight, taken = self._steps.sight(), list[Taken]()
        for step in stretch.steps:
            expected = self._steps.expect(step)
            self._steps.set(expected.settings)
            taken.append(told(self._steps.take(expected)))
        return sight.of(taken, stretch.meanwhile)
