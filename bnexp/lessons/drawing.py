"""The float64 tensors that lessons draw, and the parameters that a norm begins with."""

import torch
from torch import Tensor


def standard_normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values drawn with mean 0 and standard deviation 1, of the given shape."""
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def normal(generator: torch.Generator, mean: float, std: float, *shape: int) -> Tensor:
    """Return values drawn with the given mean and standard deviation, of the given shape."""
    return mean + std * standard_normal(generator, *shape)


def symmetric_uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values drawn uniformly between -1 and 1, of the given shape."""
    return 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1


def initial_parameters(features: int) -> tuple[Tensor, Tensor]:
    """Return gamma and beta, (F,) each, as a network begins with them: 1 and 0."""
    return torch.ones(features, dtype=torch.float64), torch.zeros(features, dtype=torch.float64)
