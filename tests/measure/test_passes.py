"""Passes of a probe's own: those of the training step, without a trace."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.measure.passes import distance, inputs_of, loss_of, training_pass
from bnexp.measure.subject import Look
from bnexp.probes.registry import PROBES
from bnexp.training.build import TrainingRun, build

MODEL = {"norm": "noisy_bn", "block": "linear -> norm -> act -> dropout(p=0.3)"}
WITH_PASSES = ("covariate_shift", "landscape", "cost", "invariance")


def looked_at(config: Config) -> tuple[TrainingRun, Look]:
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    run.network.train()
    return run, Look(run.subject, 1, 0.1, *run.batches.at(0))


def state_of(run: TrainingRun) -> tuple[list[Tensor], list[bool]]:
    """Return weights, buffers, streams, gradients and what the optimizer remembers; and the modes."""
    tensors = [value for value in run.network.state_dict().values() if torch.is_tensor(value)]
    tensors += [parameter.grad for parameter in run.network.parameters() if parameter.grad is not None]
    tensors += [
        value for kept in run.train_step.optimizer.state.values() for value in kept.values() if torch.is_tensor(value)
    ]
    modes = [module.training for module in run.network.modules()]
    return [torch.get_rng_state(), *(tensor.detach().clone() for tensor in tensors)], modes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", WITH_PASSES)
def test_probes_with_passes_of_their_own_leave_everything_as_it_was(
    make_config: Callable[..., Config], name: str, precision: str
) -> None:
    config = make_config(model=MODEL, training={"precision": precision}, probes={name: {"every": 1}})
    run, look = looked_at(config)
    probe = PROBES[name](getattr(config.probes, name))
    for _ in range(2):
        probe.before(look)
        with run.precision:
            logits = run.network(look.x)
        functional.cross_entropy(logits.float(), look.y).backward()
        run.items["block2.noisy_bn"].eval()  # a frozen norm must stay frozen
        readings = []
        for moment in (probe.after_backward, probe.after_step):
            before, modes = state_of(run)
            readings.append(moment(look).scalars)
            after, modes_after = state_of(run)
            assert all(torch.equal(value, other) for value, other in zip(before, after, strict=True))
            assert modes == modes_after
            run.train_step.optimizer.step()
        run.network.train()
    assert any(readings)
    assert all(value.shape == () and not value.requires_grad for reading in readings for value in reading.values())


def test_a_pass_is_that_of_the_step_and_each_draws_the_same(make_config: Callable[..., Config]) -> None:
    run, look = looked_at(make_config(model=MODEL, training={"label_smoothing": 0.2}))
    parameters = list(run.network.parameters())
    found, again = training_pass(look, parameters), training_pass(look, parameters)
    logits = run.network(look.x)
    loss = functional.cross_entropy(logits, look.y, label_smoothing=0.2)
    loss.backward()
    assert torch.equal(found.logits, logits)
    assert torch.equal(found.loss, loss)
    for first, second, parameter in zip(found.gradients, again.gradients, parameters, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first, parameter.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_is_that_of_smoothed_labels(monkeypatch: pytest.MonkeyPatch, smoothing: float) -> None:
    """The gradient by a logit is softmax less the smoothed label, (1 - s) y + s / K, over the examples."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the logits, before the loss
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.tensor([0, 1, 2, 3, 3, 1])
    logits, loss = loss_of(nn.Identity(), contextlib.nullcontext(), x, y, smoothing)
    smoothed = (1 - smoothing) * functional.one_hot(y, 4).double() + smoothing / 4
    by_hand = -(smoothed * (x - x.exp().sum(1, keepdim=True).log())).sum() / 6
    torch.testing.assert_close(loss, by_hand, rtol=1e-14, atol=0)
    torch.testing.assert_close(loss, functional.cross_entropy(x, y, label_smoothing=smoothing), rtol=0, atol=0)
    gradient = torch.autograd.grad(loss, x)[0]
    torch.testing.assert_close(gradient, (x.softmax(1) - smoothed) / 6, rtol=1e-13, atol=1e-15)
    assert torch.equal(logits, x)


def test_what_the_loss_does_not_depend_on_has_a_gradient_of_zeros(look_at: Callable[..., Look]) -> None:
    network, unused = nn.Linear(2, 3), nn.Parameter(torch.ones(4))
    found = training_pass(look_at(network, torch.ones(5, 2)), [unused, network.weight])
    assert torch.equal(found.gradients[0], torch.zeros(4))
    assert found.gradients[1].abs().sum() > 0


def test_inputs_are_those_of_each_item_and_nothing_is_watched_afterwards() -> None:
    network = nn.Sequential(OrderedDict(linear=nn.Linear(2, 3), relu=nn.ReLU()))
    x, items = torch.randn(4, 2), dict(network.named_children())
    inputs = inputs_of(items, lambda: network(x), lambda inputs: inputs[0])
    assert torch.equal(inputs["linear"], x)
    assert torch.equal(inputs["relu"], network.linear(x))
    with pytest.raises(RuntimeError):
        inputs_of(items, lambda: network(x[:, :1]), lambda inputs: None)
    assert not any(module._forward_pre_hooks for module in items.values())


def test_layers_are_what_multiplies_by_weights(make_config: Callable[..., Config]) -> None:
    run, _ = looked_at(make_config(model={"block": "linear(weight_norm=true) -> norm -> act"}))
    assert list(run.subject.layers) == ["block1.linear", "block2.linear", "head"]


def test_the_distance_is_that_of_all_values_as_one_vector() -> None:
    first, second = [torch.zeros(2, 2), torch.ones(3)], [torch.full((2, 2), 2.0), torch.tensor([1.0, 1.0, 4.0])]
    assert distance(first, second).item() == pytest.approx(5.0)  # sqrt(4 * 2^2 + 3^2)
