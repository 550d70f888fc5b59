"""`ln`, `ln_c` and `rms`: each example normalized by its own statistics, with torch's own functions.

`ln` takes mean and variance over all values of an example, `ln_c` over the channels at each position, and `rms` divides
by the root mean square alone. None depends on the batch, so training and inference are the same.

Inputs in bf16 or fp16 are widened first, as autocast does on CUDA: torch's layer norm on the CPU adds up the gradients
of gamma and beta in bf16. They were off by 2% over 256 rows, and by 7% and 50% over 4,096; `ln_c` has a row a position.
Its group norm, which `ln(affine=channel)` is, adds them up in float32 by itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.config.items import LayerNormOptions, RmsNormOptions
from bnexp.norms.shapes import Shape, per_feature, widened


def layer_norm(shape: Shape, options: LayerNormOptions) -> nn.Module:
    """Normalize each example over all its values; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over (F,) or over (C, H, W), for each example

    gamma and beta have the shape of an example: of vectors a pair for each feature, as in the paper (one pair for each
    neuron); of images a pair for each channel and position, as torch has it. With `affine=channel` they are (C,), as
    where Wu & He 2018 compare `ln` on images: group normalization of one group.

    On feature maps this is not the "LayerNorm" of ConvNeXt, which takes the channels at each position: that is `ln_c`.

    Shape: (F,) for inputs (B, F); (C, H, W) for inputs (B, C, H, W).
    Options: eps, affine.
    Source: https://arxiv.org/abs/1607.06450; for `affine=channel` https://arxiv.org/abs/1803.08494, section 3.1
    """
    if options.affine == "channel":
        return nn.GroupNorm(1, shape[0], eps=options.eps)
    return LayerNorm(list(shape), eps=options.eps, elementwise_affine=options.affine)


class LayerNorm(nn.LayerNorm):
    """Compute torch's layer norm in float32 where the input is narrower, and give back what is as narrow."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return super().forward(widened(x)).to(x.dtype)


class ChannelLayerNorm(LayerNorm):
    """Normalize the channels at each position of each example; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over the channels, for each example and position

    It is `LayerNorm` on the last dimension, where the channels are moved and from where they come back. On features
    (B, F) it is `ln`. The "LayerNorm" over (C, H, W) is `ln`.

    Shape: (B, F) or (B, C, H, W), kept; gamma and beta are (F,) or (C,).
    Source: section 2.6 of https://arxiv.org/abs/2201.03545
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)  # (B, C, H, W) -> (B, H, W, C) and back


class RootMeanSquareNorm(nn.Module):
    """Divide each example by its root mean square; the same in training and at inference.

        y = gamma * x / sqrt(mean(x^2) + eps)          over (F,) or over (C, H, W), for each example

    It is `ln` without subtracting the mean, and without beta. gamma has the shape of an example, or is (C,) with
    `affine=channel`. The paper is about vectors; over (C, H, W) is a choice made here. The authors' code adds eps
    (1e-8) outside of the root, and has a beta as an option.

    Shape: (B, F) or (B, C, H, W), kept.
    Options: eps, affine.
    Source: https://arxiv.org/abs/1910.07467
    """

    def __init__(self, shape: Shape, options: RmsNormOptions) -> None:
        super().__init__()
        self.shape, self.eps = list(shape), options.eps
        learned = self.shape[:1] if options.affine == "channel" else self.shape
        self.weight = nn.Parameter(torch.ones(learned)) if options.affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        if self.weight is None or self.weight.ndim == len(self.shape):
            return functional.rms_norm(widened(x), self.shape, self.weight, self.eps).to(x.dtype)
        y = functional.rms_norm(widened(x), self.shape, eps=self.eps)
        return (per_feature(self.weight, x) * y).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows in the parentheses."""
        learned = None if self.weight is None else tuple(self.weight.shape)
        return f"{tuple(self.shape)}, eps={self.eps}, gamma={learned}"
