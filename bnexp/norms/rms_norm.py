"""`rms`: root mean square normalization (Zhang & Sennrich 2019), torch's own module."""

from torch import nn

from bnexp.config.items import RmsNormOptions
from bnexp.norms.shapes import Shape


def rms_norm(shape: Shape, options: RmsNormOptions) -> nn.RMSNorm:
    """Divide each example by its root mean square; the same in training and at inference.

        y = gamma * x / sqrt(mean(x^2) + eps)          over (F,) or over (C, H, W), for each example

    It is `ln` without subtracting the mean, and without beta.

    Args:
        shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma has this shape too.
        options: eps, affine.

    Source: https://arxiv.org/abs/1910.07467
    """
    return nn.RMSNorm(list(shape), eps=options.eps, elementwise_affine=options.affine)
