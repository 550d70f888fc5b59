"""`gn` and `in`: each example normalized over groups of its channels or over each channel, torch's own modules.

A group per channel makes `gn` the same as `in`, one group nearly the same as `ln`. Neither depends on the batch, so
training and inference are the same.
"""

from torch import nn

from bnexp.config.items import ChannelLayerNormOptions, GroupNormOptions
from bnexp.norms.shapes import Shape


def group_norm(shape: Shape, options: GroupNormOptions) -> nn.GroupNorm:
    """Normalize each example over groups of channels; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over (C / groups, H, W), for each example and group

    One group is `ln(affine=channel)`, and `ln` but for gamma and beta; a group per channel is `in`.

    Shape: (F,) for inputs (B, F), where a group holds F / groups features; (C, H, W) for inputs (B, C, H, W). gamma and
    beta are (F,) or (C,).
    Options: groups, eps, affine.
    Source: https://arxiv.org/abs/1803.08494
    """
    return nn.GroupNorm(options.groups, shape[0], eps=options.eps, affine=options.affine)


def instance_norm(shape: Shape, options: ChannelLayerNormOptions) -> nn.InstanceNorm2d:
    """Normalize each channel of each example over its positions; the same in training and at inference.

        y = gamma * (x - mean) / sqrt(var + eps) + beta          over (H, W), for each example and channel

    Shape: (C, H, W) for inputs (B, C, H, W); gamma and beta are (C,). Of features (B, F) there is only one value to
    take a mean of, and the config is refused.
    Options: eps, affine.
    Source: https://arxiv.org/abs/1607.08022
    """
    return nn.InstanceNorm2d(shape[0], eps=options.eps, affine=options.affine)
