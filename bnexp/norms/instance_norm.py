"""`in`: instance normalization (Ulyanov, Vedaldi & Lempitsky 2016), torch's own module."""

from torch import nn

from bnexp.config.items import LayerNormOptions
from bnexp.norms.shapes import Shape


def instance_norm(shape: Shape, options: LayerNormOptions) -> nn.InstanceNorm2d:
    """Normalize each channel of each example over its positions; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over (H, W), for each example and channel

    Args:
        shape: (C, H, W) for inputs (B, C, H, W); gamma and beta are (C,). Of features (B, F) there is only one value
            to take a mean of, and the config is refused.
        options: eps, affine.

    Source: https://arxiv.org/abs/1607.08022
    """
    return nn.InstanceNorm2d(shape[0], eps=options.eps, affine=options.affine)
