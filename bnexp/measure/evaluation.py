"""Loss and accuracy over a part of the dataset."""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.measure.machine import numbers_of

if TYPE_CHECKING:  # `check` needs no file of a dataset
    from bnexp.data.load import Dataset
    from bnexp.data.parts import Part


@dataclass(frozen=True)
class Score:
    """Cross-entropy in nats and accuracy as a fraction, averages over examples; nan where nothing finite came out."""

    loss: float
    accuracy: float


def evaluate(
    network: nn.Module, dataset: "Dataset", part: "Part", batch_size: int, precision: AbstractContextManager[Any]
) -> Score:
    """Score the network in inference mode on a part of the dataset; the mode it had is put back.

    Every example counts the same: batches are weighted by their size. The forward pass runs under `precision`.
    """
    return evaluate_each(network, dataset, part, batch_size, precision)[0]


@torch.inference_mode()
def evaluate_each(
    network: nn.Module, dataset: "Dataset", part: "Part", batch_size: int, precision: AbstractContextManager[Any]
) -> tuple[Score, Tensor]:
    """Score as `evaluate` does, and return with the score which examples are answered right, (len(part),)."""
    with inference_mode_of(network), precision:
        losses, right = graded(network, dataset, part, batch_size)
    *sums, correct = numbers_of([*losses, right.sum()])
    loss = math.fsum(sums) / len(part)
    # An argmax over nan is some class or other, and right now and then; that is no accuracy.
    return Score(loss, correct / len(part) if math.isfinite(loss) else math.nan), right


def graded(
    forward: Callable[[Tensor], Tensor], dataset: "Dataset", part: "Part", batch_size: int
) -> tuple[Tensor, Tensor]:
    """Pass a part of the dataset through `forward`, in its order, batch by batch; the last holds what is left.

    Returns:
        The cross-entropy of each batch in nats, summed over its examples, (batches,), and which examples are answered
        right, (len(part),).
    """
    losses, right = [], []
    for images, labels in zip(part.images.split(batch_size), part.labels.split(batch_size), strict=True):
        logits = forward(dataset.inputs(images)).float()  # (B, classes)
        losses.append(functional.cross_entropy(logits, labels, reduction="sum"))
        right.append(logits.argmax(dim=1) == labels)
    return torch.stack(losses), torch.cat(right)


@contextlib.contextmanager
def inference_mode_of(network: nn.Module) -> Iterator[None]:
    """Use running statistics and no dropout, until the context ends; then each module is as it was found."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
