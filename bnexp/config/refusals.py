"""Refusals: everything that no config may ask for and that only shows beside the dataset and the whole network.

Each function raises a ConfigError that names the key, what was found and what was expected.
"""

import math
import re

from bnexp.config.block import Item
from bnexp.config.data_section import MAX_WHITENED_FEATURES, DataConfig, DatasetInfo
from bnexp.config.items import GroupedOptions, LayerOptions
from bnexp.config.layout import Layout, Placed, Shape
from bnexp.config.model import CnnConfig, MlpConfig, ModelConfig
from bnexp.config.schema import Config
from bnexp.config.wording import one_of, shown
from bnexp.errors import ConfigError

MAX_GB = 1_000
"""More than any one device has; what lies below it and is still too much, the device itself refuses."""
_MAX_NAMED = 16
"""Numbers of groups that a message names."""


def refuse_empty_parts(data: DataConfig, info: DatasetInfo, taken: int) -> None:
    """Refuse a validation or training part without examples, and a batch larger than the training part.

    `taken` are the examples split off for validation, none where the dataset brings a validation part.
    """
    available = info.train_examples - taken
    if info.val_examples is None and (taken < 1 or available < 1):
        raise ConfigError(
            f"data.val_fraction {data.val_fraction} of {info.train_examples} examples leaves {available} to train "
            f"on and {taken} to validate on; each part needs at least one"
        )
    train_examples = min(available, data.limit or available)
    if data.batch_size > train_examples:
        less = f"{info.train_examples} less {taken} for validation" if taken else f"{info.train_examples}"
        limit = f", data.limit {data.limit}" if data.limit else ""
        raise ConfigError(
            f"data.batch_size {data.batch_size} is larger than the training set of {train_examples} examples "
            f"({less}{limit}); expected at most {train_examples}"
        )


def refuse_to_whiten_too_much(data: DataConfig, info: DatasetInfo) -> None:
    """Refuse to whiten images whose covariance would take too much memory."""
    features = math.prod(info.shape)
    if data.whitens and features > MAX_WHITENED_FEATURES:
        size = " x ".join(map(str, info.shape))
        raise ConfigError(
            f"data.preprocess {data.preprocess}: {size} = {features:,} features have a covariance of "
            f"{8 * features**2 / 1e9:,.1f} GB; expected at most {MAX_WHITENED_FEATURES:,} features"
        )


def refuse_lone_examples(config: Config, train_examples: int, last_batch: int) -> None:
    """Refuse a batch or ghost batch of one example, of which a norm could take no statistics."""
    norms = [item for item in config.model.items if item.kind.batch_statistics]
    reason, batch_size = _statistics_of_one_example(config), config.data.batch_size
    if norms and batch_size == 1:
        least = max(_fewest_values(item) for item in norms) if config.model.arch == "mlp" else 2
        raise ConfigError(f"data.batch_size 1 with {norms[0].name}: {reason}; expected at least {least}")
    if norms and last_batch == 1:
        raise ConfigError(
            f"the last batch of each epoch would hold 1 example ({train_examples} = {train_examples // batch_size} x "
            f"{batch_size} + 1), with {norms[0].name}: {reason}; set data.drop_last=true or another data.batch_size"
        )
    for item in config.model.items:
        if item.options.ghost_size is not None:
            _refuse_ghost_of_one(config, item, item.options.ghost_size, last_batch)


def _statistics_of_one_example(config: Config) -> str:
    """Say what batch statistics of one example are: of a vector nothing, of an image those of its own positions."""
    if config.model.arch == "mlp":
        return "one vector has no batch statistics, its mean is itself and its variance 0"
    return "the statistics of one image are those of its own positions: instance normalization, in training only"


def _refuse_ghost_of_one(config: Config, item: Item, size: int, last_batch: int) -> None:
    """Refuse a size of ghost batches that leaves one example over: what is left over is a ghost batch of its own."""
    batch_size, written = config.data.batch_size, f"{item.name}(size={size})"
    if size > batch_size:
        raise ConfigError(
            f"data.batch_size {batch_size} with {written}: a ghost batch is a part of the batch; "
            f"expected a size of at most {batch_size}, or bn"
        )
    for batch, key in ((batch_size, "data.batch_size"), (last_batch, "the last batch of each epoch:")):
        if batch % size == 1:
            raise ConfigError(
                f"{key} {batch} with {written}: {batch} = {batch // size} x {size} + 1, and the ghost "
                f"batch that is left over holds 1 example: {_statistics_of_one_example(config)}; set another size or "
                "data.batch_size" + (", or data.drop_last=true" if batch != batch_size else "")
            )


def check_network(config: Config, layout: Layout) -> None:
    """Refuse items that do not fit their input, or whose output ignores it, and networks beyond any memory."""
    _refuse_beyond_memory(config, layout)
    for block in layout.blocks:
        for placed in (*block.items, *block.shortcut):
            if problem := problem_of(placed):
                where = re.sub(r"^block", "block ", block.place)
                raise ConfigError(f"{_widths_of(config.model)}: the {placed.item.name} of {where} would {problem}")


def _refuse_beyond_memory(config: Config, layout: Layout) -> None:
    """Refuse a network whose weights, or a batch whose largest layer, would not fit on any device."""
    weights = 4 * count_weights(layout) / 1e9  # of 4 bytes each
    if weights > MAX_GB:
        raise ConfigError(
            f"model: the weights of this network would take {weights:,.0f} GB; expected at most {MAX_GB:,} GB"
        )
    largest = max(math.prod(placed.shape_out) for block in layout.blocks for placed in block.items)
    batch = 4 * largest * config.data.batch_size / 1e9
    if batch > MAX_GB:
        raise ConfigError(
            f"data.batch_size {config.data.batch_size}: the largest layer gives out {largest:,} values for each "
            f"example, {batch:,.0f} GB for a batch; expected at most {MAX_GB:,} GB"
        )


def count_weights(layout: Layout) -> int:
    """Count the weights of all layers and of the head, without biases and the parameters of norms."""
    placed = (placed for block in layout.blocks for placed in (*block.items, *block.shortcut))
    layers = (layer for layer in placed if layer.item.kind.role == "layer")
    of_layers = sum(layer.shape_in[0] * layer.shape_out[0] * layer.kernel**2 for layer in layers)
    return of_layers + layout.features * layout.classes


def _widths_of(model: ModelConfig) -> str:
    """Return the key that sets the widths, and its value."""
    if isinstance(model, MlpConfig):
        return f"model.hidden {shown(model.hidden)}"
    if isinstance(model, CnnConfig):
        return f"model.stages {shown(model.widths)}"
    return f"model.width {model.stage_width(0)}"


def problem_of(placed: Placed) -> str | None:
    """Return why an item cannot work with its input, or None where it can."""
    item, shape = placed.item, placed.shape_in
    if isinstance(item.options, LayerOptions) and item.options.weight_std:
        if shape[0] * placed.kernel**2 > 1:
            return None
        expected = "2 features" if len(shape) == 1 else "2 channels or a larger kernel"
        return f"standardize 1 weight per unit, which is 0 then; expected an input of at least {expected}"
    if isinstance(item.options, GroupedOptions):
        return _problem_of_groups(item, item.options.groups, shape)
    values = {"example": math.prod(shape), "position": shape[0], "channel": math.prod(shape[1:])}
    if item.kind.lone_value is None or values[item.kind.over] > 1:
        return None
    if item.kind.over == "channel":
        return (
            f"see 1 value per channel and {item.kind.lone_value}; expected feature maps of more than one pixel "
            "(ln normalizes the features of an mlp)"
        )
    return f"see 1 feature and {item.kind.lone_value}; expected a width of at least {_fewest_values(item)}"


def _fewest_values(item: Item) -> int:
    """Return how many values a statistic needs for more than a sign to be left of them."""
    return 3 if item.kind.subtracts_mean else 2


def _problem_of_groups(item: Item, groups: int, shape: Shape) -> str | None:
    channels = shape[0]
    if channels % groups == 0 and math.prod(shape) > groups:
        return None
    most = math.prod(shape) // (fewest := _fewest_values(item))
    fitting = [count for count in range(1, min(channels, most) + 1) if channels % count == 0]
    expected = f"expected groups={one_of(fitting, _MAX_NAMED)}" if fitting else f"expected at least {fewest} values"
    if channels % groups:
        return f"have {groups} groups, which do not divide {channels} channels; {expected}"
    return f"see 1 value in each of its {groups} groups and {item.kind.lone_value}; {expected}"
