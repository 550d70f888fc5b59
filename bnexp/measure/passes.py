"""Passes of a probe's own through the network, as the training step makes them, which leave no trace.

No loss is scaled here: under fp16 a gradient that the training step saves by loss scaling may come out as 0.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import get_total_norm

from bnexp.measure.subject import Items, Look
from bnexp.measure.undisturbed import undisturbed

Kept = TypeVar("Kept")


class Pass(NamedTuple):
    """What a forward and a backward pass give.

    Attributes:
        logits: (B, classes), as floats.
        loss: cross-entropy in nats, ().
        gradients: of the loss, one for each parameter asked for, zeros where it does not depend on it.
    """

    logits: Tensor
    loss: Tensor
    gradients: tuple[Tensor, ...]


def training_pass(look: Look, parameters: Sequence[Tensor]) -> Pass:
    """Pass the batch of a look forward and backward, with the weights and modes that the network has now.

    Each pass draws the same masks and noise as the one before it, so that only the weights make a difference.
    """
    subject = look.subject
    with undisturbed(subject.network):
        with subject.precision:
            logits = subject.network(look.x).float()
        loss = functional.cross_entropy(logits, look.y)
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return Pass(logits.detach(), loss.detach(), gradients)


def inputs_of(items: Items, forward: Callable[[], object], keep: Callable[[Sequence[Tensor]], Kept]) -> dict[str, Kept]:
    """Call `forward`, and return what `keep` makes of the inputs of each item, by name, of items it comes through."""
    kept: dict[str, Kept] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept[name] = keep(inputs)

        return watch

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in items.items()]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return kept


def copies_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the values that the parameters have now."""
    return [parameter.detach().clone() for parameter in parameters]


@torch.no_grad()
def put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give the parameters these values, bit for bit."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


@contextlib.contextmanager
def put_back(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Hand out copies of the parameters, and give them these values again when the context ends."""
    copies = copies_of(parameters)
    try:
        yield copies
    finally:
        put(parameters, copies)


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean distance between two lists of tensors, as if each were one vector; shape ()."""
    return get_total_norm([a - b for a, b in zip(first, second, strict=True)])
