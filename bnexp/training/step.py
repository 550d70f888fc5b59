"""One training step, written once: gradients of one or more batches, then an update of the weights, or none."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from bnexp.measure.passes import loss_of
from bnexp.training.averaging import WeightAverage
from bnexp.training.optimizer import LossScaler, rate_of, set_learning_rate


class Passed(NamedTuple):
    """What the forward passes of a step gave: logits (N, classes) as floats, labels (N,), mean loss () in nats."""

    logits: Tensor
    labels: Tensor
    loss: Tensor


@dataclass
class TrainStep:
    """Takes the steps of a training, in two halves, between which the gradients can be looked at and judged.

    train_step.accumulate(x, y, of=N)               where the step has more than one batch, for all but the last
    logits, y, loss = train_step.gradients(x, y)
    train_step.update()                             or train_step.skip()
    """

    network: nn.Module
    forward: Callable[[Tensor], Tensor]  # inputs (B, C, H, W) to logits (B, classes): the network, or its compiled form
    optimizer: Optimizer
    scaler: LossScaler
    precision: AbstractContextManager[Any]  # around the forward pass
    grad_clip: float | None = None  # largest norm of the whole gradient
    average: WeightAverage | None = None
    label_smoothing: float = 0.0  # of the loss that is optimized
    _earlier: list[Passed] = field(default_factory=list)  # batches of the present step, with their parts of its loss

    @property
    def compiled(self) -> bool:
        """Whether the forward pass goes through torch.compile."""
        return self.forward is not self.network

    def accumulate(self, x: Tensor, y: Tensor, *, of: float) -> None:
        """Pass a batch forward and backward, and add its part of the gradient of a step `of` so many examples.

        Inputs x (B, C, H, W) and labels y (B,) weigh B / of: the sum over all batches is the gradient of the mean loss
        over all examples, however they are divided.
        """
        logits, loss = loss_of(self.forward, self.precision, x, y, self.label_smoothing)
        if len(y) != of:
            loss = loss * (len(y) / of)
        self.scaler.backward(loss)
        self._earlier.append(Passed(logits.detach(), y, loss.detach()))

    def gradients(self, x: Tensor, y: Tensor) -> Passed:
        """Pass the last batch of a step: afterwards `grad` of each parameter is that of the mean loss, unscaled.

        The mean is over the examples of all its batches, and so is what is returned, detached.
        """
        earlier = sum(len(passed.labels) for passed in self._earlier) if self._earlier else 0
        self.accumulate(x, y, of=len(y) + earlier)
        self.scaler.unscale(self.optimizer)
        passed, self._earlier = self._earlier, []
        if len(passed) == 1:
            return passed[0]
        logits, labels, losses = zip(*passed, strict=True)
        return Passed(torch.cat(logits), torch.cat(labels), torch.stack(losses).sum())

    def update(self, *, unseen: bool = False) -> None:
        """Clip the gradients, let the optimizer move the weights by them, and clear them.

        `unseen`, after `set`, nothing is brought to Python, and a step that loss scaling skips counts as taken.
        """
        if self.grad_clip is not None:
            clip_grad_norm_(self.network.parameters(), self.grad_clip)
        if self.scaler.step(self.optimizer, unseen=unseen) and self.average is not None:
            self.average.take_in() if unseen else self.average.update()
        self.optimizer.zero_grad()

    def settings(self, lr: float) -> list[float]:
        """Count a step that is taken unseen, and return what it goes by: its rate, and what the average takes in."""
        return [lr] if self.average is None else [lr, self.average.count()]

    def set(self, settings: Sequence[float]) -> None:
        """Set by what the next `update(unseen=True)` goes."""
        set_learning_rate(self.optimizer, settings[0])
        if self.average is not None:
            self.average.weigh(settings[1])

    @property
    def settable(self) -> list[Tensor]:
        """The tensors () that hold these settings on CUDA; nothing where they are numbers."""
        held = [rate_of(self.optimizer), *([] if self.average is None else [self.average.weight])]
        return [value for value in held if isinstance(value, Tensor)]

    def abandon(self) -> None:
        """Forget what a step has left that broke off somewhere."""
        self._earlier = []
        self.scaler.abandon()
        self.optimizer.zero_grad()

    def skip(self) -> None:
        """Clear the gradients without moving the weights."""
        self.scaler.skip()
        self.optimizer.zero_grad()
