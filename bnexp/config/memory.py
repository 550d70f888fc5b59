"""What no memory holds: sizes that are refused in words before anything is made."""

import math

from bnexp.config.layout import Layout
from bnexp.config.schema import Config
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
