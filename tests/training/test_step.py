"""A step: the gradients of the mean loss, then an update of the weights, or none."""

import contextlib

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp.training.averaging import WeightAverage
from bnexp.training.optimizer import LossScaler
from bnexp.training.step import TrainStep

CPU = torch.device("cpu")


def made(precision: str = "fp32", grad_clip: float | None = None) -> TrainStep:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    return TrainStep(network, network, optimizer, LossScaler(precision, CPU), contextlib.nullcontext(), grad_clip)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 3, 2, 2, generator=generator), torch.randint(5, (8,), generator=generator)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_are_those_of_the_mean_loss_without_its_scale(precision: str, batch: tuple[Tensor, Tensor]) -> None:
    step = made(precision)
    logits, labels, loss = step.gradients(*batch)
    assert torch.equal(labels, batch[1])
    expected = cross_entropy(step.network(batch[0]), batch[1])
    assert torch.equal(logits, step.network(batch[0]))
    assert torch.equal(loss, expected)
    assert not logits.requires_grad
    assert not loss.requires_grad
    for parameter, gradient in zip(
        step.network.parameters(), torch.autograd.grad(expected, [*step.network.parameters()]), strict=True
    ):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_batches_of_a_step_count_by_their_examples(precision: str, batch: tuple[Tensor, Tensor]) -> None:
    step, (x, y) = made(precision), batch
    step.accumulate(x[:3], y[:3], of=8)
    step.accumulate(x[3:6], y[3:6], of=8)
    logits, labels, loss = step.gradients(x[6:], y[6:])
    expected = cross_entropy(step.network(x), y)
    torch.testing.assert_close(logits, step.network(x).detach())
    assert torch.equal(labels, y)
    torch.testing.assert_close(loss, expected.detach())
    gradients = torch.autograd.grad(expected, [*step.network.parameters()])
    for parameter, gradient in zip(step.network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    step.update()
    assert torch.equal(step.gradients(x, y).loss, cross_entropy(step.network(x), y).detach())  # none is left over


def test_an_update_moves_the_weights_by_the_clipped_gradients_and_clears_them(batch: tuple[Tensor, Tensor]) -> None:
    step = made(grad_clip=1e-3)
    before = [parameter.detach().clone() for parameter in step.network.parameters()]
    step.gradients(*batch)
    step.update()
    moved = [old - new.detach() for old, new in zip(before, step.network.parameters(), strict=True)]
    length = torch.cat([change.flatten() for change in moved]).norm().item()
    assert length == pytest.approx(0.5 * 1e-3, rel=1e-3)
    assert all(parameter.grad is None for parameter in step.network.parameters())


def test_a_step_that_loss_scaling_skips_is_not_averaged(batch: tuple[Tensor, Tensor]) -> None:
    step = made("fp16")
    step.average = WeightAverage(step.network, 0.9)
    for scale, taken in ((float("inf"), 0), (1.0, 1)):
        step.gradients(batch[0] * scale, batch[1])
        step.update()
        assert step.average.steps == taken


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_skipped_step_leaves_the_weights_and_the_next_one_is_taken(
    precision: str, batch: tuple[Tensor, Tensor]
) -> None:
    step, other = made(precision), made(precision)
    step.gradients(*batch)
    step.skip()
    assert all(parameter.grad is None for parameter in step.network.parameters())
    for taken in (step, other):
        taken.gradients(*batch)
        taken.update()
    for ours, theirs in zip(step.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
