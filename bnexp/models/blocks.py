"""Turns placed items into modules."""

from typing import Any, cast

from torch import Tensor, nn

from bnexp.config.layout import BlockLayout, Placed
from bnexp.config.randomness import derive_seed
from bnexp.models.activations import build_activation, gain_after
from bnexp.models.dropout import Dropout
from bnexp.norms.noisy_batch_norm import noisy_batch_norm
from bnexp.norms.registry import build_norm
from bnexp.norms.weights import build_conv, build_linear


class Add(nn.Module):
    """The sum of branch and shortcut; a module so that probes can look at it."""

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Return branch + shortcut, both (B, C, H, W)."""
        return branch + shortcut


def build_block(layout: BlockLayout, seed: int) -> nn.Sequential:
    """Return the items of a block without a shortcut, one after the other."""
    block = nn.Sequential()
    for placed in layout.items:
        block.add_module(placed.name, build_item(placed, f"{layout.place}.{placed.name}", seed))
    return block


def build_item(placed: Placed, place: str, seed: int) -> nn.Module:
    """Return the module of a placed item other than `add`.

    Args:
        placed: the item, its shapes, its bias and stride.
        place: its full name, such as `stage1.block2.conv1`.
        seed: the run's seed, for what draws at every step.
    """
    item, options = placed.item, cast("Any", placed.item.options)
    if item.kind.role == "layer":
        return _layer(placed, options)
    if item.name == "noisy_bn":
        return noisy_batch_norm(placed.shape_in, options, derive_seed(seed, "noise", place))
    if item.kind.role == "norm":
        return build_norm(item, placed.shape_in)
    if item.kind.role == "dropout":
        return Dropout(options.p, derive_seed(seed, "dropout", place))
    return build_activation(item, placed.shape_in)


def _layer(placed: Placed, options: Any) -> nn.Module:
    before, after, gain = placed.shape_in[0], placed.shape_out[0], gain_after(placed.after)
    if placed.item.name == "linear":
        return build_linear(options, before, after, bias=placed.bias, input_gain=gain)
    return build_conv(options, before, after, placed.kernel, placed.stride, bias=placed.bias, input_gain=gain)
