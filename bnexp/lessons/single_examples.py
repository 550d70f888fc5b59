"""What the lessons on normalizing each example by itself have in common."""

import torch
from torch import Tensor

from bnexp.document.lesson import Text
from bnexp.errors import ConfigError
from bnexp.lessons.tensors import BatchTensors


def refuse_one_feature(batch: BatchTensors, norm: str, left: str) -> None:
    """Refuse a matrix of one column, of which nothing would be left.

    Args:
        batch: the matrix.
        norm: the name of the normalization.
        left: what it would give.

    Raises:
        ConfigError: the matrix has one column; the message names it.
    """
    if batch.x.shape[1] == 1:
        raise ConfigError(
            f"{batch.source}: one column, {batch.names[0]}: {norm} over a single feature gives {left}, whatever the "
            "input; expected at least 2 columns"
        )


def loss_of_the_first_output(batch: BatchTensors) -> Text:
    """Say what the backward pass begins with, which `first_output` gives."""
    return Text(
        f"Let the loss be one value, {batch.names[0]} of the first example's output: dy, its gradient by y, is 1 there "
        "and 0 elsewhere."
    )


def with_other_companions(x: Tensor) -> Tensor:
    """Return a batch with its first example kept and all others doubled."""
    return torch.cat([x[:1], 2 * x[1:]])


def spread(rows: Tensor) -> float:
    """Return the largest difference between two rows (B, F) in one feature."""
    return (rows.amax(dim=0) - rows.amin(dim=0)).max().item()
