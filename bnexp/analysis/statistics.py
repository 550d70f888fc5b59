"""Mean and spread over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """What n values of one figure say. `std` is the sample standard deviation, None for a single value."""

    mean: float
    std: float | None
    n: int


def sample_of(values: Sequence[float]) -> Sample | None:
    """Return mean and sample standard deviation (divisor n - 1); None where there is no value."""
    n = len(values)
    if n == 0:
        return None
    # Near the largest float, sums and squares overflow. Dividing by a power of two first is exact and leaves below 2.
    scale = 2.0 ** (math.frexp(max(map(abs, values)))[1] - 1)
    scaled = [value / scale for value in values]
    mean = math.fsum(scaled) / n
    if n == 1:
        return Sample(values[0], None, 1)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in scaled) / (n - 1))
    return Sample(mean * scale, std * scale, n)
