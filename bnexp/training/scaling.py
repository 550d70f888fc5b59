"""Loss scaling for fp16, whose small gradients would otherwise vanish; for other precisions it does nothing."""

from collections.abc import Mapping
from typing import Any

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
        if not self.scales:
            return
        skipped = self._scaler.get_scale() < before
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0

    @property
    def scales(self) -> bool:
        """Whether the loss is scaled."""
        return self._scaler.is_enabled()

    def leave_out(self) -> None:
        """Take no step with the gradients that are there."""
        if self.scales:
            self._scaler.update()

    def figures(self) -> dict[str, float]:
        """Return scale and skips so far, for the row; nothing where nothing is scaled."""
        if not self.scales:
            return {}
        return {"loss_scale/optimizer": self._scaler.get_scale(), "skipped_steps/optimizer": float(self.skipped)}

    def state(self) -> dict[str, Any]:
        """Return the scale and the skips, so that a continued run goes on from them."""
        return {"scaler": self._scaler.state_dict(), "skipped": self.skipped, "in_a_row": self.skipped_in_a_row}

    def go_on_at(self, state: Mapping[str, Any]) -> None:
        """Go on from the scale and the skips of an earlier session."""
        self._scaler.load_state_dict(state["scaler"])
        self.skipped, self.skipped_in_a_row = state["skipped"], state["in_a_row"]
