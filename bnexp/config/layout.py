"""The network of a config as a list of placed items with their shapes, worked out without torch.

Checking reads it (shapes, groups, inputs that are too small), and building turns each placed item into one module. A
shape is what one example has: (F,) for vectors, (C, H, W) for images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

from bnexp.config.block import Item, numbered_names
from bnexp.config.items import ConvOptions
from bnexp.config.model import CnnConfig, MlpConfig, ModelConfig, ResnetConfig
from bnexp.errors import ConfigError

Shape = tuple[int, ...]
_MAX_SIDE = 65_536
"""Side of the largest image for which a network is laid out to find the least size that fits."""


@dataclass(frozen=True)
class Placed:
    """One item of a block at its place, with the shapes of its input and output, and a convolution's stride and kernel.

    `after` is the activation that its input comes from, dropout and poolings left aside.
    """

    name: str
    item: Item
    shape_in: Shape
    shape_out: Shape
    bias: bool = False
    stride: int = 1
    kernel: int = 1
    after: Item | None = None


@dataclass(frozen=True)
class BlockLayout:
    """One block, such as `stage2.block1`.

    Attributes:
        items: in order; `add` is where the shortcut of a residual block comes in.
        shortcut: the items of a projection, where the shape changes and the shortcut is one; else it is padded.
        zero_gamma: start the gamma of the branch's last norm at 0.
        skip_gain: multiply the branch by a learned scalar that starts at 0.
    """

    place: str
    items: tuple[Placed, ...]
    shape_in: Shape
    shortcut: tuple[Placed, ...] = ()
    zero_gamma: bool = False
    skip_gain: bool = False

    @property
    def shape_out(self) -> Shape:
        """Shape of the last item's output."""
        return self.items[-1].shape_out

    @property
    def branch(self) -> tuple[Placed, ...]:
        """The items before `add`, which a shortcut leads past; all items where there is none."""
        return tuple(takewhile(lambda placed: placed.item.name != "add", self.items))

    @property
    def shape_at_add(self) -> Shape:
        """Shape of the branch's output, which is that of the shortcut's too."""
        return self.branch[-1].shape_out

    @property
    def stride(self) -> int:
        """The factor by which the branch shrinks its images."""
        return math.prod(placed.stride for placed in self.branch)

    @property
    def residual(self) -> bool:
        """Tell whether a shortcut leads past some of its items."""
        return len(self.branch) < len(self.items)


@dataclass(frozen=True)
class PoolLayout:
    """A pooling of 2 x 2 between two stages."""

    place: str
    kind: Literal["max", "avg"]
    shape_in: Shape

    @property
    def shape_out(self) -> Shape:
        """Shape of its output: each side halved, an odd last row or column left out."""
        channels, height, width = self.shape_in
        return channels, height // 2, width // 2


Part = BlockLayout | PoolLayout


@dataclass(frozen=True)
class Layout:
    """A whole network: its parts in the order of computation, and how the head takes the output of the last."""

    parts: tuple[Part, ...]
    head: Literal["flatten", "gap"]
    features: int
    classes: int

    @property
    def blocks(self) -> list[BlockLayout]:
        """The blocks, without the poolings."""
        return [part for part in self.parts if isinstance(part, BlockLayout)]

    @property
    def placed(self) -> dict[str, Placed]:
        """The placed items of the blocks, by their full names, those of shortcuts last."""
        blocks = self.blocks
        branches = {f"{block.place}.{placed.name}": placed for block in blocks for placed in block.items}
        shortcuts = {f"{block.place}.shortcut.{placed.name}": placed for block in blocks for placed in block.shortcut}
        return branches | shortcuts


def layout_of(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> Layout:
    """Lay out the network of a config for images of `shape` (C, H, W).

    Raises:
        ConfigError: the images are too small; with the least size that fits.
    """
    try:
        return _layout(model, shape, classes)
    except _TooSmallError as small:
        least = _least_side(model, shape[0])
        needed = f"at least {least} x {least}" if least else f"more than {_MAX_SIDE} x {_MAX_SIDE}"
        raise ConfigError(
            f"model: {small}, too small to be halved; this network needs images of {needed}, with "
            "fewer stages or smaller strides less"
        ) from None


def _layout(model: ModelConfig, shape: Shape, classes: int) -> Layout:
    head: Literal["flatten", "gap"]
    match model:
        case MlpConfig():
            parts, head = _mlp(model, shape), "flatten"
        case CnnConfig():
            parts, head = _cnn(model, shape), model.head
        case ResnetConfig():
            parts, head = _resnet(model, shape), "gap"
    last = parts[-1].shape_out
    features = last[0] if head == "gap" else math.prod(last)
    return Layout(tuple(_with_activations(with_biases(parts, model.bias))), head, features, classes)


class _TooSmallError(Exception):
    """A stage would halve an image of one pixel."""


def _least_side(model: ModelConfig, channels: int) -> int | None:
    """Return the least side of a square image that fits, found by walking back; None where even the largest does not.

    A convolution of stride s that gives a side of n needs one of (n - 1) s + 1, a halving one of 2 n, and neither a
    pooling nor a stage halves a side of 1.
    """
    try:
        layout = _layout(model, (channels, _MAX_SIDE, _MAX_SIDE), classes=1)
    except _TooSmallError:
        return None
    side = 1
    for part in reversed(layout.parts):
        if isinstance(part, PoolLayout):
            side *= 2
            continue
        for placed in reversed(part.items):
            side = (side - 1) * placed.stride + 1
            if placed.stride > getattr(placed.item.options, "stride", 1):
                side = max(side, 2)
    return side


def _expect_size(shape: Shape, stride: int, where: str) -> None:
    if stride > 1 and min(shape[1:]) < stride:
        raise _TooSmallError(f"the image is {shape[1]} x {shape[2]} at {where}")


def _mlp(model: MlpConfig, shape: Shape) -> list[Part]:
    parts: list[Part] = []
    shape = (math.prod(shape),)
    for number, width in enumerate(model.hidden, start=1):
        parts.append(place_block(model.items, f"block{number}", shape, width))
        shape = parts[-1].shape_out
    return parts


def _cnn(model: CnnConfig, shape: Shape) -> list[Part]:
    parts: list[Part] = []
    for stage, widths in enumerate(model.widths, start=1):
        for number, width in enumerate(widths, start=1):
            stride = 2 if model.pool == "stride" and stage > 1 and number == 1 else 1
            _expect_size(shape, stride, f"stage {stage}")
            parts.append(place_block(model.items, f"stage{stage}.block{number}", shape, width, stride))
            shape = parts[-1].shape_out
        if model.pool != "stride":
            _expect_size(shape, 2, f"the pooling after stage {stage}")
            parts.append(PoolLayout(f"stage{stage}.pool", model.pool, shape))
            shape = parts[-1].shape_out
    return parts


def _resnet(model: ResnetConfig, shape: Shape) -> list[Part]:
    """Lay out stem, residual blocks, and what a pre-activation network needs before its head.

    The stem is one convolution, followed by the items that follow the block's first one up to its next layer
    (`bn -> relu`). A block that begins with a norm or an activation is pre-activation: its stem is the convolution
    alone, and what it begins with comes once more after the last block. The first block's shortcut then carries what
    the convolution gives; in the appendix of He et al. 2016 norm and activation come first, for both paths.

    With `pool`, a stage after the first begins with a transition: the stem's items, after what a pre-activation block
    begins with, and a pooling, as in the ResNet-9 of https://github.com/davidcpage/cifar10-fast.
    """
    items = model.items
    first = next(index for index, item in enumerate(items) if item.kind.role == "layer")
    opening = items[:first]
    following = takewhile(lambda item: item.kind.role not in ("layer", "shortcut"), items[first + 1 :])
    stem_items = (items[first], *(() if opening else following))
    parts: list[Part] = [place_block(stem_items, "stem", shape, model.stage_width(0))]
    for stage, blocks in enumerate(model.stage_blocks, start=1):
        if model.pool is not None and stage > 1:
            place, width = f"stage{stage}.transition", model.stage_width(stage - 1)
            parts.append(place_block((*opening, *stem_items), place, parts[-1].shape_out, width))
            _expect_size(parts[-1].shape_out, 2, f"the pooling of stage {stage}")
            parts.append(PoolLayout(f"stage{stage}.pool", model.pool, parts[-1].shape_out))
        for number in range(1, blocks + 1):
            stride = 2 if stage > 1 and number == 1 and model.pool is None else 1
            before, place = parts[-1].shape_out, f"stage{stage}.block{number}"
            _expect_size(before, stride, f"stage {stage}")
            block = place_block(items, place, before, model.stage_width(stage - 1), stride)
            shortcut = _projection(block) if model.shortcut == "projection" else ()
            parts.append(replace(block, shortcut=shortcut, zero_gamma=model.zero_gamma, skip_gain=model.skip_gain))
    if opening:
        parts.append(place_block(opening, "final", parts[-1].shape_out, 0))
    return parts


def _projection(block: BlockLayout) -> tuple[Placed, ...]:
    """Return a 1 x 1 convolution to the shape at `add`, with the norm that the branch has right before it."""
    if block.shape_in == block.shape_at_add:
        return ()
    layer = next(placed.item for placed in block.branch if placed.item.name == "conv")
    conv = Placed("conv", layer, block.shape_in, block.shape_at_add, stride=block.stride, kernel=1)
    last = block.branch[-1]
    return (conv, replace(last, name=last.item.name)) if last.item.kind.role == "norm" else (conv,)


def place_block(items: Sequence[Item], place: str, shape: Shape, width: int, stride: int = 1) -> BlockLayout:
    """Place the items of one block; its first layer takes the stride, every layer leads to `width`."""
    placed: list[Placed] = []
    shape_in = shape
    for name, item in zip(numbered_names(items), items, strict=True):
        shape_out, step = shape, 1
        if item.name == "linear":
            shape_out = (width,)
        elif isinstance(item.options, ConvOptions):
            step, stride = item.options.stride * stride, 1
            # The padding keeps the size but for the stride.
            shape_out = (width, -(-shape[1] // step), -(-shape[2] // step))
        placed.append(Placed(name, item, shape, shape_out, stride=step, kernel=getattr(item.options, "kernel", 1)))
        shape = shape_out
    return BlockLayout(place, tuple(placed), shape_in)


def with_biases(parts: Sequence[Part], bias: bool | Literal["auto"]) -> list[Part]:
    """Decide for each layer whether it has a bias: `auto` leaves it out where the very next item cancels it."""
    following = following_items(parts)

    def biased(place: str, items: Sequence[Placed]) -> tuple[Placed, ...]:
        return tuple(
            replace(placed, bias=_keeps_bias(placed.item, following[f"{place}.{placed.name}"], bias))
            for placed in items
        )

    return [
        replace(part, items=biased(part.place, part.items), shortcut=biased(f"{part.place}.shortcut", part.shortcut))
        if isinstance(part, BlockLayout)
        else part
        for part in parts
    ]


def _keeps_bias(item: Item, following: Item | None, bias: bool | Literal["auto"]) -> bool:
    if item.kind.role != "layer" or bias != "auto":
        return item.kind.role == "layer" and bias is True
    return following is None or not following.kind.cancels_bias


def following_items(parts: Sequence[Part]) -> dict[str, Item | None]:
    """Return for each item, by its full name, the only item that takes its output, also across blocks.

    There is none after the end of a shortcut, before a pooling, and before a residual block: the pooling comes between,
    and the shortcut of the block carries the same values past its first item.
    """
    following_of: dict[str, Item | None] = {}
    following: Item | None = None
    for part in reversed(parts):
        if isinstance(part, PoolLayout):
            following = None
            continue
        paths = ((part.place, part.items, following), (f"{part.place}.shortcut", part.shortcut, None))
        for place, items, last in paths:
            after = [*(placed.item for placed in items[1:]), last]
            following_of |= {f"{place}.{placed.name}": item for placed, item in zip(items, after, strict=False)}
        following = None if part.residual else part.items[0].item
    return following_of


def _with_activations(parts: Sequence[Part]) -> Iterator[Part]:
    """Note at each item the activation that its input comes from; after a layer, a norm or a sum there is none."""
    before: Item | None = None
    for part in parts:
        if isinstance(part, BlockLayout):
            shortcut, _ = _after_activations(part.shortcut, before)
            items, before = _after_activations(part.items, before)
            part = replace(part, items=items, shortcut=shortcut)
        yield part


def _after_activations(items: Sequence[Placed], before: Item | None) -> tuple[tuple[Placed, ...], Item | None]:
    """Return the items of a block whose input comes from the activation `before`, and the activation they end with."""
    noted: list[Placed] = []
    for placed in items:
        noted.append(replace(placed, after=before))
        if placed.item.kind.role != "dropout":
            before = placed.item if placed.item.kind.role == "activation" else None
    return tuple(noted), before
