"""What no memory holds: sizes that are refused in words before anything is made."""

import math
import re

from bnexp.config.items import EvoNormSampleOptions, GroupNormOptions, LayerOptions
from bnexp.config.layout import Layout, Placed, Shape
from bnexp.config.model import CnnConfig, MlpConfig, ModelConfig
from bnexp.config.schema import Config
from bnexp.config.wording import shown
from bnexp.errors import ConfigError

MAX_GB = 1_000
"""More than any one device has; what lies below it and is still too much, the device itself refuses."""
_BYTES = 4
"""Of a float32."""


def refuse_beyond_memory(config: Config, layout: Layout) -> None:
    """Refuse a network whose weights, or a batch whose largest layer, would not fit on any device.

    Raises:
        ConfigError: with how much it would take.
    """
    weights = gigabytes(weights_of(layout))
    if weights > MAX_GB:
        raise ConfigError(
            f"model: the weights of this network would take {weights:,.0f} GB; expected at most {MAX_GB:,} GB"
        )
    largest = max(math.prod(placed.shape_out) for block in layout.blocks for placed in block.items)
    batch = gigabytes(largest * config.data.batch_size)
    if batch > MAX_GB:
        raise ConfigError(
            f"data.batch_size {config.data.batch_size}: the largest layer gives out {largest:,} values for each "
            f"example, {batch:,.0f} GB for a batch; expected at most {MAX_GB:,} GB"
        )


def weights_of(layout: Layout) -> int:
    """Count the weights of all layers and of the head, without biases and what norms learn."""
    placed = (placed for block in layout.blocks for placed in (*block.items, *block.shortcut))
    layers = (layer for layer in placed if layer.item.kind.role == "layer")
    of_layers = sum(layer.shape_in[0] * layer.shape_out[0] * layer.kernel**2 for layer in layers)
    return of_layers + layout.features * layout.classes


def gigabytes(values: int) -> float:
    """Return how much memory this many values take."""
    return values * _BYTES / 1e9


_MAX_NAMED = 16
"""Numbers of groups that a message names."""


def refuse_degenerate(config: Config, layout: Layout) -> None:
    """Refuse items that do not fit their input, or whose output does not depend on it, and what no memory holds.

    Raises:
        ConfigError: the network or a batch is larger than any memory, groups do not divide the channels, or a mean or
            variance is taken of a single value; with the item, its place and the numbers.
    """
    refuse_beyond_memory(config, layout)
    for block in layout.blocks:
        for placed in (*block.items, *block.shortcut):
            problem = problem_of(placed)
            if problem:
                where = re.sub(r"^block", "block ", block.place)
                raise ConfigError(f"{_widths_of(config.model)}: the {placed.item.name} of {where} would {problem}")


def _widths_of(model: ModelConfig) -> str:
    """Return the key that sets the widths, and its value."""
    if isinstance(model, MlpConfig):
        return f"model.hidden {shown(model.hidden)}"
    if isinstance(model, CnnConfig):
        return f"model.stages {shown(model.widths)}"
    return f"model.width {model.stage_width(0)}"


def problem_of(placed: Placed) -> str | None:
    """Return what an item would do with its input that nobody can want, or None."""
    item, shape = placed.item, placed.shape_in
    if isinstance(item.options, GroupNormOptions | EvoNormSampleOptions):
        return _problem_of_groups(item.name, item.options.groups, shape)
    if isinstance(item.options, LayerOptions) and item.options.weight_std:
        return _problem_of_fan_in(shape, placed.kernel)
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


def _problem_of_groups(name: str, groups: int, shape: Shape) -> str | None:
    channels = shape[0]
    if channels % groups == 0 and math.prod(shape) > groups:
        return None
    fitting = [count for count in _divisors(channels) if math.prod(shape) > count]
    expected = f"expected groups={_one_of(fitting)}" if fitting else "expected more than one value"
    if channels % groups:
        return f"have {groups} groups, which do not divide {channels} channels; {expected}"
    of_one = "divide by the root of eps alone" if name == "evonorm_s0" else "give beta, whatever the input"
    return f"see 1 value in each of its {groups} groups and {of_one}; {expected}"


def _problem_of_fan_in(shape: Shape, kernel: int) -> str | None:
    if shape[0] * kernel**2 > 1:
        return None
    expected = "2 features" if len(shape) == 1 else "2 channels or a larger kernel"
    return f"standardize 1 weight per unit, which is 0 then; expected an input of at least {expected}"


def _divisors(number: int) -> list[int]:
    small = [count for count in range(1, math.isqrt(number) + 1) if number % count == 0]
    return sorted({*small, *(number // count for count in small)})


def _one_of(numbers: list[int]) -> str:
    words = [str(number) for number in numbers]
    if len(words) > _MAX_NAMED:
        words = [*words[: _MAX_NAMED - 1], "...", words[-1]]
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]
