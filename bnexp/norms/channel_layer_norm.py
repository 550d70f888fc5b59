"""`ln_c`: layer normalization over the channels at each position, as in ConvNeXt (Liu et al. 2022)."""

from torch import Tensor, nn

from bnexp.config.items import LayerNormOptions
from bnexp.norms.shapes import Shape


class ChannelLayerNorm(nn.LayerNorm):
    """Normalize the channels at each position of each example; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over the channels, for each example and position

    It is torch's own module on the last dimension, where the channels are moved and from where they come back. On
    features (B, F) it is `ln`. The "LayerNorm" over (C, H, W) is `ln`.

    Shape:
        (B, F) or (B, C, H, W), kept; gamma and beta are (F,) or (C,).

    Source: section 2.6 of https://arxiv.org/abs/2201.03545
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)  # (B, C, H, W) -> (B, H, W, C) and back


def channel_layer_norm(shape: Shape, options: LayerNormOptions) -> ChannelLayerNorm:
    """Return the norm for inputs of `shape`: (F,) or (C, H, W)."""
    return ChannelLayerNorm(shape[0], eps=options.eps, elementwise_affine=options.affine)
