"""The residual block: a branch of items, a shortcut past them, and what comes after their sum."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.config.layout import BlockLayout, Placed
from bnexp.models.blocks import Add, build_item


class Residual(nn.Module):
    """A branch and a shortcut, added where the block notation says `add`.

        y = after(shortcut(x) + gain * branch(x))          gain is 1, or learned from 0 on

    Args:
        layout: the block; `add` is one of its items.
        seed: the run's seed, for what draws at every step.

    Shape:
        (B, C, H, W) to (B, C', H', W'), as the layout says.

    Source: He et al. 2015, https://arxiv.org/abs/1512.03385, and 2016, https://arxiv.org/abs/1603.05027
    """

    def __init__(self, layout: BlockLayout, seed: int) -> None:
        super().__init__()
        after = layout.items[len(layout.branch) + 1 :]
        self._branch, self._after = ([placed.name for placed in items] for items in (layout.branch, after))
        for placed in layout.branch:
            self.add_module(placed.name, build_item(placed, f"{layout.place}.{placed.name}", seed))
        if layout.skip_gain:
            self.skip_gain = SkipGain()
            self._branch.append("skip_gain")
        self.shortcut = _shortcut(layout, seed)
        self.add = Add()
        for placed in after:
            self.add_module(placed.name, build_item(placed, f"{layout.place}.{placed.name}", seed))
        if layout.zero_gamma:
            _zero_last_gamma(layout.branch, self)

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

    Shape:
        (B, C, H, W) to (B, channels, ceil(H / stride), ceil(W / stride)).

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
    projection = nn.Sequential()
    for placed in layout.shortcut:
        projection.add_module(placed.name, build_item(placed, f"{layout.place}.shortcut.{placed.name}", seed))
    return projection


def _zero_last_gamma(branch: tuple[Placed, ...], block: nn.Module) -> None:
    name = [placed.name for placed in branch if placed.item.kind.role == "norm"][-1]
    nn.init.zeros_(block.get_parameter(f"{name}.weight"))
