"""The lesson `identity`: gamma and beta that undo the normalization, and why a sigmoid may need them.

Ioffe & Szegedy 2015, section 3, argue with the linear regime of the sigmoid, https://arxiv.org/abs/1502.03167
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines, histogram
from bnexp.document.table import Table, number_table, with_exponents
from bnexp.document.values import Lesson, Text
from bnexp.document.writing import Value
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import (
    against_torch,
    batch_norm,
    initial_parameters,
    largest_magnitude,
    normal,
    share,
    standard_normal,
    torch_results,
)
from bnexp.norms.reference import Normalized, batch_norm_inference, batch_norm_train, batch_norm_train_backward

MEAN, STD = 3.0, 2.0
STEPS, LEARNING_RATE = 100, 0.1
WIDTH, EXAMPLES, DEPTHS = 20, 2000, (1, 3, 5)
"""Of the stack of layers whose linearity is measured."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on one feature, drawn from a Gaussian."""
    generator, eps = torch.Generator().manual_seed(request.seed), request.eps
    x = normal(generator, MEAN, STD, 8, 1)
    plain = batch_norm(x, eps=eps)
    gamma, beta = torch.sqrt(plain.var + eps), plain.mean
    undone = batch_norm_train(x, gamma, beta, eps)
    other_batches = _other_batches(generator, eps)
    x_hat = batch_norm(normal(generator, MEAN, STD, 10_000, 1)).x_hat
    outputs = {f"gamma {scale:g}": torch.sigmoid(scale * x_hat) for scale in (0.5, 1, 4)}
    edges = [tenth / 10 for tenth in range(11)]
    columns = torch.cat([x, undone.x_hat, undone.y], dim=1).tolist()
    rows = [(f"example {number}", row) for number, row in enumerate(columns, start=1)]
    formula = "x_hat = (x - mean) / sqrt(var + eps)", "y = gamma x_hat + beta", "gamma = sqrt(var + eps), beta = mean"
    return compose(
        __name__,
        [
            number_table("undone", "normalized, and back", ("x", "x_hat", "y"), rows, formula),
            other_batches,
            _tangents(),
            histogram("sigmoid_outputs", "outputs of a sigmoid after bn with beta 0", edges, outputs),
            _linearity_of_a_stack(generator),
            *_descent(descend(x, eps), gamma, beta),
        ],
        examples=str(len(x)),
        gamma=gamma.item(),
        beta=beta.item(),
        difference_to_x=largest_magnitude(undone.y - x),
        **{f"below_at_{x}": f"{0.5 + x / 4 - 1 / (1 + math.exp(-x)):.4f}" for x in (1, 2)},
        inputs=f"{len(x_hat):,}",
        **{f"within_{bound}": share(x_hat.abs() <= bound) for bound in (1, 2)},
        **{f"gaussian_{bound}": math.erf(bound / math.sqrt(2)) for bound in (1, 2)},
        learning_rate=LEARNING_RATE,
        against_torch=_against_torch(x, plain, undone.y, eps),
    )


def _other_batches(generator: torch.Generator, eps: float) -> Table:
    """Show how far y is from x where gamma and beta are made of the true variance and mean."""
    mean, var = torch.tensor([[MEAN], [STD**2]], dtype=torch.float64)
    gamma = torch.tensor([math.sqrt(STD**2 + eps)], dtype=torch.float64)
    rows: list[tuple[str, Sequence[Value]]] = []
    for size in (8, 32, 128, 1024):
        x = normal(generator, MEAN, STD, size, 262_144 // size)  # each column a batch of its own
        in_training = batch_norm_train(x, gamma, mean, eps).y - x
        at_inference = batch_norm_inference(x, gamma, mean, mean, var, eps) - x
        distances = in_training.square().mean().sqrt().item(), largest_magnitude(at_inference)
        rows.append((str(size), [distance / STD for distance in distances]))
    title, columns = "distance of y from x, in standard deviations", ("in training", "at inference, at most")
    formula = "gamma and beta of the true variance and mean", "in training: root mean square, about sqrt(1.5 / B)"
    return with_exponents(number_table("other_batches", title, columns, rows, formula, corner="B"), 1, 1)


def _tangents() -> Table:
    at = torch.tensor([0, 0.5, 1, 2, 3, 4], dtype=torch.float64)
    sigmoid, tanh = torch.sigmoid(at), torch.tanh(at)
    tangent = 0.5 + at / 4
    columns = {
        ("sigmoid", "sigmoid"): sigmoid,
        ("0.5 + x/4", "tangent"): tangent,
        ("difference", "off"): tangent - sigmoid,
        ("slope / slope at 0", "slope"): 4 * sigmoid * (1 - sigmoid),
        ("tanh", "tanh"): tanh,
        ("x - tanh", "tanh_off"): at - tanh,
        ("slope of tanh", "tanh_slope"): 1 - tanh**2,
    }
    headings, keys = zip(*columns, strict=True)
    cells = torch.stack(list(columns.values()), dim=1).tolist()
    rows = [(f"{x:g}", row) for x, row in zip(at.tolist(), cells, strict=True)]
    values = [{"x": float(x), **dict(zip(keys, row, strict=True))} for x, row in rows]
    formula = "slope of sigmoid = sigmoid (1 - sigmoid), 1/4 at 0", "slope of tanh = 1 - tanh^2, 1 at 0"
    title = "sigmoid and tanh against their tangents at 0"
    return number_table("tangents", title, headings, rows, formula, corner="x", values=values)


def _linearity_of_a_stack(generator: torch.Generator) -> Table:
    inputs = standard_normal(generator, EXAMPLES, WIDTH)
    weights = standard_normal(generator, max(DEPTHS), WIDTH, WIDTH)
    rows: list[tuple[str, list[Value]]] = []
    for gamma in (0.5, 1.0, 2.0, 4.0, 8.0):
        rows.append((f"{gamma:g}", []))
        hidden = inputs
        for depth, weight in enumerate(weights, start=1):
            hidden = torch.sigmoid(batch_norm(hidden @ weight, gamma).y)
            if depth in DEPTHS:
                rows[-1][1].append(linear_share(inputs, hidden))
    title = "share of the output's variance that a linear map of the inputs explains"
    depths = [f"{depth} layer{'s' * (depth > 1)}" for depth in DEPTHS]
    return number_table("linear_share", title, depths, rows, ("R^2 of least squares, beta 0",), corner="gamma")


def linear_share(inputs: Tensor, outputs: Tensor) -> float:
    """Return how much of the variance of outputs (B, F) the best linear map of inputs (B, I), with a bias, explains.

    R^2 = 1 - |outputs - prediction|^2 / |outputs - their mean|^2, over all features.
    """
    with_bias = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
    rest: Tensor = outputs - with_bias @ torch.linalg.lstsq(with_bias, outputs).solution
    share = 1 - rest.square().sum().item() / (outputs - outputs.mean(dim=0)).square().sum().item()
    return round(share, 10)  # beyond, LAPACK's digits depend on where in memory its input lies


def descend(x: Tensor, eps: float) -> list[list[float]]:
    """Return gamma, beta and the loss, half the mean of (y - x)^2, after 0, 1, ... steps of gradient descent.

    Args:
        x: (B, 1).
        eps: added to the variance.
    """
    gamma, beta = initial_parameters(1)
    path: list[list[float]] = []
    for _ in range(STEPS + 1):
        forward = batch_norm_train(x, gamma, beta, eps)
        difference = forward.y - x
        path.append([gamma.item(), beta.item(), difference.square().mean().item() / 2])
        _, grad_gamma, grad_beta = batch_norm_train_backward(difference / len(x), forward, gamma, eps)
        gamma, beta = gamma - LEARNING_RATE * grad_gamma, beta - LEARNING_RATE * grad_beta
    return path


def _descent(path: Sequence[Sequence[float]], gamma: Tensor, beta: Tensor) -> tuple[Table, Lines]:
    rows: list[tuple[str, Sequence[Value]]] = [(str(step), path[step]) for step in (0, 1, 5, 10, 20, 50, 100)]
    rows.append(("identity", [gamma.item(), beta.item(), 0.0]))
    columns = "gamma", "beta", "loss"
    formula = "d gamma = sum_b dy x_hat", "d beta = sum_b dy", "dy = (y - x) / B"
    curves = dict(zip(columns[:2], zip(*path, strict=True), strict=False))
    title = "gamma and beta on their way to sqrt(var + eps) and to the mean"
    return (
        number_table("descent", "gamma and beta follow their gradients", columns, rows, formula, corner="step"),
        Lines("descent_lines", title, "step", list(range(STEPS + 1)), curves),
    )


def _against_torch(x: Tensor, plain: Normalized, undone: Tensor, eps: float) -> Text:
    ones, _ = initial_parameters(1)
    ours = [plain.y, *batch_norm_train_backward((plain.y - x) / len(x), plain, ones, eps), undone]
    module = nn.BatchNorm1d(1, eps=eps, dtype=torch.float64)
    theirs = torch_results(module, x, loss=lambda y: (y - x).square().mean().div(2))
    theirs.append(torch_results(module, x, (torch.sqrt(plain.var + eps), plain.mean))[0])
    return against_torch("torch.nn.BatchNorm1d", ours, theirs)
