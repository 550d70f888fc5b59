"""Tallies of many tensors together: a GPU takes longer to begin a small computation than to do it.

Tensors are laid side by side as the rows of a matrix, and short ones filled up with nan, which is counted outside and
taken off. Nothing is copied from the host or waited for, except the numbers of fillings, once for each list of sizes.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bnexp.measure.samples import as_units, where_float64_is
from bnexp.measure.tally import TALLIED, tally, waits
from bnexp.runs.rows import BINS

_FEW, _MOST = 1 << 20, 1 << 22
"""Values that are taken at once where the largest tensor is small, and at most where it is not larger itself."""
_ROWS = 128
"""Rows of a matrix at most: their counts then have room in the memory that the threads of a block share."""
_PLACES = BINS + 2
"""Places of a row: what lies below the smallest finite value, the bins, and what lies above the largest, or nowhere."""
_WIDER_THAN_ANY = 1e300
"""The width of a bin that holds all values where they are equal."""


def tally_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the `tally` (TALLIED,) of each tensor, of float32 or fewer bits; on a GPU all are counted together."""
    rows = [_in_order_of_memory(where_float64_is(values)) for values in tensors]
    if not (rows and waits(rows[0].device)):
        return [tally(row) for row in rows]
    tallies = [torch.zeros(TALLIED, dtype=torch.float64, device=row.device) if not len(row) else row for row in rows]
    at = sorted((at for at, row in enumerate(rows) if len(row)), key=lambda at: (str(rows[at].dtype), -len(rows[at])))
    if at:
        for place, found in zip(at, _tallies([*_matrices([rows[place] for place in at])]).unbind(), strict=True):
            tallies[place] = found
    return tallies


def _in_order_of_memory(values: Tensor) -> Tensor:
    """Return the values of a tensor in a row, without copying one that lies without gaps."""
    return (as_units(values) if values.ndim > 1 else values).flatten()


def _matrices(rows: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Part rows, of which those of one type follow each other, the longest first, into those of one matrix each.

    In float64 a matrix and its values take 12 bytes for each value; one tensor alone has always taken 20.
    """
    most = min(max(2 * max(map(len, rows)), _FEW), _MOST)
    for _, alike in itertools.groupby(rows, key=lambda row: row.dtype):
        rest = list(alike)
        while rest:
            count = min(max(most // len(rest[0]), 1), _ROWS)
            yield rest[:count]
            rest = rest[count:]


def _matrix(rows: Sequence[Tensor]) -> Tensor:
    """Return rows as a matrix (N, V), with nan behind those that are shorter than the first."""
    if len(rows) == 1:
        return rows[0].unsqueeze(0)
    gaps = [len(rows[0]) - len(row) for row in rows]
    if not any(gaps):
        return torch.cat([*rows]).view(len(rows), -1)
    filling = rows[0].new_full((max(gaps),), torch.nan)
    parts = [part for row, gap in zip(rows, gaps, strict=True) for part in (row, filling[:gap]) if len(part)]
    return torch.cat(parts).view(len(rows), -1)


def _tallies(matrices: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the tallies of all rows of the matrices, (rows, TALLIED)."""
    sums = zip(*map(_sums, matrices), strict=True)
    figures = torch.cat([part for parts in sums for part in parts]).view(4, -1)
    low, high, _, squares = figures.unbind()
    squares.square_()
    edges, device = _edges(low, high).split([*map(len, matrices)]), low.device
    firsts = torch.arange(0, max(map(len, matrices)) * _PLACES, _PLACES, dtype=torch.int32, device=device).unsqueeze(1)
    counts = torch.cat([_counts(rows, ends, firsts) for rows, ends in zip(matrices, edges, strict=True)])
    counts = counts.view(-1, _PLACES).double()
    below, bins, above = counts.split([1, BINS, 1], dim=1)
    fillings = _column(tuple(len(rows[0]) - len(row) for rows in matrices for row in rows), device)
    return torch.cat((figures.T, below + above - fillings, bins), dim=1)


def _sums(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the smallest and the largest finite value of each row, their sum and length: each (N,), in float64."""
    values, inf = _matrix(rows).to(torch.float64, copy=True), torch.inf
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


def _counts(rows: Sequence[Tensor], edges: Tensor, firsts: Tensor) -> Tensor:
    """Count how many values of each row lie in each place, from their edges (N, BINS + 1): (N * places,) of integers.

    A value's place is the number of edges that are not above it, from the first place of its row, (N or more, 1).
    """
    places = torch.searchsorted(edges, _matrix(rows).float(), right=True, out_int32=True).add_(firsts[: len(rows)])
    total = len(rows) * _PLACES
    if places.device.type == "cpu":
        return torch.bincount(places.flatten(), minlength=total)
    # bincount would wait for the device, to learn the largest place.
    return torch.histc(places, bins=total, min=0, max=total)


@functools.lru_cache(maxsize=64)
def _column(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return numbers on a device, (n, 1) in float64; cached, since to copy them would wait for the device."""
    return torch.tensor(numbers, dtype=torch.float64, device=device).unsqueeze(1)
