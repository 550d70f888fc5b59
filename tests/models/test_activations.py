"""The activations of the block notation against their formulas."""

import math
from typing import get_args

import pytest
import torch

from bnexp.config.block import parse_item
from bnexp.config.items import ActivationName
from bnexp.models.activations import ACTIVATIONS, build_activation

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
    assert set(ACTIVATIONS) == set(get_args(ActivationName))
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
