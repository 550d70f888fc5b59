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
    mean = math.fsum(values) / n
    if n == 1:
        return Sample(mean, None, 1)
    return Sample(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)
