"""Passes through a network: the forward pass of every training step, and a probe's own, which leave no trace.

No loss is scaled here: under fp16 a gradient that the training step saves by loss scaling may come out as 0.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import get_total_norm

from bnexp.measure.restore import undisturbed
from bnexp.measure.subject import Items, Look

Kept = TypeVar("Kept")


class Pass(NamedTuple):
    """The results of a forward and a backward pass.

    Attributes:
        logits: (B, classes), as floats.
        loss: cross-entropy in nats, ().
        gradients: of the loss, one for each parameter asked for, zeros where it does not depend on it.
    """

    logits: Tensor
    loss: Tensor
    gradients: tuple[Tensor, ...]


def loss_of(
    forward: Callable[[Tensor], Tensor], precision: AbstractContextManager[Any], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Pass inputs x (B, C, H, W) with labels y (B,) forward under a precision.

    Returns:
        Logits (B, classes) as floats and the mean cross-entropy () in nats.
    """
    with precision:
        logits = forward(x)
    logits = logits.float()
    return logits, functional.cross_entropy(logits, y)


def training_pass(look: Look, parameters: Sequence[Tensor]) -> Pass:
    """Pass the batch of a look forward and backward, with the weights and modes that the network has now.

    Each pass draws the same masks and noise as the one before it, so that only the weights make a difference.
    """
    subject = look.subject
    with undisturbed(subject.network):
        logits, loss = loss_of(subject.network, subject.precision, look.x, look.y)
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return Pass(logits.detach(), loss.detach(), gradients)


@torch.no_grad()
def rehearse(look: Look) -> None:
    """Pass the batch of a look forward through the plain network, whose hooks a compiled pass would not call."""
    with undisturbed(look.subject.network), look.subject.precision:
        look.subject.network(look.x)


def inputs_of(items: Items, forward: Callable[[], object], keep: Callable[[Sequence[Tensor]], Kept]) -> dict[str, Kept]:
    """Call `forward`, and return what `keep` makes of the inputs of each item, by name, of items it comes through."""
    kept = dict[str, Kept]()

    def watch(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept[name] = keep(inputs)

    with ExitStack() as hooks:
        for name, module in items.items():
            hooks.callback(module.register_forward_pre_hook(partial(watch, name)).remove)
        forward()
    return kept


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean distance between two lists of tensors, as if each were one vector; shape ()."""
    return get_total_norm([a - b for a, b in zip(first, second, strict=True)])
