"""The network as modules: blocks, residual blocks with their shortcuts, and the head, built from a layout.

Shapes, biases and strides come from `config/layout.py`; here each placed item becomes one module.
"""

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.config.layout import BlockLayout, Layout, Placed, PoolLayout
from bnexp.config.randomness import derive_seed
from bnexp.errors import ConfigError
from bnexp.models.activations import build_activation, gain_after
from bnexp.models.dropout import Dropout
from bnexp.norms.registry import build_norm
from bnexp.norms.weights import build_conv, build_linear

Block = TypeVar("Block", bound=nn.Module)
POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class Add(nn.Module):
    """The sum of branch and shortcut; a module so that probes can look at it."""

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Return branch + shortcut, both (B, C, H, W)."""
        return branch + shortcut


def build_block(layout: BlockLayout, seed: int) -> nn.Sequential:
    """Return the items of a block without a shortcut, one after the other."""
    return _with_items(nn.Sequential(), layout.items, layout.place, seed)


def _with_items(block: Block, items: Iterable[Placed], place: str, seed: int) -> Block:
    """Add the modules of placed items to a block at a place, and return it."""
    for placed in items:
        block.add_module(placed.name, build_item(placed, f"{place}.{placed.name}", seed))
    return block


def build_item(placed: Placed, place: str, seed: int) -> nn.Module:
    """Return the module of a placed item other than `add`, at its full name, such as `stage1.block2.conv1`."""
    item, options = placed.item, cast("Any", placed.item.options)
    if item.kind.role == "layer":
        before, after, gain = placed.shape_in[0], placed.shape_out[0], gain_after(placed.after)
        if item.name == "linear":
            return build_linear(options, before, after, bias=placed.bias, input_gain=gain)
        return build_conv(options, before, after, placed.kernel, placed.stride, bias=placed.bias, input_gain=gain)
    if item.kind.role == "norm":
        return build_norm(item, placed.shape_in, derive_seed(seed, "noise", place))
    if item.kind.role == "dropout":
        return Dropout(options.p, derive_seed(seed, "dropout", place))
    return build_activation(item, placed.shape_in)


class Residual(nn.Module):
    """A branch and a shortcut, added where the block notation says `add`.

        y = after(shortcut(x) + gain * branch(x))          gain is 1, or learned from 0 on

    Shape: (B, C, H, W) to (B, C', H', W'), as the layout says.
    Source: He et al. 2015, https://arxiv.org/abs/1512.03385, and 2016, https://arxiv.org/abs/1603.05027
    """

    def __init__(self, layout: BlockLayout, seed: int) -> None:
        super().__init__()
        after = layout.items[len(layout.branch) + 1 :]
        self._branch, self._after = ([placed.name for placed in items] for items in (layout.branch, after))
        _with_items(self, layout.branch, layout.place, seed)
        if layout.skip_gain:
            self.skip_gain = SkipGain()
            self._branch.append("skip_gain")
        self.shortcut = _shortcut(layout, seed)
        self.add = Add()
        _with_items(self, after, layout.place, seed)
        if layout.zero_gamma:
            last_norm = [placed for placed in layout.branch if placed.item.kind.role == "norm"][-1]
            gamma = getattr(self.get_submodule(last_norm.name), "weight", None)
            if gamma is None:
                found = f"{last_norm.item}, which has no parameter `weight` for gamma"
                raise ConfigError(f"model.zero_gamma starts the gamma of the norm before `add` at 0: found {found}")
            nn.init.zeros_(gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        branch = x
        for name in self._branch:
            branch = self._modules[name](branch)  # type: ignore[misc]
        y: Tensor = self.add(branch, self.shortcut(x))
        for name in self._after:
            y = self._modules[name](y)  # type: ignore[misc]
        return y


class SkipGain(nn.Module):
    """Multiply a branch by a learned scalar that starts at 0, so that a deep network starts as its shortcuts.

    Source: De & Smith 2020 (SkipInit), https://arxiv.org/abs/2002.10444
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return gain * x."""
        return self.gain * x


class PadShortcut(nn.Module):
    """Take every `stride`-th pixel and add channels of zeros behind: a shortcut without parameters.

    Shape: (B, C, H, W) to (B, channels, ceil(H / stride), ceil(W / stride)).
    Source: option A of He et al. 2015, section 4.2
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded shortcut."""
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))


def _shortcut(layout: BlockLayout, seed: int) -> nn.Module:
    if layout.shape_in == layout.shape_at_add:
        return nn.Identity()
    if not layout.shortcut:
        return PadShortcut(layout.shape_at_add[0], layout.stride)
    return _with_items(nn.Sequential(), layout.shortcut, f"{layout.place}.shortcut", seed)


class Network(nn.Module):
    """An MLP, CNN or ResNet: `block1` or `stage1.block1`, ..., `head`.

    Shape: images (B, C, H, W) to logits (B, classes).
    """

    def __init__(self, layout: Layout, seed: int) -> None:
        super().__init__()
        self._takes_vectors = len(layout.parts[0].shape_in) == 1
        self._averages = layout.head == "gap"
        self._parts: list[str] = []
        for part in layout.parts:
            self._place(part.place, _build(part, seed))
        self.head = nn.Linear(layout.features, layout.classes)

    def _place(self, place: str, module: nn.Module) -> None:
        """Put a part at `stage1.block1`, in a container `stage1`, or directly at `stem`."""
        outer, _, inner = place.partition(".")
        if outer not in self._parts:
            self._parts.append(outer)
            self.add_module(outer, nn.Sequential() if inner else module)
        if inner:
            self.get_submodule(outer).add_module(inner, module)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        if self._takes_vectors:
            x = x.flatten(1)  # (B, C, H, W) -> (B, C*H*W)
        for part in self._parts:
            x = self._modules[part](x)  # type: ignore[misc]  # (B, F) or (B, C', H', W')
        if self._averages:
            x = x.mean(dim=(2, 3))  # (B, C', H', W') -> (B, C')
        logits: Tensor = self.head(x.flatten(1))  # (B, classes)
        return logits


def _build(part: BlockLayout | PoolLayout, seed: int) -> nn.Module:
    if isinstance(part, PoolLayout):
        return POOLS[part.kind](2)
    return Residual(part, seed) if part.residual else build_block(part, seed)
