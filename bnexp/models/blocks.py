"""Turns the items of a block into modules, in the order written."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from bnexp.config.block import Item, numbered_names
from bnexp.config.randomness import derive_seed
from bnexp.models.activations import build_activation
from bnexp.models.dropout import Dropout
from bnexp.norms.registry import build_norm
from bnexp.norms.weights import build_linear


def build_block(
    items: Sequence[Item],
    width_in: int,
    width: int,
    *,
    following: Item | None,
    bias: bool | Literal["auto"],
    place: str,
    seed: int,
) -> nn.Sequential:
    """Build one block; its first layer leads from `width_in` to `width` features.

    Args:
        items: what the block is made of.
        width_in: features of its input, (B, width_in).
        width: features of its output, (B, width).
        following: the item that comes right after the block, or None before the head.
        bias: `model.bias`.
        place: the block's name, such as `block1`.
        seed: the run's seed, for dropout's stream.
    """
    block = nn.Sequential()
    features = width_in
    for name, item, after in zip(numbered_names(items), items, [*items[1:], following], strict=True):
        if item.kind.role == "layer":
            module: nn.Module = build_linear(item.options, features, width, bias=keeps_bias(after, bias))  # type: ignore[arg-type]
            features = width
        elif item.kind.role == "norm":
            module = build_norm(item, (features,))
        elif item.kind.role == "dropout":
            module = Dropout(item.options.p, derive_seed(seed, "dropout", place, name))  # type: ignore[attr-defined]
        else:
            module = build_activation(item, (features,))
        block.add_module(name, module)
    return block


def keeps_bias(following: Item | None, bias: bool | Literal["auto"]) -> bool:
    """Tell whether a layer has a bias: `auto` leaves it out exactly where the very next item cancels it."""
    if bias != "auto":
        return bias
    return following is None or not following.kind.cancels_bias
