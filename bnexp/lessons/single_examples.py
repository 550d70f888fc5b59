"""What the lessons on layer, RMS, group and instance normalization share: each normalizes an example by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from bnexp.document.table import Table
from bnexp.document.values import Text
from bnexp.errors import ConfigError
from bnexp.lessons.image_norms import ImageNorm
from bnexp.lessons.tables import known_table
from bnexp.lessons.tensors import BatchTensors, against_torch, first_output, largest_magnitude, torch_results
from bnexp.norms.reference import Normalized


@dataclass(frozen=True)
class Walk:
    """The norm of a lesson on one batch, beside another norm that it is compared with; x is (B, F) or (N, C, H, W)."""

    norm: ImageNorm
    other: ImageNorm
    batch: BatchTensors
    eps: float

    def of(self, x: Tensor, norm: ImageNorm | None = None) -> Normalized:
        """Return x normalized with the parameters of the batch, by the norm of the lesson or by another."""
        return (norm or self.norm).forward(x, self.batch.gamma, self.batch.beta, self.eps)

    @cached_property
    def forward(self) -> Normalized:
        """The batch, normalized."""
        return self.of(self.batch.x)

    @cached_property
    def beside(self) -> Normalized:
        """The batch, normalized by the other norm."""
        return self.of(self.batch.x, self.other)

    def backward(self, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x, gamma and beta."""
        return self.norm.backward(grad_y, self.forward, self.batch.gamma, self.eps)

    @cached_property
    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of x, gamma and beta of the first value of y."""
        return self.backward(first_output(self.batch.x))

    @cached_property
    def grad_x_beside(self) -> Tensor:
        """The gradient of x of the first value of y, through the other norm."""
        return self.other.backward(first_output(self.batch.x), self.beside, self.batch.gamma, self.eps)[0]

    def tables(self, *, backward: bool = True) -> list[Table]:
        """Return the tables of a matrix: x, x_hat, the parameters, y, and the gradients of the first value of y."""
        batch, known = self.batch, partial(known_table, self.batch)
        grad_x, grad_gamma, grad_beta = self.gradients
        centered = self.norm.subtracts_mean
        x, root = ("(x - mean)", "sqrt(var + eps)") if centered else ("x", "sqrt(ms + eps)")
        of_y = () if centered else ("y = gamma x_hat",)
        means = "mean_f(g) - x_hat mean_f(g x_hat)" if centered else "x_hat mean_f(g x_hat)"
        of_grad_x = "g = gamma dy", f"d x = 1 / {root}", f"  (g - {means})"
        return [
            known("x", batch.x, f"(B, F) = {tuple(batch.x.shape)}"),
            known("x_hat", self.forward.x_hat, f"x_hat = {x} / {root}", f"eps = {self.eps:g}"),
            known("gamma", batch.gamma),
            *([known("beta", batch.beta)] if centered else []),
            known("y", self.forward.y, *of_y),
            *([known("grad_beta", grad_beta)] if backward and centered else []),
            *([known("grad_gamma", grad_gamma), known("grad_x", grad_x, *of_grad_x)] if backward else []),
        ]

    def first_example(self, norm: ImageNorm) -> Tensor:
        """Return y of the first example under a norm, in this batch and with all other examples doubled, (2, F)."""
        x = self.batch.x
        return torch.stack([self.of(rows, norm).y[0] for rows in (x, torch.cat([x[:1], 2 * x[1:]]))])

    @property
    def words(self) -> dict[str, str]:
        """What sentences on a matrix name: where it comes from, its size, and the loss of the backward pass."""
        examples, features = self.batch.x.shape
        return {
            "examples": str(examples),
            "features": str(features),
            "matrix": f"X is {self.batch.source}: B = {examples} examples (rows) of F = {features} features (columns)",
            "loss": f"Let the loss be a single value, {self.batch.names[0]} of the first example's output: dy, the "
            "gradient by y, is 1 there and 0 elsewhere.",
        }


def against_modules(pairs: Sequence[tuple[Walk, nn.Module]]) -> Text:
    """Say how far torch's own modules are from the formulas on the same batches, forward and backward."""
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    for walk, module in pairs:
        parameters = {"weight": walk.batch.gamma, "bias": walk.batch.beta}
        module.load_state_dict({name: parameters[name] for name in module.state_dict()})
        results = torch_results(module, walk.batch.x)
        ours += (walk.forward.y, *walk.gradients)[: len(results)]
        theirs += results
    return against_torch(f"torch.nn.{type(pairs[0][1]).__name__}", ours, theirs)


def refuse_one_feature(batch: BatchTensors, norm: str, left: str) -> None:
    """Refuse a matrix of one column, for which a norm gives only what is `left`.

    Raises:
        ConfigError: it has one column, which the message names.
    """
    if batch.x.shape[1] == 1:
        raise ConfigError(
            f"{batch.source}: one column, {batch.names[0]}: {norm} over a single feature gives {left}, whatever the "
            "input; expected at least 2 columns"
        )


def spread(rows: Tensor) -> float:
    """Return the largest difference between two rows (B, F) in one feature."""
    return largest_magnitude(rows.amax(dim=0) - rows.amin(dim=0))
