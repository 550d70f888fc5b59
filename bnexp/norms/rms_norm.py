"""`rms`: root mean square normalization (Zhang & Sennrich 2019), torch's own module."""

from torch import Tensor, nn

from bnexp.config.items import RmsNormOptions
from bnexp.norms.shapes import Shape, widened


class RootMeanSquareNorm(nn.RMSNorm):
    """Divide each example by its root mean square; the same in training and at inference.

        y = gamma * x / sqrt(mean(x^2) + eps)          over (F,) or over (C, H, W), for each example

    It is `ln` without subtracting the mean, and without beta. torch's own module warns where bf16 from autocast meets a
    gamma in float32; here such an input is widened first.

    Shape:
        (B, F) or (B, C, H, W), kept; gamma is (F,) or (C, H, W).

    Source: https://arxiv.org/abs/1910.07467
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return super().forward(widened(x)).to(x.dtype)


def rms_norm(shape: Shape, options: RmsNormOptions) -> RootMeanSquareNorm:
    """Return the norm for inputs of `shape`: (F,) or (C, H, W)."""
    return RootMeanSquareNorm(list(shape), eps=options.eps, elementwise_affine=options.affine)
