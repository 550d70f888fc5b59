"""`ln`: layer normalization (Ba, Kiros & Hinton 2016), torch's own module."""

from torch import nn

from bnexp.config.items import LayerNormOptions
from bnexp.norms.shapes import Shape


def layer_norm(shape: Shape, options: LayerNormOptions) -> nn.LayerNorm:
    """Normalize each example over all its values; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over (F,) or over (C, H, W), for each example

    On feature maps this is not the "LayerNorm" of ConvNeXt, which takes the channels at each position: that is `ln_c`.

    Args:
        shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma and beta have this shape too.
        options: eps, affine.

    Source: https://arxiv.org/abs/1607.06450
    """
    return nn.LayerNorm(list(shape), eps=options.eps, elementwise_affine=options.affine)
