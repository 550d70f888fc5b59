"""The builder of each norm by its name in the block notation."""

from collections.abc import Callable

from torch import nn

from bnexp.config.block import Item
from bnexp.config.items import ItemName
from bnexp.norms.batch_norm import batch_norm
from bnexp.norms.batch_renorm import BatchRenorm
from bnexp.norms.evonorm import EvoNormB0, EvoNormS0
from bnexp.norms.filter_response_norm import FilterResponseNorm
from bnexp.norms.ghost_batch_norm import GhostBatchNorm
from bnexp.norms.group_norm import group_norm, instance_norm
from bnexp.norms.layer_norm import ChannelLayerNorm, RootMeanSquareNorm, layer_norm
from bnexp.norms.noisy_batch_norm import NoisyBatchNorm
from bnexp.norms.pointwise import DynamicErf, DynamicTanh
from bnexp.norms.shapes import Shape
from bnexp.norms.sync_batch_norm import SyncBatchNorm
from bnexp.norms.trial import build_registered
from bnexp.norms.variance_norm import VarianceNorm

NORMS: dict[ItemName, Callable[..., nn.Module]] = {
    "bn": batch_norm,
    "ghost_bn": lambda shape, options: GhostBatchNorm(shape[0], options),
    "batch_renorm": lambda shape, options: BatchRenorm(shape[0], options),
    "sync_bn": lambda shape, options: SyncBatchNorm(shape[0], options),
    "noisy_bn": lambda shape, options, seed: NoisyBatchNorm(shape[0], options, seed),
    "ln": layer_norm,
    "ln_c": lambda shape, options: ChannelLayerNorm(shape[0], options.eps, options.affine),
    "gn": group_norm,
    "in": instance_norm,
    "rms": lambda shape, options: RootMeanSquareNorm(shape, options),
    "frn": lambda shape, options: FilterResponseNorm(shape, options.eps),
    "vn": lambda shape, options: VarianceNorm(shape[0], options),
    "evonorm_b0": lambda shape, options: EvoNormB0(shape[0], options),
    "evonorm_s0": lambda shape, options: EvoNormS0(shape[0], options),
    "dyt": lambda shape, options: DynamicTanh(shape[0], options.alpha),
    "derf": lambda shape, options: DynamicErf(shape[0], options.alpha),
}
"""From a shape, (F,) or (C, H, W), and the options of a norm, and a seed where it draws, to its module."""


def build_norm(item: Item, shape: Shape, seed: int = 0) -> nn.Module:
    """Return the module of a norm for a shape without the batch, (F,) or (C, H, W); the seed is that of its stream."""
    if item.kind.source is not None:
        return build_registered(item, shape)
    build = NORMS[item.name]
    return build(shape, item.options, seed) if item.kind.draws else build(shape, item.options)
