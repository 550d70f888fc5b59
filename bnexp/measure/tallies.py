"""Tallies of many tensors together: a GPU takes longer to begin hundreds of small computations than to do them.

Tensors lie side by side as the rows of a matrix, and nan fills up the shorter ones. Nothing is copied from the host or
waited for, except how many fillings there are, once for each list of sizes. Counts are of integers, which a GPU adds
in any order: that is why torch takes `histc` of them for deterministic, and no slower path is needed.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bnexp.measure.samples import as_units, where_float64_is
from bnexp.measure.tally import tally, waits
from bnexp.runs.rows import BINS

_FEW, _MOST = 1 << 18, 1 << 22
"""A matrix has at most twice the values of the largest tensor, within these limits; a larger tensor is taken alone."""
_ROWS = 128
"""Rows of a matrix at most: their counts then have room in the memory that the threads of a block share."""
_PLACES = BINS + 2
"""Places of a row: what lies below the smallest finite value, the bins, and what lies above the largest, or nowhere."""
_WIDER_THAN_ANY = 1e300
"""The width of a bin that holds all values where they are equal."""


def tally_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the `tally` of each tensor, of float32 or fewer bits; on a GPU all are counted together."""
    tensors = [where_float64_is(values) for values in tensors]
    full = [at for at, values in enumerate(tensors) if values.numel()]
    if not (full and waits(tensors[0].device)):
        return [tally(values) for values in tensors]
    full.sort(key=lambda at: (str(tensors[at].dtype), -tensors[at].numel()))
    found = _tallies([*_side_by_side([tensors[at] for at in full])])
    tallies = dict(zip(full, found.unbind(), strict=True))
    return [tallies[at] if at in tallies else tally(values) for at, values in enumerate(tensors)]


def _side_by_side(tensors: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Yield those that lie in one matrix, of tensors in order: each type by itself, and the largest first.

    A matrix takes 12 bytes for each value, in float32 and in float64.
    """
    most = min(max(2 * max(values.numel() for values in tensors), _FEW), _MOST)
    for _, alike in itertools.groupby(tensors, key=lambda values: values.dtype):
        rest = list(alike)
        while rest:
            count = min(max(most // rest[0].numel(), 1), _ROWS)
            yield rest[:count]
            rest = rest[count:]


def _matrix(tensors: Sequence[Tensor]) -> Tensor:
    """Return the values of each tensor as a row, with nan behind those of one smaller than the first: (N, V)."""
    rows = [(as_units(values) if values.ndim > 1 else values).flatten().contiguous() for values in tensors]
    fillings = _fillings(tensors)
    if any(fillings):
        filling = rows[0].new_full((max(fillings),), torch.nan)
        rows = [part for row, size in zip(rows, fillings, strict=True) for part in (row, filling[:size]) if len(part)]
    return (torch.cat(rows) if len(rows) > 1 else rows[0]).view(len(tensors), -1)


def _fillings(tensors: Sequence[Tensor]) -> list[int]:
    """Return how many values each tensor is short of the first."""
    return [tensors[0].numel() - values.numel() for values in tensors]


def _tallies(matrices: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the tallies of all rows of the matrices, (rows, numbers of a tally)."""
    sums = zip(*map(_sums, matrices), strict=True)
    figures = torch.cat([part for parts in sums for part in parts]).view(4, -1)
    low, high, _, squares = figures.unbind()
    squares.square_()
    edges, device = _edges(low, high).split(list(map(len, matrices))), low.device
    firsts = torch.arange(0, max(map(len, matrices)) * _PLACES, _PLACES, dtype=torch.int32, device=device).unsqueeze(1)
    counts = torch.cat([_counts(some, ends, firsts) for some, ends in zip(matrices, edges, strict=True)])
    counts = counts.view(-1, _PLACES).double()
    below, bins, above = counts.split([1, BINS, 1], dim=1)
    fillings = _column(tuple(itertools.chain(*map(_fillings, matrices))), device)
    return torch.cat((figures.T, below + above - fillings, bins), dim=1)


def _sums(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the smallest and the largest finite value of each row, their sum and length: each (N,), in float64."""
    values, inf = _matrix(tensors).to(torch.float64, copy=True), torch.inf
    low = values.nan_to_num_(inf, inf, inf).amin(dim=1)
    high = values.nan_to_num_(-inf, -inf, -inf).amax(dim=1)
    values.nan_to_num_(0.0, 0.0, 0.0)
    return low, high, values.sum(dim=1), torch.linalg.vector_norm(values, dim=1)


def _edges(low: Tensor, high: Tensor) -> Tensor:
    """Return where the bins begin, low + i w, and infinity: (rows, BINS + 1), in float32.

    Each is rounded up, so that just those values of float32 are at least as large that are so before it is rounded.
    """
    width = ((high - low) / BINS).masked_fill_(high <= low, _WIDER_THAN_ANY)
    steps = torch.arange(BINS + 1, dtype=torch.float64, device=low.device)
    steps[BINS:].fill_(torch.inf)
    edges = low.unsqueeze(1) + width.unsqueeze(1) * steps
    nearest = edges.float()
    return torch.where(nearest < edges, nearest.nextafter(nearest[:, BINS:]), nearest)


def _counts(tensors: Sequence[Tensor], edges: Tensor, firsts: Tensor) -> Tensor:
    """Count how many values of each row lie in each place, from their edges (N, BINS + 1): (N * places,) of integers.

    A value's place is the number of edges that are not above it, from the first place of its row, (N or more, 1).
    """
    places = torch.searchsorted(edges, _matrix(tensors).float(), right=True, out_int32=True)
    places.add_(firsts[: len(tensors)])
    total = len(tensors) * _PLACES
    if places.device.type == "cpu":
        return torch.bincount(places.flatten(), minlength=total)
    # bincount would wait for the device, to learn the largest place.
    return torch.histc(places, bins=total, min=0, max=total)


@functools.cache
def _column(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return numbers on a device, (n, 1) in float64; cached for good, as a recorded look reads them without waiting."""
    return torch.tensor(numbers, dtype=torch.float64, device=device).unsqueeze(1)
