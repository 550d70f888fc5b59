"""`mlp`: one block per hidden layer, then a linear head."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from bnexp.config.schema import ModelConfig
from bnexp.models.blocks import build_block


class MLP(nn.Module):
    """A multilayer perceptron: `block1`, `block2`, ..., `head`.

    Args:
        blocks: the hidden layers; each maps (B, width of the one before) to (B, its width).
        head: maps (B, last width) to (B, classes).

    Shape:
        Images (B, C, H, W) to logits (B, classes).
    """

    def __init__(self, blocks: Sequence[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        self._blocks = tuple(f"block{number}" for number in range(1, len(blocks) + 1))
        for name, block in zip(self._blocks, blocks, strict=True):
            self.add_module(name, block)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = x.flatten(1)  # (B, C, H, W) -> (B, C*H*W)
        for name in self._blocks:
            x = self._modules[name](x)  # type: ignore[misc]  # (B, width)
        logits: Tensor = self.head(x)  # (B, classes)
        return logits


def build_mlp(model: ModelConfig, shape: tuple[int, int, int], classes: int, seed: int) -> MLP:
    """Build the network of a config for images of `shape` (C, H, W)."""
    items = model.items
    widths = [math.prod(shape), *model.hidden]
    blocks = []
    for number, (width_in, width) in enumerate(pairwise(widths), start=1):
        following = items[0] if number < len(model.hidden) else None
        place = f"block{number}"
        blocks.append(build_block(items, width_in, width, following=following, bias=model.bias, place=place, seed=seed))
    return MLP(blocks, nn.Linear(widths[-1], classes))
