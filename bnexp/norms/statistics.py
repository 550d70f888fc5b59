"""Measure the statistics of norms from outside; no forward pass calls these functions.

A norm that keeps running statistics other than those of torch's batch norm has methods of its own:

    statistics_from(moments)    what it keeps of values with these moments, by the names of its buffers
    batch_statistics(x)         in place of that, what it keeps of a batch, where no moments tell
    running_moments()           its running `mean` and `std` of each feature, those that it has

Attributes that measuring sets to false for a time: `corrects`, where a norm corrects toward its running statistics in
training, `splits`, where it splits the batch, `noisy`, where it draws noise, and `in_parts`, where it passes a whole
batch in the parts that several processes take.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.config.items import GroupedOptions
from bnexp.norms.shapes import moments, over_batch, widened


class Moments(NamedTuple):
    """Mean and biased variance of each feature, (F,) each, over so many values."""

    mean: Tensor
    var: Tensor
    values: int


def batch_moments(x: Tensor) -> Moments:
    """Return the moments of a batch, (B, F) or (B, C, H, W), over its examples and positions."""
    var, mean = torch.var_mean(widened(x), dim=over_batch(x), correction=0)
    return Moments(mean, var, x.numel() // x.shape[1])


def pooled(batches: Sequence[Moments]) -> Moments:
    """Return the moments of the values of several batches together.

        mean = mean of mean_b,    var = mean of var_b + variance of mean_b      each batch weighted by its count

    Source: https://arxiv.org/abs/2105.07576, appendix; the weights are those of its authors' fvcore.nn.precise_bn
    """
    means, variances, counts = zip(*batches, strict=True)
    count, stacked = sum(counts), torch.stack(means)  # (batches, F)
    weights = stacked.new_tensor(counts) / count
    mean = weights @ stacked
    return Moments(mean, weights @ (torch.stack(variances) + (stacked - mean).square()), count)


Seen = Moments | tuple[dict[str, Tensor], int]
"""What a norm's statistics of some values are made of: their moments, or those that it names itself, and the count."""


def seen_by(norm: nn.Module, x: Tensor) -> Seen:
    """Return what the statistics of a norm are made of, in a batch (B, F) or (B, C, H, W) that it takes in."""
    own: Callable[[Tensor], dict[str, Tensor]] | None = getattr(norm, "batch_statistics", None)
    return batch_moments(x) if own is None else (own(widened(x)), len(x))


def statistics_of(norm: nn.Module, seen: Sequence[Seen]) -> dict[str, Tensor]:
    """Return what a norm keeps of all that it has seen, by the names of its buffers.

    Moments are those of all values together; of other statistics it is the mean, each batch weighted by its count.
    """
    moments_seen = [one for one in seen if isinstance(one, Moments)]
    if moments_seen:
        return statistics_from(norm, pooled(moments_seen))
    named = [one for one in seen if not isinstance(one, Moments)]
    count = sum(weight for _, weight in named)
    return {
        name: torch.stack([values[name] * (weight / count) for values, weight in named]).sum(0) for name in named[0][0]
    }


def statistics_from(norm: nn.Module, found: Moments) -> dict[str, Tensor]:
    """Return what a norm keeps, as running statistics, of values with these moments: (F,) for each such buffer.

    That is mean and unbiased variance, unless the norm has a method `statistics_from`.

    Raises:
        ValueError: the moments are of a single value, which has no unbiased variance.
    """
    own: Callable[[Moments], dict[str, Tensor]] | None = getattr(norm, "statistics_from", None)
    if own is not None:
        return own(found)
    if found.values < 2:
        raise ValueError(f"found moments of {found.values} value; expected 2 or more, for an unbiased variance")
    held = {name for name, _ in norm.named_buffers()}
    unbiased = found.var * (found.values / (found.values - 1))
    return {name: value for name, value in (("running_mean", found.mean), ("running_var", unbiased)) if name in held}


def running_moments(norm: nn.Module) -> dict[str, Tensor]:
    """Return copies of the running `mean` and `std` of each feature, (F,) or (C,), those that the norm has."""
    own: Callable[[], dict[str, Tensor]] | None = getattr(norm, "running_moments", None)
    if own is not None:
        return {name: value.clone() for name, value in own().items()}
    buffers = dict(norm.named_buffers())
    mean, var = buffers.get("running_mean"), buffers.get("running_var")
    return ({} if mean is None else {"mean": mean.clone()}) | ({} if var is None else {"std": var.sqrt()})


def example_variances(item: Item, x: Tensor) -> Tensor | None:
    """Return the variances of each example of x that a norm standardizes by; None where it standardizes no example.

    From (B, F) or (B, C, H, W) they are (B,) over examples; over their groups, channels or positions (B * groups,),
    (B * C,) or (B * H * W,).
    """
    if item.kind.divided is None or not item.kind.subtracts_mean:
        return None
    if isinstance(item.options, GroupedOptions):
        return moments(x.reshape(len(x), item.options.groups, -1), [2])[1]
    if item.kind.over == "position":
        return moments(x.movedim(1, -1), [-1])[1]
    return moments(x, list(range(1 if item.kind.over == "example" else 2, x.ndim)))[1]
