"""The activations of the block notation, and the gain that each of them asks of the layer after it.

All are torch's own but `tlu`, the thresholded linear unit that belongs to `frn`.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.config.items import ItemName
from bnexp.norms.shapes import Shape, per_feature
from bnexp.norms.trial import build_registered


class ThresholdedLinearUnit(nn.Module):
    """A relu whose threshold is learned for each feature.

        y = max(x, tau)                          tau starts at 0, where it is relu

    Shape: (B, F) or (B, C, H, W), kept; tau is (F,) or (C,).
    Source: https://arxiv.org/abs/1911.09737
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Cut a batch off below tau."""
        return torch.maximum(x, per_feature(self.tau, x).to(x.dtype))

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.tau)}"


ACTIVATIONS: dict[ItemName, Callable[[Shape, Any], nn.Module]] = {
    "relu": lambda shape, options: nn.ReLU(),
    "leaky_relu": lambda shape, options: nn.LeakyReLU(options.slope),
    "tanh": lambda shape, options: nn.Tanh(),
    "sigmoid": lambda shape, options: nn.Sigmoid(),
    "gelu": lambda shape, options: nn.GELU(),
    "silu": lambda shape, options: nn.SiLU(),
    "tlu": lambda shape, options: ThresholdedLinearUnit(shape[0]),
    "identity": lambda shape, options: nn.Identity(),
}


def build_activation(item: Item, shape: Shape) -> nn.Module:
    """Return the module of an activation item for inputs (B, *shape): (F,) or (C, H, W)."""
    if item.kind.source is not None:
        return build_registered(item, shape)
    return ACTIVATIONS[item.name](shape, item.options)


@cache
@torch.no_grad()
def gain_after(item: Item | None) -> float:
    """Return the factor that gives the outputs of an activation a variance of 1, for Gaussian inputs; 1 for None.

        gain = 1 / std(act(z)),  z ~ N(0, 1)             relu: sqrt(2 / (1 - 1/pi))

    By the trapezoidal rule in float64, whose steps meet the kink of relu at 0: right to nine digits.

    Source: Brock et al. 2021, https://arxiv.org/abs/2101.08692
    """
    if item is None:
        return 1.0
    with torch.device("cpu"):  # also where the network is built without numbers
        z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
        density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        y = build_activation(item, (1,)).double()(z.unsqueeze(1)).squeeze(1)
        mean = torch.trapezoid(density * y, z)
        return torch.trapezoid(density * (y - mean) ** 2, z).rsqrt().item()
