"""Tables of tensors, and the tables and sentences that the lessons on a matrix have in common."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.table import Table, number_table
from bnexp.document.values import Text, text
from bnexp.lessons.tensors import NEGLIGIBLE, BatchTensors, names_in_words


def matrix(
    key: str,
    title: str,
    values: Tensor,
    columns: Sequence[str],
    rows: Sequence[str] = (),
    formula: Sequence[str] = (),
) -> Table:
    """Return the table of a tensor of shape (rows, columns), or (columns,), which has one row without a label."""
    lines = values.detach().reshape(-1, values.shape[-1]).tolist()
    cells = tuple(zip(rows or [""] * len(lines), lines, strict=True))
    return number_table(key, title, columns, cells, formula, values=values.detach().tolist())


def batch_table(batch: BatchTensors, key: str, title: str, values: Tensor, *formula: str) -> Table:
    """Return the table of values of each feature (F,), or of each example and feature (B, F), of a batch."""
    return matrix(key, title, values, batch.names, batch.rows if values.dim() == 2 else (), formula)


def input_table(batch: BatchTensors) -> Table:
    """Return the table of X (B, F)."""
    return batch_table(batch, "x", "input X", batch.x, f"(B, F) = {tuple(batch.x.shape)}")


def normalized_table(batch: BatchTensors, x_hat: Tensor, formula: str, eps: float) -> Table:
    """Return the table of x_hat (B, F), with its formula and eps."""
    return batch_table(batch, "x_hat", "normalized", x_hat, formula, f"eps = {eps:g}")


def gamma_table(batch: BatchTensors) -> Table:
    """Return the table of gamma (F,)."""
    return batch_table(batch, "gamma", "gamma, the scale", batch.gamma, "learned, from 1 on")


def scale_and_shift(batch: BatchTensors, y: Tensor) -> list[Table]:
    """Return the tables of gamma and beta, (F,) each, and of y (B, F), which they make of x_hat."""
    beta = batch_table(batch, "beta", "beta, the shift", batch.beta, "learned, from 0 on")
    return [gamma_table(batch), beta, batch_table(batch, "y", "output", y, "y = gamma x_hat + beta")]


def grad_gamma_table(batch: BatchTensors, grad_gamma: Tensor) -> Table:
    """Return the table of the gradient of gamma (F,)."""
    return batch_table(batch, "grad_gamma", "gradient of gamma", grad_gamma, "d gamma = sum_b dy x_hat")


def grad_beta_table(batch: BatchTensors, grad_beta: Tensor) -> Table:
    """Return the table of the gradient of beta (F,)."""
    return batch_table(batch, "grad_beta", "gradient of beta", grad_beta, "d beta = sum_b dy")


def grad_x_table(batch: BatchTensors, grad_x: Tensor, formula: Sequence[str]) -> Table:
    """Return the table of the gradient of x (B, F), with its formula."""
    return batch_table(batch, "grad_x", "gradient of x", grad_x, *formula)


def said_of_variance(line: str, unit: str, names: Sequence[str], var: Tensor, varies: Tensor, eps: float) -> list[Text]:
    """Say which variance normalization leaves, and for which units eps keeps it far from 1.

    Args:
        line: what has the variance, such as column.
        unit: what a line holds, such as feature.
        names: of the units.
        var: their variances, (units,).
        varies: whether each varies, (units,); the others are not spoken of.
        eps: added to the variance.
    """
    left = var / (var + eps)
    numbers: dict[str, object] = {"eps": eps, "var_of_x_hat": left.tolist()}
    if not varies.any():
        return [text(f"No {unit} has any variance.", **numbers)]
    least = torch.where(varies, left, 1.0).min().item()
    far = [name for name, is_far in zip(names, (varies & (left < 1 - NEGLIGIBLE)).tolist(), strict=True) if is_far]
    template = "Each {line} now has mean 0, up to rounding, and the variance var / (var + eps)"
    if far:
        template += (
            ", which is {least_var_of_x_hat} for the {unit} where eps weighs most. Beside the variance of {far} eps is "
            "not small: what is said below to hold except for eps does not hold there."
        )
    elif f"{least:.6f}" == "1.000000":
        template += ": 1, up to a difference too small to show."
    else:
        template += ": almost 1, but never quite ({least_var_of_x_hat:.6f} for the {unit} where eps weighs most)."
    words = {"line": line, "unit": unit, "far": names_in_words(far)}
    return [text(template, **words, **numbers, least_var_of_x_hat=least)]
