"""`dyt`: dynamic tanh, in the place of a normalization (Zhu et al. 2025)."""

import torch
from torch import Tensor, nn

from bnexp.norms.shapes import per_feature


class DynamicTanh(nn.Module):
    """Squash each value by a tanh whose slope is learned; the same in training and at inference.

        y = gamma * tanh(alpha * x) + beta

    No statistics are taken at all: each value is on its own. alpha is one learned number for the layer, which starts
    at the option of its name; gamma and beta are learned for each feature.

    Shape: (B, F) or (B, C, H, W), kept.
    Source: https://arxiv.org/abs/2503.10622
    """

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([alpha]))
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Squash a batch."""
        return (per_feature(self.weight, x) * torch.tanh(self.alpha * x) + per_feature(self.bias, x)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.weight)}"
