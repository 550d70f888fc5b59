"""Normalizations that cannot be built, or that would throw their input away, seen from the shapes alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bnexp.config.block import Item
from bnexp.config.items import EvoNormSampleOptions, GroupNormOptions, LayerOptions
from bnexp.errors import ConfigError


@dataclass(frozen=True)
class Placed:
    """An item at its place in the network.

    Attributes:
        where: its place in words, such as `block 2`.
        item: the item.
        shape: of its input, without the batch: (F,) or (C, H, W).
    """

    where: str
    item: Item
    shape: tuple[int, ...]


def refuse_degenerate_items(key: str, items: Iterable[Placed]) -> None:
    """Refuse items that do not fit their input, or whose output does not depend on it.

    Args:
        key: the key that sets the widths and its value, such as `model.hidden [4, 1]`.
        items: every item of the network with the shape of its input.

    Raises:
        ConfigError: groups do not divide the channels, or a mean or variance is taken of a single value.
    """
    for placed in items:
        problem = _problem_of(placed.item, placed.shape)
        if problem:
            raise ConfigError(f"{key}: the {placed.item.name} of {placed.where} would {problem}")


def _problem_of(item: Item, shape: tuple[int, ...]) -> str | None:
    """Return what an item would do with inputs of this shape that nobody can want."""
    if isinstance(item.options, GroupNormOptions | EvoNormSampleOptions):
        return _problem_of_groups(item.name, item.options.groups, shape)
    if isinstance(item.options, LayerOptions):
        return _problem_of_weights(item.options, shape[0])
    if item.name == "in" and math.prod(shape[1:]) == 1:
        return (
            "see 1 value per channel and give beta, whatever the input; expected feature maps of more than one pixel "
            "(ln normalizes the features of an mlp)"
        )
    values = shape[0] if item.name == "ln_c" else math.prod(shape)
    if item.name in ("ln", "ln_c", "rms") and values == 1:
        left = "gamma times its sign" if item.name == "rms" else "beta, whatever the input"
        return f"see 1 feature and give {left}; expected a width of at least 2"
    return None


def _problem_of_groups(name: str, groups: int, shape: tuple[int, ...]) -> str | None:
    channels = shape[0]
    fitting = [count for count in range(1, channels + 1) if channels % count == 0 and math.prod(shape) > count]
    if groups in fitting:
        return None
    expected = f"expected groups={_one_of(fitting)}" if fitting else "expected more than one value"
    if channels % groups:
        return f"have {groups} groups, which do not divide {channels} channels; {expected}"
    of_one = "divide by the root of eps alone" if name == "evonorm_s0" else "give beta, whatever the input"
    return f"see 1 value in each of its {groups} groups and {of_one}; {expected}"


def _problem_of_weights(options: LayerOptions, fan_in: int) -> str | None:
    if options.weight_std and fan_in == 1:
        return "standardize 1 weight per unit, which is 0 then; expected an input of at least 2 features"
    return None


def _one_of(numbers: list[int]) -> str:
    words = [str(number) for number in numbers]
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]
