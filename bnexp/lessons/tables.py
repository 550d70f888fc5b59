"""Tables of tensors, and what lessons on a matrix show and say alike."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.table import Table, number_table
from bnexp.document.values import Text, text
from bnexp.lessons.tensors import NEGLIGIBLE, BatchTensors, names_in_words


def matrix(
    key: str, title: str, values: Tensor, columns: Sequence[str], rows: Sequence[str] = (), formula: Sequence[str] = ()
) -> Table:
    """Return the table of a tensor of shape (rows, columns), or (columns,), which has one row without a label."""
    lines = values.detach().reshape(-1, values.shape[-1]).tolist()
    cells = tuple(zip(rows or [""] * len(lines), lines, strict=True))
    return number_table(key, title, columns, cells, formula, values=values.detach().tolist())


def batch_table(batch: BatchTensors, key: str, title: str, values: Tensor, *formula: str) -> Table:
    """Return the table of values of each feature (F,), or of each example and feature (B, F), of a batch."""
    return matrix(key, title, values, batch.names, batch.rows if values.dim() == 2 else (), formula)


_KNOWN = {
    "x": ("input X", ""),
    "x_hat": ("normalized", ""),
    "gamma": ("gamma, the scale", "learned, from 1 on"),
    "beta": ("beta, the shift", "learned, from 0 on"),
    "y": ("output", "y = gamma x_hat + beta"),
    "grad_beta": ("gradient of beta", "d beta = sum_b dy"),
    "grad_gamma": ("gradient of gamma", "d gamma = sum_b dy x_hat"),
    "grad_x": ("gradient of x", ""),
}
"""By its key, the title of a table that several lessons have, and its formula unless it has another."""


def known_table(batch: BatchTensors, key: str, values: Tensor, *formula: str) -> Table:
    """Return the table with this key that several lessons have, as `batch_table` does."""
    title, known = _KNOWN[key]
    return batch_table(batch, key, title, values, *(formula or (known,)))


def said_of_variance(line: str, unit: str, names: Sequence[str], var: Tensor, varies: Tensor, eps: float) -> Text:
    """Say which variance normalization leaves, and for which units eps keeps it far from 1.

    A line, such as a column, holds a unit, such as a feature, of the variance `var` (units,). Of units that do not vary
    nothing is said.
    """
    left = var / (var + eps)
    numbers: dict[str, object] = {"eps": eps, "var_of_x_hat": left.tolist()}
    if not varies.any():
        return text(f"No {unit} has any variance.", **numbers)
    least = torch.where(varies, left, 1.0).min().item()
    far = [name for name, is_far in zip(names, (varies & (left < 1 - NEGLIGIBLE)).tolist(), strict=True) if is_far]
    template = "Each {line} now has mean 0, up to rounding, and the variance $var / (var + eps)$"
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
    return text(template, **words, **numbers, least_var_of_x_hat=least)
