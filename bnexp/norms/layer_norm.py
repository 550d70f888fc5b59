"""`ln`, `ln_c` and `rms`: each example normalized by its own statistics, with torch's own modules.

`ln` takes mean and variance over all values of an example, `ln_c` over the channels at each position, and `rms` divides
by the root mean square alone. None depends on the batch, so training and inference are the same.
"""

from torch import Tensor, nn

from bnexp.config.items import LayerNormOptions
from bnexp.norms.shapes import Shape, widened


def layer_norm(shape: Shape, options: LayerNormOptions) -> nn.LayerNorm:
    """Normalize each example over all its values; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over (F,) or over (C, H, W), for each example

    On feature maps this is not the "LayerNorm" of ConvNeXt, which takes the channels at each position: that is `ln_c`.

    Shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W). gamma and beta have this shape too.
    Options: eps, affine.
    Source: https://arxiv.org/abs/1607.06450
    """
    return nn.LayerNorm(list(shape), eps=options.eps, elementwise_affine=options.affine)


class ChannelLayerNorm(nn.LayerNorm):
    """Normalize the channels at each position of each example; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over the channels, for each example and position

    It is torch's own module on the last dimension, where the channels are moved and from where they come back. On
    features (B, F) it is `ln`. The "LayerNorm" over (C, H, W) is `ln`.

    Shape: (B, F) or (B, C, H, W), kept; gamma and beta are (F,) or (C,).
    Source: section 2.6 of https://arxiv.org/abs/2201.03545
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)  # (B, C, H, W) -> (B, H, W, C) and back


class RootMeanSquareNorm(nn.RMSNorm):
    """Divide each example by its root mean square; the same in training and at inference.

        y = gamma * x / sqrt(mean(x^2) + eps)          over (F,) or over (C, H, W), for each example

    It is `ln` without subtracting the mean, and without beta. torch's own module warns where bf16 from autocast meets a
    gamma in float32; here such an input is widened first.

    Shape: (B, F) or (B, C, H, W), kept; gamma is (F,) or (C, H, W).
    Source: https://arxiv.org/abs/1910.07467
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return super().forward(widened(x)).to(x.dtype)
