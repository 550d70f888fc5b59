"""Activations by their name in the block notation; none works in place, so that a recorded output stays what it was."""

from collections.abc import Callable
from typing import Any

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
