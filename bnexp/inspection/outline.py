"""The network as built: each item with its output shape and parameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import nn

from bnexp.config.layout import BlockLayout, Layout, PoolLayout, Shape
from bnexp.models.build import leaves


@dataclass(frozen=True)
class OutlineRow:
    """One item of the network."""

    name: str  # its place, such as `block1.linear`
    shape: tuple[int, ...]  # of its output, without the batch
    parameters: int
    note: str  # why its bias was left out, where it was


def outline(network: nn.Module, layout: Layout, bias: bool | Literal["auto"] = "auto") -> list[OutlineRow]:
    """Return a row per item of the network of a layout, in the order of computation; `bias` is `model.bias`.

    Nothing is computed: the network may be without numbers.
    """
    items, shapes = leaves(network), dict(shapes_of(layout))
    following = dict(pairwise(items))
    rows = []
    for name, module in items.items():
        parameters = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        rows.append(OutlineRow(name, shapes[name], parameters, why_no_bias(module, following.get(name, ""), bias)))
    return rows


def shapes_of(layout: Layout) -> Iterator[tuple[str, Shape]]:
    """Yield each item's full name, such as `stage1.block2.conv1`, and the shape of its output, in order."""
    for part in layout.parts:
        if isinstance(part, PoolLayout):
            yield part.place, part.shape_out
        else:
            yield from ((f"{part.place}.{name}", shape) for name, shape in _shapes_in(part))
    yield "head", (layout.classes,)


def _shapes_in(block: BlockLayout) -> Iterator[tuple[str, Shape]]:
    yield from ((placed.name, placed.shape_out) for placed in block.branch)
    if block.residual:
        if block.skip_gain:
            yield "skip_gain", block.shape_at_add
        yield from ((f"shortcut.{placed.name}", placed.shape_out) for placed in block.shortcut)
        if not block.shortcut:  # the same values, or padded ones
            yield "shortcut", block.shape_at_add
        yield from ((placed.name, placed.shape_out) for placed in block.items[len(block.branch) :])


def why_no_bias(module: nn.Module, following: str, bias: bool | Literal["auto"]) -> str:
    """Say why a layer has no bias: the config says so, or the item that follows cancels it. Empty for any other."""
    if not isinstance(module, nn.Linear | nn.Conv2d) or module.bias is not None:
        return ""
    if bias is False:
        return "no bias: model.bias is false"
    return f"no bias: {following.rsplit('.', 1)[-1]} subtracts the mean of each feature, a bias cancels"
