"""`frn`: filter response normalization (Singh & Krishnan 2020), to be followed by the activation `tlu`."""

import math

import torch
from torch import Tensor, nn

from bnexp.norms.shapes import Shape, over_positions, per_feature, widened

_LEARNED_EPS = 1e-4
"""Start of the learned part of eps, as in the paper."""


class FilterResponseNorm(nn.Module):
    """Divide each channel of each example by its root mean square; the same in training and at inference.

        nu2 = mean(x^2)                                      over (H, W), for each example and channel
        y   = gamma * x / sqrt(nu2 + eps) + beta

    No mean is subtracted, so its output may lie anywhere beside 0, where relu would cut everything or nothing: `tlu`,
    whose threshold is learned, follows it. Of one position, as in features (B, F), nu2 is x^2 and y a soft sign of x,
    whose softness is eps: there eps + |eps_learned| is learned, one number for the layer, as the paper has it (section
    3.2). Elsewhere eps is fixed, as in the Keras layer of google-research.

    Shape: (B, F) or (B, C, H, W), kept; gamma and beta are (F,) or (C,).
    Source: https://arxiv.org/abs/1911.09737
    """

    def __init__(self, shape: Shape, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(shape[0]))
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        one_position = math.prod(shape[1:]) == 1
        self.eps_learned = nn.Parameter(torch.tensor([_LEARNED_EPS])) if one_position else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        wide = widened(x)
        nu2 = wide.square().mean(dim=over_positions(x), keepdim=True) if x.ndim > 2 else wide.square()
        eps = self.eps if self.eps_learned is None else self.eps + self.eps_learned.abs()
        y = per_feature(self.weight, x) * wide * torch.rsqrt(nu2 + eps) + per_feature(self.bias, x)
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        return f"{len(self.weight)}, eps={self.eps}"
