"""Activations by their name in the block notation; none works in place, so that a recorded output stays what it was."""

from collections.abc import Callable
from typing import Any

from torch import nn

from bnexp.config.items import ActivationName

ACTIVATIONS: dict[ActivationName, Callable[[Any], nn.Module]] = {
    "relu": lambda options: nn.ReLU(),
    "leaky_relu": lambda options: nn.LeakyReLU(options.slope),
    "tanh": lambda options: nn.Tanh(),
    "sigmoid": lambda options: nn.Sigmoid(),
    "gelu": lambda options: nn.GELU(),
    "silu": lambda options: nn.SiLU(),
    "identity": lambda options: nn.Identity(),
}
