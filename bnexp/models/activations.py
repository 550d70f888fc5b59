"""Activations by their name in the block notation; none works in place, so that a recorded output stays what it was."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from bnexp.config.block import Item
from bnexp.config.items import ActivationName
from bnexp.models.tlu import thresholded_linear_unit
from bnexp.norms.shapes import Shape

ACTIVATIONS: dict[ActivationName, Callable[[Shape, Any], nn.Module]] = {
    "relu": lambda shape, options: nn.ReLU(),
    "leaky_relu": lambda shape, options: nn.LeakyReLU(options.slope),
    "tanh": lambda shape, options: nn.Tanh(),
    "sigmoid": lambda shape, options: nn.Sigmoid(),
    "gelu": lambda shape, options: nn.GELU(),
    "silu": lambda shape, options: nn.SiLU(),
    "tlu": lambda shape, options: thresholded_linear_unit(shape),
    "identity": lambda shape, options: nn.Identity(),
}


def build_activation(item: Item, shape: Shape) -> nn.Module:
    """Return the module of an activation item for inputs (B, *shape): (F,) or (C, H, W)."""
    return ACTIVATIONS[item.name](shape, item.options)  # type: ignore[index]


@cache
@torch.no_grad()
def gain_after(item: Item | None) -> float:
    """Return what the outputs of an activation item have to be multiplied by for a variance of 1, None being without.

        gain = 1 / std(act(z)),  z ~ N(0, 1)             relu: sqrt(2 / (1 - 1/pi))

    By the trapezoidal rule in float64, whose steps meet the kink of relu at 0: right to nine digits.

    Source: Brock et al. 2021, https://arxiv.org/abs/2101.08692
    """
    if item is None:
        return 1.0
    z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    y = build_activation(item, (1,)).double()(z.unsqueeze(1)).squeeze(1)
    mean = torch.trapezoid(density * y, z)
    return torch.trapezoid(density * (y - mean) ** 2, z).rsqrt().item()
