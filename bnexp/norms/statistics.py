"""Measure the statistics of norms from outside; no forward pass calls these functions.

A norm that keeps running statistics other than those of torch's batch norm has methods of its own:

    statistics_of_batch(x)    what a batch moves its running statistics toward, by the names of its buffers
    running_moments()         its running `mean` and `std` of each feature, those that it has

Attributes that measuring sets to false for a time: `corrects`, where a norm corrects toward its running statistics in
training, and `noisy`, where it draws noise.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.config.items import GroupedOptions
from bnexp.norms.shapes import moments, over_batch, widened


def statistics_of(norm: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what a batch, (B, F) or (B, C, H, W), moves the running statistics of a norm toward, by buffer.

    That is the batch's mean and unbiased variance, (F,) or (C,), unless the norm has a method `statistics_of_batch`.
    """
    own: Callable[[Tensor], dict[str, Tensor]] | None = getattr(norm, "statistics_of_batch", None)
    if own is not None:
        return own(x)
    var, mean = torch.var_mean(widened(x), dim=over_batch(x), correction=1)
    held = {name for name, _ in norm.named_buffers()}
    return {name: value for name, value in (("running_mean", mean), ("running_var", var)) if name in held}


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
