"""The first layer that is not finite is named, and looking for it leaves no trace in the buffers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.training.build import TrainingRun, build
from bnexp.training.divergence import buffers_are_finite, first_non_finite


@pytest.fixture
def run(make_config: Callable[..., Config]) -> TrainingRun:
    return build(draw(make_config(), Path("unused")), data_dir=Path("unused"), device="cpu")


@torch.no_grad()
def test_a_poisoned_weight_is_named_in_the_order_of_computation(run: TrainingRun) -> None:
    run.items["head"].weight[0, 0] = float("nan")
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("head", "weight")
    run.items["block2.linear"].weight[3, 3] = float("inf")
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("block2.linear", "weight")


@torch.no_grad()
def test_an_overflow_is_named_as_an_output(run: TrainingRun) -> None:
    run.items["block2.linear"].weight.fill_(3e38)
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("block2.linear", "output")


@torch.no_grad()
def test_poisoned_running_statistics_are_named_in_inference_mode(run: TrainingRun) -> None:
    run.items["block1.bn"].running_var[0] = float("nan")
    x = run.batches.at(0)[0]
    run.network.train()
    assert first_non_finite(run.network, run.items, x) == ("loss", "value")
    run.network.eval()
    assert first_non_finite(run.network, run.items, x) == ("block1.bn", "running statistics")


def test_looking_leaves_buffers_and_hooks_as_they_were(run: TrainingRun) -> None:
    run.network.train()
    before = {name: buffer.clone() for name, buffer in run.network.named_buffers()}
    assert first_non_finite(run.network, run.items, run.batches.at(0)[0]) == ("loss", "value")
    assert all(torch.equal(buffer, before[name]) for name, buffer in run.network.named_buffers())
    assert not any(module._forward_hooks for module in run.network.modules())


@torch.no_grad()
def test_running_statistics_that_overflowed_in_training_are_not_called_the_cause(run: TrainingRun) -> None:
    run.items["block1.linear"].weight.fill_(1e30)
    x = run.batches.at(0)[0]
    run.network.train()(x)  # the variance overflows, and with it the running one
    assert not buffers_are_finite(run.network)
    layer, quantity = first_non_finite(run.network, run.items, x)
    assert (layer, quantity) != ("block1.bn", "running statistics")
    assert quantity in ("output", "value")
