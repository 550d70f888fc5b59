"""`tlu`: the thresholded linear unit, the activation that belongs to `frn` (Singh & Krishnan 2020)."""

import torch
from torch import Tensor, nn

from bnexp.norms.shapes import Shape, per_feature


class ThresholdedLinearUnit(nn.Module):
    """A relu whose threshold is learned for each feature.

        y = max(x, tau)                          tau starts at 0, where it is relu

    Args:
        features: F or C.

    Shape:
        (B, F) or (B, C, H, W), kept; tau is (F,) or (C,).

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


def thresholded_linear_unit(shape: Shape) -> ThresholdedLinearUnit:
    """Return the unit for inputs of `shape`: (F,) or (C, H, W)."""
    return ThresholdedLinearUnit(shape[0])
