"""`ln`: layer normalization (Ba, Kiros & Hinton 2016), torch's own module."""

from torch import nn

from bnexp.config.items import LayerNormOptions


def layer_norm(features: int, options: LayerNormOptions) -> nn.LayerNorm:
    """Normalize each example over its features; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over the features, for each example

    Args:
        features: F, for inputs (B, F).
        options: eps, affine.

    Source: https://arxiv.org/abs/1607.06450
    """
    return nn.LayerNorm(features, eps=options.eps, elementwise_affine=options.affine)
