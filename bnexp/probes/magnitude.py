"""Norms that neither overflow nor vanish where a square would: 1e-25 has a size, and its square in float32 has none."""

from collections.abc import Sequence

import torch
from torch import Tensor


def scale_of(values: Tensor) -> Tensor:
    """Return the largest magnitude, shape (); 1 where it is 0 or not finite, so that one can divide by it."""
    low, high = values.aminmax()
    peak = torch.maximum(high, -low)
    return torch.where((peak > 0) & peak.isfinite(), peak, torch.ones_like(peak))


def length(values: Tensor) -> Tensor:
    """Return the Euclidean norm of all values, shape ()."""
    scale = scale_of(values)
    norm: Tensor = torch.linalg.vector_norm(values / scale) * scale
    return norm


def total_length(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of several tensors, as if they were one vector; shape ()."""
    return length(torch.stack([length(tensor) for tensor in tensors]))
