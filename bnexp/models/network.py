"""The network of a layout: its parts in the order of computation, then a linear head."""

from torch import Tensor, nn

from bnexp.config.layout import BlockLayout, Layout, PoolLayout
from bnexp.models.blocks import build_block
from bnexp.models.residual import Residual

POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class Network(nn.Module):
    """An MLP, CNN or ResNet: `block1` or `stage1.block1`, ..., `head`.

    Args:
        layout: its parts and how the head sees the last of them.
        seed: the run's seed, for what draws at every step.

    Shape:
        Images (B, C, H, W) to logits (B, classes).
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
