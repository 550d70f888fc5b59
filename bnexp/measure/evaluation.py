"""Loss, accuracy and balanced accuracy over a part of the dataset."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
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
    """Cross-entropy in nats and accuracy as a fraction, averages over examples; nan where nothing finite came out.

    `balanced_accuracy` is the mean over the classes of the fraction that is answered right, their recall; None where
    the classes have as many examples each, about, and it says nothing more.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float | None = None

    def figures(self) -> dict[str, float]:
        """Return what there is, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    hits = _hits_by_class(part, right) if dataset.has_unequal_classes else []
    numbers = numbers_of([*losses, right.sum(), *hits])  # all in one transfer
    loss, (correct, *by_class) = math.fsum(numbers[: len(losses)]) / len(part), numbers[len(losses) :]
    # An argmax over nan is some class or other, and right now and then; that is no accuracy.
    accuracy, balanced = correct / len(part), mean_recall(by_class, part.class_counts) if hits else None
    if not math.isfinite(loss):
        accuracy, balanced = math.nan, math.nan if hits else None
    return Score(loss, accuracy, balanced), right


def _hits_by_class(part: "Part", right: Tensor) -> Sequence[Tensor]:
    """Return the number of right answers in each class of a part, of shape () each."""
    return part.labels[right].bincount(minlength=len(part.class_counts)).unbind()


def mean_recall(hits: Sequence[float], counts: Sequence[int]) -> float:
    """Return the mean, over the classes that have examples, of the fraction that is answered right."""
    recalls = [hit / count for hit, count in zip(hits, counts, strict=True) if count]
    return math.fsum(recalls) / len(recalls)


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
