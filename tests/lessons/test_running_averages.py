"""Running averages: those of torch, and their memory in closed form against the weights that a sum would have."""

import math

import pytest
import torch
from torch import nn

from bnexp.document.lesson import Lines
from bnexp.lessons.running_averages import averages, memory, running_statistics


@pytest.mark.parametrize("momentum", [0.001, 0.1, 1.0])
def test_running_statistics_are_those_of_torch(momentum: float) -> None:
    batches = torch.randn(7, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    module = nn.BatchNorm1d(3, momentum=momentum, dtype=torch.float64)
    for batch, (mean, var) in zip(batches, running_statistics(batches, momentum)[1:], strict=True):
        module(batch)
        torch.testing.assert_close((mean, var), (module.running_mean, module.running_var))


@pytest.mark.parametrize("momentum", [0.02, 0.3, 0.9, 1.0])
def test_memory_is_what_an_average_of_numbers_shows(momentum: float) -> None:
    row = next(one for one in memory(momentum)[1].numbers["memory"] if one["momentum"] == f"{momentum:g}")
    # The weights of the batches, the newest first, by which a running average sums them up.
    weights = momentum * (1 - momentum) ** torch.arange(5000, dtype=torch.float64)
    assert row["N = 1/momentum"] == pytest.approx(1 / momentum)
    if momentum in (0.02, 1.0):  # whole numbers of batches
        assert row["weight of the last N"] == pytest.approx(weights[: round(1 / momentum)].sum().item())
    assert (1 - momentum) ** row["half-life"] == pytest.approx(0.5 if momentum < 1 else 1)
    assert row["scatter"] == pytest.approx(weights.norm().item())


def test_the_curves_begin_before_the_first_batch_which_has_no_mean_yet() -> None:
    batches = 5 + torch.randn(100, 4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lines = next(part for part in averages(batches, running_statistics(batches, 0.5), 0.5) if isinstance(part, Lines))
    assert list(lines.x) == list(range(101))
    assert math.isnan(lines.series["of the batch"][0])
    assert list(lines.series["of the batch"][1:]) == batches.mean(dim=1).flatten().tolist()
    assert lines.series["running"][:2] == [0, pytest.approx(batches[0].mean().item() / 2)]
