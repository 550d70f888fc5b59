"""Warnings about norms at their places: what is valid, and leaves less of the input than its name says."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

from bnexp.config.block import Item, norm_parameters
from bnexp.config.items import GroupedOptions, LayerOptions
from bnexp.config.layout import Layout, Placed, PoolLayout
from bnexp.config.plan import Plan

LARGE_EPS = 0.1
"""From here on eps takes a tenth of a variance of 1, which layers have whose initialization keeps the signal."""
_NO_WORK = ("identity", "dropout")
"""Items between two norms that leave the second one as little to do as if they stood side by side."""


def warnings_of_norms(layout: Layout, plan: Plan) -> Iterator[str]:
    """Yield a sentence for each norm, or pair of items, that does not do what its name says at its place."""
    placed = {f"{block.place}.{item.name}": item for block in layout.blocks for item in (*block.items, *block.shortcut)}
    yield from _of_signs(placed, plan)
    yield from _of_eps(placed)
    yield from _of_sizes(placed)
    yield from _of_neighbours(layout)
    yield from _of_pooled_norm(layout)


def values_of_statistic(placed: Placed, batch_size: int) -> int | None:
    """Return how many values a norm takes each of its means or variances from; None where it takes none."""
    item, shape = placed.item, placed.shape_in
    positions = 1
    for side in shape[1:]:
        positions *= side
    groups = item.options.groups if isinstance(item.options, GroupedOptions) else 1
    return {
        "batch": (item.options.ghost_size or batch_size) * positions,
        "example": shape[0] * positions,
        "group": shape[0] * positions // groups,
        "position": shape[0],
        "channel": positions,
    }.get(item.kind.over)


def leaves_signs(item: Item, values: int | None) -> bool:
    """Tell whether a norm of so many values keeps only which is larger: (a - m, b - m) / deviation is (1, -1)."""
    return values == 2 and item.kind.subtracts_mean and not item.kind.corrects


def _of_signs(placed: Mapping[str, Placed], plan: Plan) -> Iterator[str]:
    first: dict[Item, str] = {}
    for place, norm in placed.items():
        if leaves_signs(norm.item, values_of_statistic(norm, plan.batch_size)):
            first.setdefault(norm.item, place)
    for item, place in first.items():
        of = "examples" if item.kind.over == "batch" else "values"
        yield (
            f"{place}: {item} normalizes 2 {of} at a time, and two values less their mean, over their deviation, are 1 "
            f"and -1 whatever they were: only the sign of their difference is left; give it {_more(item)}."
        )


def _more(item: Item) -> str:
    """Return what gives the statistics of an item more values."""
    if item.options.ghost_size:
        return "a larger size"
    ways = {"batch": "a larger data.batch_size", "group": "fewer groups", "channel": "larger images"}
    return ways.get(item.kind.over, "a larger width")


def _of_eps(placed: Mapping[str, Placed]) -> Iterator[str]:
    for item in dict.fromkeys(norm.item for norm in placed.values()):
        eps: float = getattr(item.options, "eps", 0.0)
        if eps >= LARGE_EPS:
            yield (
                f"{item}: eps is added to the variance, so that one of 1 comes out as {1 / (1 + eps):.2g}, and a "
                "smaller one as less; the default leaves it at 1."
            )


def _of_sizes(placed: Mapping[str, Placed]) -> Iterator[str]:
    """Warn of norms that learn a number for each value of a map: their arm is larger than that of bn."""
    for item in dict.fromkeys(norm.item for norm in placed.values()):
        shapes = [norm.shape_in for norm in placed.values() if norm.item == item]
        if not item.kind.learned_per_value or max(map(len, shapes)) == 1:
            continue
        learned = sum(norm_parameters(item, shape) for shape in shapes)
        per_channel = item.kind.learned_per_feature * sum(shape[0] for shape in shapes)
        if learned > per_channel:
            yield (
                f"{item} on images learns {learned:,} numbers, one for each value of (C, H, W), where one for each "
                f"channel would be {per_channel:,}: the arm differs in more than the norm; {item.name}(affine=channel) "
                "is what Wu & He 2018 compare."
            )


def _of_neighbours(layout: Layout) -> Iterator[str]:
    """Warn of a norm that undoes what the item before it does, across blocks and items that do nothing."""
    pairs: dict[tuple[Item, Item, bool], None] = {}
    for sequence in _sequences(layout):
        for placed, after in pairwise(sequence):
            pairs[placed.item, after.item, no_scale_left(placed, after.item, of_each_unit=True)] = None
    for first, second, undone in pairs:
        if first.kind.role == "norm" and second.kind.over != "none":
            yield (
                f"{first.name} -> {second.name}: two normalizations in a row; the second normalizes anew"
                f"{_undone_by(second, per_value=first.kind.learned_per_value)}."
            )
        if isinstance(first.options, LayerOptions) and undone:
            if first.options.weight_norm:
                yield (
                    f"{first.name}(weight_norm=true) -> {second.name}: {second.name} undoes the length that is learned."
                )
            if first.options.weight_std:
                yield (
                    f"{first.name}(weight_std=true) -> {second.name}: {second.name} undoes the scale and the gain of "
                    "the standardized weights, of which only their mean of 0 is left."
                )


def _undone_by(second: Item, *, per_value: bool) -> str:
    """Say what is left of gamma and beta before a norm."""
    if second.kind.undoes_unit_scale and second.kind.cancels_bias:
        most = "most of what gamma and beta" if per_value else "what gamma, but for its signs, and beta"
        return f", and undoes {most} of the first do"
    return ", and undoes a factor that all of gamma share" if second.kind.scale_invariant else ""


def no_scale_left(layer: Placed, norm: Item, *, of_each_unit: bool) -> bool:
    """Tell whether a positive factor on the weights of a layer, or one of each unit, has no effect on a norm behind it.

    It has one, beyond that of eps, where the layer adds a bias that the norm does not subtract, which it weighs
    against. frn of a single position divides each value by sqrt(x^2 + eps), a soft sign, and the factor decides how
    soft it is; its eps is learned.
    """
    if not (norm.kind.undoes_unit_scale if of_each_unit else norm.kind.scale_invariant):
        return False
    if norm.kind.takes_lone_values and math.prod(layer.shape_out[1:]) == 1:
        return False
    return norm.kind.cancels_bias or not layer.bias


def _sequences(layout: Layout) -> Iterator[list[Placed]]:
    """Yield the items that follow each other, without those that do nothing to a norm's input."""
    run: list[Placed] = []
    for part in layout.parts:
        if isinstance(part, PoolLayout):
            yield run
            run = []
            continue
        if part.residual:  # the shortcut carries what comes before past its first item
            yield run
            run = []
        run += [placed for placed in part.items if placed.item.name not in _NO_WORK]
        yield [placed for placed in part.shortcut if placed.item.name not in _NO_WORK]
    yield run


def _of_pooled_norm(layout: Layout) -> Iterator[str]:
    """Warn where a mean over all positions follows a norm that has set that mean to beta."""
    if layout.head != "gap":
        return
    for part in reversed(layout.parts):
        if isinstance(part, PoolLayout):
            if part.kind == "max":
                return
            continue
        last = next((placed for placed in reversed(part.items) if placed.item.name not in _NO_WORK), None)
        if last is None:
            continue
        channels, groups = last.shape_in[0], getattr(last.item.options, "groups", None)
        if last.item.kind.subtracts_mean and (last.item.kind.over == "channel" or groups == channels):
            yield (
                f"{part.place}.{last.name}: global average pooling after {last.item} sees beta and nothing of the "
                "image, since the mean of each normalized channel is beta; expected an activation between them, or "
                "model.head: flatten."
            )
        return
