"""Loss scaling: the steps of plain training, and skips that are counted. torch's scaler runs on the CPU as well."""

import pytest
import torch
from torch import nn

from bnexp.training.optimizer import LossScaler, begin_momentum

CPU = torch.device("cpu")


def stepped(scaler: LossScaler, factor: float = 1.0) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler.backward(layer(torch.ones(4, 3)).square().sum() * factor)
    scaler.unscale(optimizer)
    scaler.step(optimizer)
    return layer


def test_scaling_does_not_change_the_step() -> None:
    scaled, plain = stepped(LossScaler("fp16", CPU)), stepped(LossScaler("fp32", CPU))
    torch.testing.assert_close(scaled.weight, plain.weight)


def test_a_step_from_infinite_gradients_is_skipped_and_counted() -> None:
    scaler = LossScaler("fp16", CPU)
    start = scaler.figures()["loss_scale/optimizer"]
    stepped(scaler, factor=float("inf"))
    assert (scaler.skipped, scaler.skipped_in_a_row) == (1, 1)
    assert scaler.figures() == {"loss_scale/optimizer": start / 2, "skipped_steps/optimizer": 1.0}
    stepped(scaler)
    assert (scaler.skipped, scaler.skipped_in_a_row) == (1, 0)


@pytest.mark.parametrize("overflows_at", [0, 2])
def test_a_skipped_step_leaves_no_momentum(overflows_at: int) -> None:
    """Skipped by the fused kernel, on whose first step the momentum is whatever was in memory."""
    ends = []
    for fused in (True, False):
        torch.manual_seed(0)
        layer = nn.Linear(30, 20)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, fused=fused)
        scaler = LossScaler("fp16", CPU)
        if fused:
            begin_momentum(optimizer)
            torch.full((20, 30), float("nan"))  # what was in memory
        for step in range(4):
            loss = layer(torch.ones(4, 30)).square().mean()
            scaler.backward(loss * (float("inf") if step == overflows_at else 1.0))
            scaler.unscale(optimizer)
            scaler.step(optimizer)
            optimizer.zero_grad()
        ends.append(layer.weight.detach())
    torch.testing.assert_close(*ends, rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_scaling_there_is_nothing_to_show_and_nothing_is_skipped(precision: str) -> None:
    scaler = LossScaler(precision, CPU)
    layer = stepped(scaler, factor=float("inf"))
    assert scaler.figures() == {}
    assert scaler.skipped == 0
    assert not torch.isfinite(layer.weight).all()
