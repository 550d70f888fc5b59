"""The float64 tensors that lessons work on, given or drawn, and how far formulas are from torch's own on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Text
from bnexp.lessons.request import Batch

_MOST_NAMES = 6
_ROUNDING = 1e-9
"""A difference beyond this is more than one would expect of float64."""


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


def standard_normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values drawn with mean 0 and standard deviation 1, of the given shape."""
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def symmetric_uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values drawn between -1 and 1, all alike probable, of the given shape."""
    return 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1


def initial_parameters(features: int) -> tuple[Tensor, Tensor]:
    """Return gamma and beta, (F,) each, as a network begins with them: 1 and 0."""
    return torch.ones(features, dtype=torch.float64), torch.zeros(features, dtype=torch.float64)


def largest_magnitude(values: Tensor) -> float:
    """Return the largest absolute value of a tensor of any shape."""
    return values.abs().max().item()


def first_output(x: Tensor) -> Tensor:
    """Return the gradient by y, in the shape of x, of a loss that is the first value of y: 1 there, 0 elsewhere."""
    grad_y = torch.zeros_like(x)
    grad_y.view(-1)[0] = 1
    return grad_y


def first_output_of(module: nn.Module, x: Tensor) -> list[Tensor | None]:
    """Return a module's output y for x and, of the first value of y, the gradients by x and by each parameter."""
    leaf = x.clone().requires_grad_()
    y: Tensor = module(leaf)
    y.flatten()[0].backward()
    return [y, leaf.grad, *(parameter.grad for parameter in module.parameters())]


def largest_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor | None]) -> float:
    """Return the largest difference of quantities in the same order, each relative to its largest number above 1.

    Raises:
        ValueError: one of `theirs` is missing, such as a gradient that was not taken.
    """
    differences = []
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if other is None:
            raise ValueError(f"nothing to compare result {number + 1} with")
        differences.append(largest_magnitude(one - other.detach()) / max(largest_magnitude(one), 1.0))
    return max(differences)


def compared_with_torch(module: str, ours: Sequence[Tensor], theirs: Sequence[Tensor | None]) -> Text:
    """Say how far torch's own results on the same numbers lie from those of the formulas.

    Args:
        module: what computed `theirs`.
        ours: results of `norms.reference`.
        theirs: the same quantities in the same order.

    Returns:
        A sentence, with `largest_difference` as `difference_to_torch`.
    """
    difference = largest_difference(ours, theirs)
    return Text(
        f"{module}, forward and backward on the same numbers, differs from the formulas by {difference:.1e} at most, "
        "relative to the largest number of its kind where that is above 1."
        + (" That is rounding: these numbers are large beside what they vary by." if difference > _ROUNDING else ""),
        {"difference_to_torch": difference},
    )


def names_in_words(names: Sequence[str]) -> str:
    """Return names with commas, the first few of many."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
