"""Where a network first went non-finite."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.models.build import leaves


@dataclass(frozen=True)
class Divergence:
    """A training that left the finite numbers.

    Attributes:
        step: the step whose loss was not finite, counted from 1; it was not taken.
        epoch: the epochs done by then, as a fraction.
        layer: the first layer whose output was not finite, or `loss` where all outputs still were.
        quantity: what was found there, such as `output` or `weight`.
    """

    step: int
    epoch: float
    layer: str
    quantity: str


def first_non_finite(network: nn.Module, x: Tensor) -> tuple[str, str]:
    """Find the first layer, in the order of computation, that gives a value that is not finite for the batch x.

    The forward pass is done once more, in the mode the network is in; buffers (running statistics) are put back. What
    dropout draws is not: the training ends here.

    Returns:
        The layer's name, and `weight` or `running statistics` when those are already not finite, else `output`.
        ("loss", "value") when every output is finite.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found: list[str] = []
    items = leaves(network)

    def look(name: str, output: Tensor) -> None:
        if not found and not bool(torch.isfinite(output).all()):
            found.append(name)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: look(name, output))
        for name, module in items.items()
    ]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
    return (found[0], _what_is_poisoned(items[found[0]])) if found else ("loss", "value")


def _what_is_poisoned(module: nn.Module) -> str:
    if any(not bool(torch.isfinite(parameter).all()) for parameter in module.parameters(recurse=False)):
        return "weight"
    if any(not bool(torch.isfinite(buffer).all()) for buffer in module.buffers(recurse=False)):
        return "running statistics"
    return "output"
