"""Sizes and samples of tensors.

The norms neither overflow nor vanish where a square would: 1e-25 has a size, and its square in float32 has none. The
samples are spread over the whole, the same ones every time.
"""

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Name = TypeVar("Name")
Thing = TypeVar("Thing")


def where_float64_is(values: Tensor) -> Tensor:
    """Return the values on their device, or on the CPU, whose memory they share, where the device has no float64."""
    return values.cpu() if values.device.type == "mps" else values


def length(values: Tensor) -> Tensor:
    """Return the Euclidean norm of all values, shape (), added up in float64."""
    norm: Tensor = torch.linalg.vector_norm(where_float64_is(values), dtype=torch.float64)
    return norm.to(values)


def lengths(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of each of N tensors, (N,) in float64, on the device or, where it has none, on the CPU.

    They are taken together: a GPU takes longer to begin hundreds of small computations than to do them.
    """
    return torch.stack(torch._foreach_norm([where_float64_is(values) for values in tensors], dtype=torch.float64))


def total_lengths(norms: Tensor, parts: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return the Euclidean norm of all tensors of each part as if they were one vector, (P,) for P parts.

    A part is the numbers of its tensors among N, whose norms are (N,).
    """
    padded = torch.cat((norms, norms.new_zeros(1)))
    totals: Tensor = torch.linalg.vector_norm(padded[_places(parts, len(norms), norms.device)], dim=1)
    return totals


@functools.cache
def _places(parts: tuple[tuple[int, ...], ...], otherwise: int, device: torch.device) -> Tensor:
    """Return rows of numbers as a matrix on a device, the shorter ones filled up with `otherwise`.

    It is cached, since to copy it would wait for the device, and for good, since a recorded look goes on reading it.
    """
    columns = itertools.zip_longest(*parts, fillvalue=otherwise)
    return torch.tensor(list(columns), dtype=torch.int64, device=device).T


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
    """Return columns of matrices of units (..., B, U), (..., B, at most `most`)."""
    if units.shape[-1] <= most:
        return units
    places = spread_places(units.shape[-1], most, units.device)
    if units.ndim == 3 and len(units) == 1:  # as one matrix a CPU takes a thirtieth of the time
        return units[0].index_select(1, places).unsqueeze(0)
    return units.index_select(-1, places)


def spread_values(units: Tensor) -> Tensor:
    """Return the values of matrices of units (..., B, U) in a row each, (..., min(values, 4096))."""
    values = units.flatten(-2)
    if values.shape[-1] <= MOST_VALUES:
        return values
    return values.index_select(-1, spread_places(values.shape[-1], MOST_VALUES, values.device))


def grouped(things: Mapping[Name, Thing], kind: Callable[[Thing], Hashable]) -> list[dict[Name, Thing]]:
    """Return groups of things of one kind, to be measured together.

    A GPU takes longer to begin hundreds of small computations than to do them.
    """
    groups = defaultdict[Hashable, dict[Name, Thing]](dict)
    for name, thing in things.items():
        groups[kind(thing)][name] = thing
    return list(groups.values())


def alike(tensors: Mapping[str, Tensor], most: int) -> Iterator[dict[str, Tensor]]:
    """Yield groups of tensors of one shape and type, each of at most so many values, but of one tensor at least."""
    for group in grouped(tensors, lambda tensor: (tensor.shape, tensor.dtype)):
        names = list(group)
        count = max(1, most // max(group[names[0]].numel(), 1))
        for at in range(0, len(names), count):
            yield {name: group[name] for name in names[at : at + count]}


def as_one(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors of one shape as one, with their number in front; one alone is not copied."""
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))


def fractions(true: Tensor) -> Tensor:
    """Return the fraction of each row (N, n) that is true, (N,)."""
    return true.sum(dim=1) / true.shape[1]


@functools.cache
def spread_places(total: int, count: int, device: torch.device) -> Tensor:
    """Return `count` different places in range(total), spread evenly by steps of the golden section.

    Equal steps would meet the same column of every feature map, wherever they divide its width. A recorded look goes on
    reading them: no cache may ever let them go.
    """
    step = round(total * (math.sqrt(5) - 1) / 2)
    while math.gcd(step, total) != 1:
        step += 1
    return torch.arange(count, device=device) * step % total
