"""A step: the gradients of the mean loss, then an update of the weights, or none."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.measure.passes import training_pass
from bnexp.measure.subject import Look
from bnexp.training.averaging import WeightAverage
from bnexp.training.build import build
from bnexp.training.evaluation import score_of
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


def test_smoothed_labels_give_their_closed_form_and_only_in_training(make_config: Callable[..., Config]) -> None:
    part, config = 0.3, make_config(training={"label_smoothing": 0.3}, probes={})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    network, (x, y) = run.network.double(), run.batches.at(0)
    (first, _, loss), found = (
        run.train_step.gradients(x.double(), y),
        training_pass(Look(run.subject, 1, 0.1, x.double(), y), [*network.parameters()]),
    )
    logs = first.double().log_softmax(1)  # (B, classes)
    classes = logs.shape[1]
    target = torch.full_like(logs, part / classes).scatter(1, y.unsqueeze(1), 1 - part + part / classes)
    expected = -(target * logs).sum(1).mean()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    assert torch.equal(found.loss, loss)
    head = [*network.parameters()][-1]  # its bias: the gradient is the mean of softmax - target
    torch.testing.assert_close(head.grad, (logs.exp() - target).mean(0), rtol=1e-5, atol=1e-7)
    network.float()
    with torch.no_grad():
        val = network.eval()(run.dataset.inputs(run.dataset.val.images))
    assert score_of(run, run.dataset.val).loss == pytest.approx(cross_entropy(val, run.dataset.val.labels).item())
