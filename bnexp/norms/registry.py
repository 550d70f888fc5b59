"""Builds a normalization by its name in the block notation."""

from collections.abc import Callable
from typing import Any

from torch import nn

from bnexp.config.block import Item
from bnexp.config.items import NormName
from bnexp.norms.batch_norm import batch_norm
from bnexp.norms.layer_norm import layer_norm
from bnexp.norms.shapes import Shape

NORMS: dict[NormName, Callable[[Shape, Any], nn.Module]] = {
    "bn": batch_norm,
    "ln": layer_norm,
}


def build_norm(item: Item, shape: Shape) -> nn.Module:
    """Return the module of a norm item for inputs (B, *shape): (F,) or (C, H, W)."""
    return NORMS[item.name](shape, item.options)  # type: ignore[index]
