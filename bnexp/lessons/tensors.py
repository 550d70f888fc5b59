"""A request's matrix as float64 tensors, and how far the formulas are from torch's own modules on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.lessons.lesson import Text
from bnexp.lessons.request import Batch


@dataclass(frozen=True)
class BatchTensors:
    """A matrix in float64.

    Attributes:
        source: where it comes from.
        names: of the features.
        rows: a label per example.
        x: (B, F).
        gamma: (F,).
        beta: (F,).
    """

    source: str
    names: Sequence[str]
    rows: Sequence[str]
    x: Tensor
    gamma: Tensor
    beta: Tensor


def tensors_of(batch: Batch) -> BatchTensors:
    """Return a request's matrix as tensors."""
    x, gamma, beta = (torch.tensor(values, dtype=torch.float64) for values in (batch.rows, batch.gamma, batch.beta))
    return BatchTensors(batch.source, batch.names, [f"example {row + 1}" for row in range(len(x))], x, gamma, beta)


def compared_with_torch(module: str, ours: Sequence[Tensor], theirs: Sequence[Tensor | None]) -> Text:
    """Say how far torch's own results on the same numbers lie from those of the formulas.

    Args:
        module: what computed `theirs`.
        ours: results of `norms.reference`.
        theirs: the same quantities in the same order.

    Returns:
        A sentence, with the largest difference as `difference_to_torch`, relative to the largest number of its
        quantity where that is above 1.
    """
    largest = 0.0
    for one, other in zip(ours, theirs, strict=True):
        if other is None:
            raise ValueError(f"{module} gave no such result")
        scale = max(one.abs().max().item(), 1.0)
        largest = max(largest, (one - other.detach()).abs().max().item() / scale)
    return Text(
        f"{module}, forward and backward on the same numbers, differs from all of the above by {largest:.1e} at most.",
        {"difference_to_torch": largest},
    )


def names_in_words(names: Sequence[str], most: int = 6) -> str:
    """Return names with commas, the first few of many."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
