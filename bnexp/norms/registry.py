"""The builder of each norm by its name in the block notation."""

from collections.abc import Callable

from torch import nn

from bnexp.config.block import Item
from bnexp.config.items import ItemName
from bnexp.norms.batch_norm import batch_norm, sync_batch_norm
from bnexp.norms.batch_renorm import batch_renorm
from bnexp.norms.dynamic_tanh import dynamic_tanh
from bnexp.norms.evonorm import evonorm_b0, evonorm_s0
from bnexp.norms.filter_response_norm import filter_response_norm
from bnexp.norms.ghost_batch_norm import ghost_batch_norm
from bnexp.norms.group_norm import group_norm, instance_norm
from bnexp.norms.layer_norm import channel_layer_norm, layer_norm, rms_norm
from bnexp.norms.noisy_batch_norm import noisy_batch_norm
from bnexp.norms.shapes import Shape
from bnexp.norms.variance_norm import variance_norm

NORMS: dict[ItemName, Callable[..., nn.Module]] = {
    "bn": batch_norm,
    "ghost_bn": ghost_batch_norm,
    "batch_renorm": batch_renorm,
    "sync_bn": sync_batch_norm,
    "noisy_bn": noisy_batch_norm,
    "ln": layer_norm,
    "ln_c": channel_layer_norm,
    "gn": group_norm,
    "in": instance_norm,
    "rms": rms_norm,
    "frn": filter_response_norm,
    "vn": variance_norm,
    "evonorm_b0": evonorm_b0,
    "evonorm_s0": evonorm_s0,
    "dyt": dynamic_tanh,
}
"""From the shape and the options of a norm, and a seed where it draws, to its module."""


def build_norm(item: Item, shape: Shape, seed: int = 0) -> nn.Module:
    """Return the module of a norm.

    Args:
        item: the norm and its options.
        shape: what it normalizes, without the batch: (F,) or (C, H, W).
        seed: seed of its stream, where it draws.
    """
    build = NORMS[item.name]
    return build(shape, item.options, seed) if item.kind.draws else build(shape, item.options)
