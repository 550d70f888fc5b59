"""`dyt` and `derf`: a learned squashing of each value, in the place of a normalization.

No statistics are taken at all: each value is on its own, and training and inference are the same. What is inside the
squashing is learned once for the layer, gamma and beta for each feature.
"""

import torch
from torch import Tensor, nn

from bnexp.norms.shapes import per_feature


class _Squashing(nn.Module):
    """Hold gamma, beta and the slope alpha of a norm that squashes each value, and put them around what it squashes."""

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([alpha]))
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def _scaled(self, squashed: Tensor, x: Tensor) -> Tensor:
        return (per_feature(self.weight, x) * squashed + per_feature(self.bias, x)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.weight)}"


class DynamicTanh(_Squashing):
    """Squash each value by a tanh whose slope is learned.

        y = gamma * tanh(alpha * x) + beta

    Shape: (B, F) or (B, C, H, W), kept; gamma and beta are (F,) or (C,), alpha is (1,).
    Source: https://arxiv.org/abs/2503.10622
    """

    def forward(self, x: Tensor) -> Tensor:
        """Squash a batch."""
        return self._scaled(torch.tanh(self.alpha * x), x)


class DynamicErf(_Squashing):
    """Squash each value by an error function whose slope and shift are learned.

        y = gamma * erf(alpha * x + s) + beta          erf(z) = 2 / sqrt(pi) * integral of exp(-t^2) from 0 to z

    Shape: (B, F) or (B, C, H, W), kept; gamma and beta are (F,) or (C,), alpha and s (which starts at 0) are (1,).
    Source: https://arxiv.org/abs/2512.10938, equation 10, and its code, zlab-princeton/Derf
    """

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__(features, alpha)
        self.s = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Squash a batch."""
        return self._scaled(torch.erf(self.alpha * x + self.s), x)
