"""Shapes, dtypes and moments of the inputs of a normalization."""

import torch
from torch import Tensor

Shape = tuple[int, ...]
"""An input without its batch: (F,) for features (B, F), (C, H, W) for feature maps (B, C, H, W)."""


def per_feature(values: Tensor, x: Tensor) -> Tensor:
    """Return values (F,) in a shape that meets the features of x: (1, F), or (1, C, 1, 1) for feature maps."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


def over_batch(x: Tensor) -> list[int]:
    """Return the dimensions of a batch statistic: all but the features; (B,) or (B, H, W)."""
    return [0, *range(2, x.ndim)]


def over_positions(x: Tensor) -> list[int]:
    """Return the dimensions of H and W; of features (B, F) there are none."""
    return list(range(2, x.ndim))


def widened(x: Tensor) -> Tensor:
    """Return x in float32 where it is narrower: statistics in bf16 or fp16 would lose what eps protects."""
    return x if x.dtype == torch.float32 else x.to(torch.promote_types(x.dtype, torch.float32))


def moments(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance over some dimensions, flat, in the two passes of the definition."""
    mean = x.mean(dim=dims, keepdim=True)
    var = (x - mean).square().mean(dim=dims)
    return mean.flatten(), var.flatten()
