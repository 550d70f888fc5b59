"""`weight_norm` and `weight_std`: layers whose weights are normalized instead of what they give out.

The functions take the weight of any layer: (out, in) of a linear one, (out, in, height, width) of a convolution.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.config.items import LayerOptions

_SMALLEST = 1e-4
"""Least value of fan_in * var that `weight_std` divides by: NF-ResNets' own guard against weights that do not vary."""


def weight_norm(weight: Tensor, gain: Tensor) -> Tensor:
    """Weight normalization (Salimans & Kingma 2016): direction and length of each unit's weights are learned apart.

        w = gain * v / |v|                               for each output unit or channel

    The gain starts at |v|, so that the layer starts as it would without. torch has this as a parametrization, whose
    gain is a matrix of one column and its layer a tree of modules. A gain (out,) is treated as gamma is: not decayed by
    default, on which the paper says nothing.

    Shapes: v (out, ...), gain (out,).
    Source: https://arxiv.org/abs/1602.07868
    """
    flat = weight.flatten(1)
    return per_unit(gain / torch.linalg.vector_norm(flat, dim=1), weight) * weight


def weight_std(weight: Tensor, gain: Tensor) -> Tensor:
    """Scaled weight standardization (Brock et al. 2021): each unit's weights with mean 0 and variance 1 / fan_in.

        w = gain * (v - mean(v)) / sqrt(max(fan_in * var(v), 1e-4))          for each output unit or channel

    With a gain of 1 the layer keeps the variance of inputs whose means are alike. An activation lets less through, for
    which NF-ResNets make up by a constant: after relu sqrt(2 / (1 - 1/pi)) = 1.71, for a normal input of the relu. They
    multiply by it and learn a gain from 1. Here the gain, which is learned, starts at `init.gain` times the constant of
    the activation before the layer, so that decay and learning rate act on another number.

    Shapes: v (out, ...), gain (out,).
    Source: https://arxiv.org/abs/2101.08692
    """
    flat = weight.flatten(1)
    var, mean = torch.var_mean(flat, dim=1, correction=0)  # (out,)
    scale = gain * torch.rsqrt((flat.shape[1] * var).clamp_min(_SMALLEST))
    return per_unit(scale, weight) * (weight - per_unit(mean, weight))


def per_unit(values: Tensor, weight: Tensor) -> Tensor:
    """Return values (out,) in a shape that meets the units of a weight (out, ...)."""
    return values.view(-1, *[1] * (weight.ndim - 1))


@dataclass(frozen=True)
class WeightRule:
    """A rule that turns the weights that a layer learns into those that it computes with.

    Attributes:
        effective: from weight (out, ...) and gain (out,) to what the layer works with.
        first_gain: from the initial weight and `init.gain` to the initial gain (out,).
    """

    effective: Callable[[Tensor, Tensor], Tensor]
    first_gain: Callable[[Tensor, float], Tensor]


def weight_rule(options: LayerOptions, input_gain: float) -> WeightRule | None:
    """Return the rule that the options of a layer ask for, or None; the inputs times `input_gain` have variance 1."""
    if options.weight_norm:
        return WeightRule(weight_norm, lambda weight, _: torch.linalg.vector_norm(weight.flatten(1), dim=1))
    if options.weight_std:
        return WeightRule(weight_std, lambda weight, gain: weight.new_full((len(weight),), input_gain * gain))
    return None


class NormalizedLinear(nn.Linear):
    """A linear layer that works with normalized weights.

        y = x effective(weight, gain)^T + bias

    `weight` is what is drawn, learned and decayed, as in any layer; `gain` (out,) is learned beside it.

    Shape: (B, in_features) to (B, out_features).
    """

    def __init__(self, in_features: int, out_features: int, rule: WeightRule, *, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.rule = rule
        self.gain = nn.Parameter(torch.ones(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        return functional.linear(x, self.rule.effective(self.weight, self.gain), self.bias)


def build_linear(options: LayerOptions, before: int, after: int, *, bias: bool, input_gain: float = 1) -> nn.Linear:
    """Return the linear layer that the options ask for; its inputs times `input_gain` have variance 1."""
    rule = weight_rule(options, input_gain)
    if rule is None:
        return nn.Linear(before, after, bias=bias)
    return NormalizedLinear(before, after, rule, bias=bias)


_ONEDNN_BLOCK = 16
"""Input channels that oneDNN's x86 kernels take at once: 8 with AVX2, 16 with AVX-512."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: str | tuple[int, ...]
) -> Tensor:
    """Return the convolution of x (B, C, H, W), in a form that does not destroy memory.

    oneDNN 3.12 (in torch 2.13.0) computes the gradient of the weight of a strided 1 x 1 convolution with the channels
    last from a copy of every stride-th pixel. The copy has room for C channels a pixel, but its parts are written at
    steps of a block of channels. Where C is less than a block, they lie past its end: with AVX2 the process dies by a
    signal or, with two threads, hangs. oneDNN's report, still open, mentions wrong gradients, too, and mends the
    AVX-512 kernel as well: https://github.com/uxlfoundation/oneDNN/issues/6035

    There the pixels are taken first, and the kernel of stride 1 makes no copy. The means of single pixels are those
    pixels: unlike a slice, average pooling leaves the gradient with the channels last, too. The time of a block's step
    over the one with a slice (one thread of an x86 CPU with AVX2, fp32, 4 to 16 channels, batch 16 and 128): pooling
    0.76 to 0.88, the contiguous convolution 1.08 to 1.41. In bf16 with 4 channels: 0.95 and 0.86.

    From 16 channels on nothing changes. From 8 to 15 only AVX-512 is at risk, by that report; with AVX2 the bits there
    stay those of the plain form where the stride divides the sides.
    """
    if narrow_and_strided(weight.shape[1], weight.shape[-1], stride[0]):
        return functional.conv2d(functional.avg_pool2d(x, 1, stride), weight, bias)
    return functional.conv2d(x, weight, bias, stride, padding)


def narrow_and_strided(in_channels: int, kernel: int, stride: int) -> bool:
    """Return whether a convolution is one that `convolve` computes in another form."""
    return kernel == 1 and stride > 1 and in_channels < _ONEDNN_BLOCK


class NarrowStridedConv2d(nn.Conv2d):
    """A strided 1 x 1 convolution of few channels, safe with the channels last; see `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature maps of a batch."""
        return convolve(x, self.weight, self.bias, self.stride, self.padding)


class NormalizedConv2d(nn.Conv2d):
    """A convolution that works with normalized weights; otherwise as `NormalizedLinear`.

    Shape: (B, C, H, W) to (B, C', H', W').
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, rule: WeightRule, *, bias: bool
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias)
        self.rule = rule
        self.gain = nn.Parameter(torch.ones(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature maps of a batch."""
        weight = self.rule.effective(self.weight, self.gain)
        return convolve(x, weight, self.bias, self.stride, self.padding)


def build_conv(
    options: LayerOptions, before: int, after: int, kernel: int, stride: int, *, bias: bool, input_gain: float = 1
) -> nn.Conv2d:
    """Return the convolution that the options ask for; its padding keeps the image's size but for the stride.

    The inputs times `input_gain` have variance 1.
    """
    rule = weight_rule(options, input_gain)
    if rule is None:
        layer = NarrowStridedConv2d if narrow_and_strided(before, kernel, stride) else nn.Conv2d
        return layer(before, after, kernel, stride, padding=kernel // 2, bias=bias)
    return NormalizedConv2d(before, after, kernel, stride, rule, bias=bias)
