"""Sums and counts over all values of a tensor in one pass: counts are exact, and sums in float64."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bnexp.measure.samples import as_units, where_float64_is
from bnexp.runs.rows import BINS, Counts

_BLOCK = 1 << 17
"""Values that are taken at once: as many as the cache of a CPU holds in float64."""
_OUTSIDE = BINS + 1
"""Where values that are not finite are counted, behind the bins and the largest value, which has a place of its own."""
TALLIED = 5 + BINS
"""Numbers of a tally: smallest, largest, sum, sum of squares, how many are not finite, and how many lie in each bin."""


def moments_of(stacks: Sequence[Tensor]) -> Tensor:
    """Return the smallest and the largest value v of each output, the sum of v - smallest, and that of its square.

    Each stack (N, B, units) holds outputs of one shape; the moments of all outputs are (I, 4), in float64. The mean of
    n values lies within sqrt(2 n) standard deviations of the smallest, wherever that is, so that their variance,
    squares / n - (sum / n)^2, has a relative error of about n * 1e-16 at most.
    """
    stacks = [where_float64_is(outputs) for outputs in stacks]
    if not waits(stacks[0].device):
        return torch.stack([_moments_by_block(values) for outputs in stacks for values in outputs])
    rows = [outputs.flatten(1) for outputs in stacks]
    lows, highs = (torch.cat(ends).double() for ends in zip(*(each.aminmax(dim=1) for each in rows), strict=True))
    sums, lengths = list[Tensor](), list[Tensor]()
    for each, low in zip(rows, lows.split([len(each) for each in rows]), strict=True):
        above = each - low.unsqueeze(1)  # in float64
        sums.append(above.sum(dim=1))
        lengths.append(torch.linalg.vector_norm(above, dim=1))
    return torch.stack((lows, highs, torch.cat(sums), torch.cat(lengths).square()), dim=1)


def _moments_by_block(values: Tensor) -> Tensor:
    """Return the moments of one output, (4,): the way of a CPU, which takes blocks from its cache."""
    low, high = values.aminmax()
    sums = list[Tensor]()
    for block in _blocks(values):
        block.sub_(low)
        sums += [block.sum(), torch.dot(block, block)]
    total, squares = sums if len(sums) == 2 else _added(sums).unbind()
    return torch.stack((low.double(), high, total, squares))


def tally(values: Tensor) -> Tensor:
    """Count finite values in `BINS` equal bins from the smallest to the largest, for `counts_of`: (TALLIED,), float64.

    Bin i holds low + i w <= v < low + (i + 1) w with w = (high - low) / 64, the last one also v = high. Values of
    float32 are parted exactly by a bin's edge, but for those that lie nearer to it than 1e-16 of high - low, such as
    -1e-20 between -1 and 1: they are counted as on it.

    This is the way of a CPU, which takes blocks from its cache; it would wait for a GPU, and `tally_all` does not.
    """
    values = where_float64_is(values)
    if not values.numel():
        return torch.zeros(TALLIED, dtype=torch.float64, device=values.device)
    ends = values.aminmax()
    clean = bool(torch.stack(ends).isfinite().all())
    low, high = (end.double() for end in (ends if clean else _finite_ends(values)))
    width = ((high - low) / BINS).masked_fill_(high <= low, 1.0)
    sums, counts = list[Tensor](), list[Tensor]()
    for block in _blocks(values):
        finite = block if clean else block.nan_to_num(0.0, 0.0, 0.0)
        sums += [finite.sum(), torch.dot(finite, finite)]
        places = block.sub_(low).div_(width)  # in 0 .. 64
        if not clean:
            places.nan_to_num_(_OUTSIDE, _OUTSIDE, _OUTSIDE)
        counts.append(torch.bincount(places.to(torch.uint8), minlength=_OUTSIDE + 1))  # of 0 .. 1, up to 65 .. 66
    bins = torch.stack(counts).sum(dim=0).double()
    bins[BINS - 1] += bins[BINS]
    return torch.cat((torch.stack((low, high)), _added(sums), bins[_OUTSIDE:], bins[:BINS]))


def counts_of(numbers: Sequence[float]) -> Counts:
    """Return the histogram that `tally` counted, from its numbers."""
    low, high, total, squares, outside, *bins = numbers
    return Counts(low, high, total, squares, int(outside), tuple(map(int, bins)))


def waits(device: torch.device) -> bool:
    """Tell whether Python waits for the device where it asks for a value."""
    return device.type != "cpu"


def _finite_ends(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest finite value; inf and -inf where there is none."""
    inf = torch.inf
    return values.nan_to_num(inf, inf, inf).amin(), values.nan_to_num(-inf, -inf, -inf).amax()


def _blocks(values: Tensor) -> Iterator[Tensor]:
    """Yield the values in float64, in the order of memory, each time in the same tensor."""
    flat = (as_units(values) if values.ndim > 1 else values).flatten()
    blocks = flat.split(_BLOCK)
    taken = torch.empty_like(blocks[0], dtype=torch.float64)  # new memory for each would take longer than its sums
    for block in blocks:
        yield taken[: len(block)].copy_(block)


def _added(sums: list[Tensor]) -> Tensor:
    """Return the sum of the blocks' sums, and that of their sums of squares: (2,)."""
    return torch.stack(sums).view(-1, 2).sum(dim=0)
