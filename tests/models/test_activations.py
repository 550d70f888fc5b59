"""The activations of the block notation against their formulas."""

import math

import pytest
import torch

from bnexp.config.block import parse_item
from bnexp.config.items import ACTIVATION_NAMES
from bnexp.models.activations import ACTIVATIONS, ThresholdedLinearUnit, build_activation, gain_after

FORMULAS = {
    "relu": lambda x: max(0.0, x),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tlu": lambda x: max(0.0, x),  # as it starts
    "identity": lambda x: x,
}


def build(text):
    item = parse_item(text)
    return build_activation(item, (33,))


def test_the_registry_has_exactly_the_declared_names():
    assert set(ACTIVATIONS) == set(ACTIVATION_NAMES)
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_computes_its_formula_and_leaves_its_input_alone(name):
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)[None]
    before = x.clone()
    y = build(name)(x).detach()
    torch.testing.assert_close(y, torch.tensor([[FORMULAS[name](value) for value in before[0].tolist()]]).double())
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_none_is_marked_as_working_in_place(name):
    assert not getattr(build(name), "inplace", False)


def test_the_slope_of_leaky_relu_is_the_one_written():
    assert build("leaky_relu(slope=0.25)")(torch.tensor([-4.0, 4.0])).tolist() == [-1, 4]


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3])
def test_the_gain_after_a_leaky_relu_is_its_closed_form(slope):
    # E f(z) = (1 - s) / sqrt(2 pi), E f(z)^2 = (1 + s^2) / 2
    var = (1 + slope**2) / 2 - (1 - slope) ** 2 / (2 * math.pi)
    assert gain_after(parse_item(f"leaky_relu(slope={slope})")) == pytest.approx(var**-0.5, rel=1e-9)


def test_the_gain_after_relu_is_that_of_nf_resnets_and_without_an_activation_it_is_one():
    for name in ("relu", "tlu"):
        assert gain_after(parse_item(name)) == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-9)
    assert gain_after(parse_item("identity")) == pytest.approx(1, rel=1e-9)
    assert gain_after(None) == 1


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_the_gain_brings_what_an_activation_gives_out_to_variance_one(name):
    item, count = parse_item(name), 400_000
    z = torch.randn(count, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = gain_after(item) * build_activation(item, (1,)).double()(z)
    assert y.var().item() == pytest.approx(1, abs=5 * math.sqrt(y.sub(y.mean()).pow(4).mean().item() / count))


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6,), (6, 3, 2)], ids=str)
def test_each_feature_has_a_threshold_of_its_own(shape):
    unit, x = ThresholdedLinearUnit(shape[0]).double(), draw(5, *shape)
    torch.testing.assert_close(unit(x).detach(), x.clamp_min(0))
    with torch.no_grad():
        unit.tau.copy_(draw(6, seed=1))
    for feature in range(6):
        expected = x[:, feature].clamp_min(unit.tau[feature].item())
        assert torch.equal(unit(x)[:, feature].detach(), expected)


def test_the_threshold_learns_from_what_it_cuts_off():
    unit, x = ThresholdedLinearUnit(2).double(), torch.tensor([[1.0, -1.0], [-2.0, -3.0]]).double()
    unit(x).sum().backward()
    assert unit.tau.grad.tolist() == [1, 2]
    assert torch.autograd.gradcheck(unit, (draw(4, 2).requires_grad_(),))
