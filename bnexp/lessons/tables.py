"""Tables of tensors, and those that the lessons on a matrix have in common."""

from collections.abc import Sequence

from torch import Tensor

from bnexp.document import table as tables
from bnexp.document.lesson import Table
from bnexp.lessons.tensors import BatchTensors


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
    labels = rows or [""] * len(lines)
    return Table(key, title, columns, tuple(zip(labels, lines, strict=True)), formula, values=values.detach().tolist())


def with_exponents(table: tables.Table, first: int, last: int) -> tables.Table:
    """Return a table whose columns first .. last show exponents, since their numbers differ widely in size."""
    return tables.with_exponents(table, first, last)


def input_table(batch: BatchTensors) -> Table:
    """Return the table of X (B, F)."""
    return matrix("x", "input X", batch.x, batch.names, batch.rows, (f"(B, F) = {tuple(batch.x.shape)}",))


def normalized_table(batch: BatchTensors, x_hat: Tensor, formula: str, eps: float) -> Table:
    """Return the table of x_hat (B, F), with its formula and eps."""
    return matrix("x_hat", "normalized", x_hat, batch.names, batch.rows, (formula, f"eps = {eps:g}"))


def gamma_table(batch: BatchTensors) -> Table:
    """Return the table of gamma (F,)."""
    return matrix("gamma", "gamma, the scale", batch.gamma, batch.names, formula=("learned, from 1 on",))


def scale_and_shift(batch: BatchTensors, y: Tensor) -> list[Table]:
    """Return the tables of gamma and beta, (F,) each, and of y (B, F), which they make of x_hat."""
    return [
        gamma_table(batch),
        matrix("beta", "beta, the shift", batch.beta, batch.names, formula=("learned, from 0 on",)),
        matrix("y", "output", y, batch.names, batch.rows, ("y = gamma x_hat + beta",)),
    ]


def grad_gamma_table(batch: BatchTensors, grad_gamma: Tensor) -> Table:
    """Return the table of the gradient of gamma (F,)."""
    return matrix("grad_gamma", "gradient of gamma", grad_gamma, batch.names, formula=("d gamma = sum_b dy x_hat",))


def grad_beta_table(batch: BatchTensors, grad_beta: Tensor) -> Table:
    """Return the table of the gradient of beta (F,)."""
    return matrix("grad_beta", "gradient of beta", grad_beta, batch.names, formula=("d beta = sum_b dy",))


def grad_x_table(batch: BatchTensors, grad_x: Tensor, formula: Sequence[str]) -> Table:
    """Return the table of the gradient of x (B, F), with its formula."""
    return matrix("grad_x", "gradient of x", grad_x, batch.names, batch.rows, formula)
