"""Sizes and samples of tensors.

The norms neither overflow nor vanish where a square would: 1e-25 has a size, and its square in float32 has none. The
samples are spread over the whole, the same ones every time.
"""

import functools
import math
from collections.abc import Iterable

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


def total_length(lengths: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm of several tensors as if they were one vector, from the norm () of each; shape ()."""
    return length(torch.stack(list(lengths)))


MOST_UNITS = 1024
"""Units of an output that are measured one by one at most; a mean over all units is taken over all."""
MOST_VALUES = 4096
"""Values that percentiles are taken of at most: its rank then has a standard error below one percent."""


def as_units(output: Tensor) -> Tensor:
    """Return an output (B, F) or (B, C, H, W) as a matrix (B, units).

    The order of the units is that in memory, so that nothing is copied only to be sorted, and torch's reductions, which
    are up to a hundred times as slow over channels that lie last, go over plain rows.
    """
    if output.ndim == 4 and output.is_contiguous(memory_format=torch.channels_last):
        output = output.permute(0, 2, 3, 1)
    return output.flatten(1)


def spread_units(units: Tensor, most: int = MOST_UNITS) -> Tensor:
    """Return columns of a matrix of units, (B, at most `most`)."""
    if units.shape[1] <= most:
        return units
    return units.index_select(1, spread_places(units.shape[1], most, units.device))


def spread_values(units: Tensor) -> Tensor:
    """Return the values of a matrix in one row (min(values, 4096),)."""
    values = units.flatten()
    if len(values) <= MOST_VALUES:
        return values
    return values[spread_places(len(values), MOST_VALUES, values.device)]


@functools.lru_cache(maxsize=256)
def spread_places(total: int, count: int, device: torch.device) -> Tensor:
    """Return `count` different places in range(total), spread evenly by steps of the golden section.

    Equal steps would meet the same column of every feature map, wherever they divide its width.
    """
    step = round(total * (math.sqrt(5) - 1) / 2)
    while math.gcd(step, total) != 1:
        step += 1
    return torch.arange(count, device=device) * step % total
