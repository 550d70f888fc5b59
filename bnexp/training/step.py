"""One training step, written once: gradients of a batch, then an update of the weights, or none."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from bnexp.measure.passes import loss_of
from bnexp.training.optimizer import LossScaler


@dataclass
class TrainStep:
    """Takes the steps of a training, in two halves, between which the gradients can be looked at and judged.

    logits, loss = train_step.gradients(x, y)
    train_step.update()                         or train_step.skip()
    """

    network: nn.Module
    forward: Callable[[Tensor], Tensor]  # inputs (B, C, H, W) to logits (B, classes): the network, or its compiled form
    optimizer: Optimizer
    scaler: LossScaler
    precision: AbstractContextManager[Any]  # around the forward pass
    grad_clip: float | None = None  # largest norm of the whole gradient

    @property
    def compiled(self) -> bool:
        """Whether the forward pass goes through torch.compile."""
        return self.forward is not self.network

    def gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Pass a batch forward and backward: afterwards `grad` of each parameter is that of the mean loss, unscaled.

        From inputs x (B, C, H, W) and labels y (B,): logits (B, classes) as floats and the mean cross-entropy () in
        nats, both detached.
        """
        logits, loss = loss_of(self.forward, self.precision, x, y)
        self.scaler.backward(loss)
        self.scaler.unscale(self.optimizer)
        return logits.detach(), loss.detach()

    def update(self) -> None:
        """Clip the gradients, let the optimizer move the weights by them, and clear them."""
        if self.grad_clip is not None:
            clip_grad_norm_(self.network.parameters(), self.grad_clip)
        self.scaler.step(self.optimizer)
        self.optimizer.zero_grad()

    def skip(self) -> None:
        """Clear the gradients without moving the weights."""
        self.scaler.skip()
        self.optimizer.zero_grad()
