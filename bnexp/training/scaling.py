"""Loss scaling for fp16, whose small gradients would otherwise vanish; for other precisions it does nothing."""

import torch
from torch import Tensor
from torch.optim import Optimizer

MOST_SKIPS_IN_A_ROW = 50
"""The scale is halved at each skip: from its start at 65,536 this leads far below anything that could still help."""


class LossScaler:
    """torch's `GradScaler`, which skips a step whose gradients overflowed; the skips are counted and can be seen.

    Args:
        precision: fp16 scales, fp32 and bf16 do not.
        device: where the network lies.
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.skipped = 0
        self.skipped_in_a_row = 0

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass from the scaled loss ()."""
        self._scaler.scale(loss).backward()

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale again: from here on they are what the loss really gave."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Take a step of the optimizer, or skip it when a gradient is not finite and the loss is scaled."""
        before = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        if not self._scaler.is_enabled():
            return
        skipped = self._scaler.get_scale() < before
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0

    def figures(self) -> dict[str, float]:
        """Return scale and skips so far, for the row; nothing where nothing is scaled."""
        if not self._scaler.is_enabled():
            return {}
        return {"loss_scale/optimizer": self._scaler.get_scale(), "skipped_steps/optimizer": float(self.skipped)}
