"""The float64 tensors that lessons work on, given or drawn, and how far formulas are from torch's own on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.document.values import Text, text
from bnexp.lessons.matrix_file import Batch
from bnexp.norms.reference import Normalized, batch_norm_train

_MOST_NAMES = 6
_ROUNDING = 1e-9
"""A difference beyond this is more than one would expect of float64."""
NEGLIGIBLE = 1e-3
"""Up to this share of var + eps, eps is small."""


@dataclass(frozen=True)
class BatchTensors:
    """A matrix x (B, F) in float64, gamma and beta (F,), the names of features and rows, and where it comes from."""

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


def normal(generator: torch.Generator, mean: float, std: float, *shape: int) -> Tensor:
    """Return values drawn with the given mean and standard deviation, of the given shape."""
    return mean + std * standard_normal(generator, *shape)


def symmetric_uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values drawn uniformly between -1 and 1, of the given shape."""
    return 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1


def initial_parameters(features: int) -> tuple[Tensor, Tensor]:
    """Return gamma and beta, (F,) each, as a network begins with them: 1 and 0."""
    return torch.ones(features, dtype=torch.float64), torch.zeros(features, dtype=torch.float64)


def batch_norm(x: Tensor, gamma: float = 1.0, beta: float = 0.0, eps: float = 1e-5) -> Normalized:
    """Return the batch normalization in training of x (B, F), with one gamma and one beta for all features."""
    ones, zeros = initial_parameters(x.shape[1])
    return batch_norm_train(x, gamma * ones, beta + zeros, eps)


def share(condition: Tensor) -> float:
    """Return the share of the values that are true."""
    return condition.double().mean().item()


def largest_magnitude(values: Tensor) -> float:
    """Return the largest absolute value of a tensor of any shape."""
    return values.abs().max().item()


def is_small(var: Tensor, eps: float) -> bool:
    """Tell whether eps is small beside every variance."""
    return bool((eps <= NEGLIGIBLE * (var + eps)).all())


def does_not_vary(x: Tensor, dim: int) -> Tensor:
    """Return of each feature (dim 0) or example (dim 1) of x (B, F) whether its values are all equal.

    The computed variance does not tell: rounding may leave some, and squares of tiny numbers leave none.
    """
    return x.amax(dim=dim) == x.amin(dim=dim)


def first_output(x: Tensor) -> Tensor:
    """Return the gradient by y, in the shape of x, of a loss that is the first value of y: 1 there, 0 elsewhere."""
    grad_y = torch.zeros_like(x)
    grad_y.view(-1)[0] = 1
    return grad_y


def torch_results(
    module: nn.Module,
    x: Tensor,
    parameters: Sequence[Tensor] = (),
    loss: Callable[[Tensor], Tensor] = lambda y: y.flatten()[0],
) -> list[Tensor | None]:
    """Run a module of torch forward and backward on x, from the first value of y or another loss.

    `parameters` are values for the module's first parameters, such as gamma and beta; the others stay.

    Returns:
        y, and the gradients by x and by each parameter, in the order in which `norms.reference` returns them.
    """
    module.zero_grad()
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), parameters, strict=False):
            parameter.copy_(values)
    leaf = x.clone().requires_grad_()
    y: Tensor = module(leaf)
    loss(y).backward()
    return [y.detach(), leaf.grad, *(parameter.grad for parameter in module.parameters())]


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


def against_torch(
    module: str,
    ours: Sequence[Tensor],
    theirs: Sequence[Tensor | None],
    template: str = "{module}, forward and backward on the same numbers, differs from the formulas by at most "
    "{difference_to_torch:.1e}, relative to the largest number of a result where that is above 1.",
) -> Text:
    """Say how far results of torch, from what `module` names, are from those of the formulas, in the same order.

    The template names `module` and `difference_to_torch`, the `largest_difference`.
    """
    difference = largest_difference(ours, theirs)
    if difference > _ROUNDING:
        template += " That is rounding: these numbers are large beside the amount by which they vary."
    return text(template, module=module, difference_to_torch=difference)


def names_in_words(names: Sequence[str]) -> str:
    """Return names with commas, the first few of many."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
