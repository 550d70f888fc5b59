"""The network as built: each item with its output shape and parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.models.build import leaves
from bnexp.norms.registry import MEAN_PER_FEATURE


@dataclass(frozen=True)
class OutlineRow:
    """One item of the network.

    Attributes:
        name: its place, such as `block1.linear`.
        shape: of its output, without the batch.
        parameters: how many numbers it learns.
        note: why its bias was left out, where it was.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    note: str


def outline(network: nn.Module, shape: tuple[int, int, int]) -> list[OutlineRow]:
    """Return a row per item, in the order of computation, for images of `shape` (C, H, W)."""
    shapes: dict[str, tuple[int, ...]] = {}
    items = leaves(network)

    def keep(name: str, output: Tensor) -> None:
        shapes[name] = tuple(output.shape[1:])

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
        for name, module in items.items()
    ]
    training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    network.train(training)
    for handle in handles:
        handle.remove()
    names = list(shapes)
    return [
        OutlineRow(name, shapes[name], sum(p.numel() for p in items[name].parameters()), _note(items, names, index))
        for index, name in enumerate(names)
    ]


def _note(items: dict[str, nn.Module], names: Sequence[str], index: int) -> str:
    """Say why a layer has no bias."""
    layer = items[names[index]]
    if not isinstance(layer, nn.Linear) or layer.bias is not None:
        return ""
    following = names[index + 1] if index + 1 < len(names) else None
    if following is not None and isinstance(items[following], MEAN_PER_FEATURE):
        return f"no bias: {following.rsplit('.', 1)[-1]} subtracts the mean of each feature, a bias cancels"
    return "no bias: model.bias is false"
