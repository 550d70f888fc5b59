"""What `identity` says of the sigmoid: where it is nearly a line, and what that does to a stack of layers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.lesson import Heading, Part, Table, Text
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.norms.reference import batch_norm_train

_WIDTH, _EXAMPLES = 20, 2000
_DEPTHS = (1, 3, 5)


def linear_regime_of_a_sigmoid() -> list[Part]:
    """Compare sigmoid and tanh with their tangents at 0."""
    at = torch.tensor([0, 0.5, 1, 2, 3, 4], dtype=torch.float64)
    sigmoid, tanh = torch.sigmoid(at), torch.tanh(at)
    columns = (
        sigmoid,
        0.5 + at / 4,
        0.5 + at / 4 - sigmoid,
        4 * sigmoid * (1 - sigmoid),
        tanh,
        at - tanh,
        1 - tanh**2,
    )
    rows: list[tuple[str, Sequence[Cell]]] = [
        (f"{x:g}", cells) for x, cells in zip(at.tolist(), torch.stack(columns, dim=1).tolist(), strict=True)
    ]
    return [
        Heading("3. Why one may want it undone: the linear regime of a sigmoid"),
        Table(
            "tangents",
            "sigmoid and tanh against their tangents at 0",
            ("sigmoid", "0.5 + x/4", "difference", "slope / slope at 0", "tanh", "x - tanh", "slope of tanh"),
            rows,
            ("slope of sigmoid = sigmoid (1 - sigmoid), 1/4 at 0", "slope of tanh = 1 - tanh^2, 1 at 0"),
            corner="x",
            values=[
                {
                    "x": float(x),
                    **dict(
                        zip(
                            ("sigmoid", "tangent", "off", "slope", "tanh", "tanh_off", "tanh_slope"), cells, strict=True
                        )
                    ),
                }
                for x, cells in rows
            ],
        ),
        Text(
            f"At 1 the sigmoid is only {decimal(columns[2][2].item())} below its tangent, at 2 "
            f"it is {decimal(columns[2][3].item())}; tanh bends sooner, since tanh(x) = 2 sigmoid(2x) - 1."
        ),
    ]


def linearity_of_a_stack(generator: torch.Generator) -> list[Part]:
    """Measure how much of what a stack of linear -> bn -> sigmoid computes a linear map computes too."""
    inputs = standard_normal(generator, _EXAMPLES, _WIDTH)
    weights = standard_normal(generator, max(_DEPTHS), _WIDTH, _WIDTH)
    ones, zeros = initial_parameters(_WIDTH)
    rows: list[tuple[str, Sequence[Cell]]] = []
    for gamma in (0.5, 1.0, 2.0, 4.0, 8.0):
        hidden, found = inputs, list[Cell]()
        for depth, weight in enumerate(weights, start=1):
            x = hidden @ weight
            hidden = torch.sigmoid(batch_norm_train(x, gamma * ones, zeros).y)
            if depth in _DEPTHS:
                found.append(linear_share(inputs, hidden))
        rows.append((f"{gamma:g}", found))
    return [
        Text(
            f"What comes of a stack? {_EXAMPLES:,} drawn inputs with {_WIDTH} features go through layers `linear -> "
            "bn -> sigmoid` with drawn weights; then the linear map is fitted that comes nearest to the output."
        ),
        Table(
            "linear_share",
            "share of the output's variance that a linear map of the inputs explains",
            [f"{depth} layer{'s' * (depth > 1)}" for depth in _DEPTHS],
            rows,
            ("R^2 of least squares, beta 0",),
            corner="gamma",
        ),
        Text(
            "With gamma 1, as a network begins, most of what a stack computes could be computed by one linear layer. "
            "With a larger gamma the sigmoid bends what it gets, and the network computes more than a linear map. "
            "That is the harm which Ioffe & Szegedy 2015 have in mind, and it needs no identity: a larger gamma is "
            "enough."
        ),
    ]


def linear_share(inputs: Tensor, outputs: Tensor) -> float:
    """Return how much of the variance of outputs (B, F) the best linear map of inputs (B, I), with a bias, explains.

    R^2 = 1 - |outputs - prediction|^2 / |outputs - their mean|^2, over all features.
    """
    ones = torch.ones(len(inputs), 1, dtype=inputs.dtype)
    with_bias = torch.cat([inputs, ones], dim=1)
    rest: Tensor = outputs - with_bias @ torch.linalg.lstsq(with_bias, outputs).solution
    share = 1 - rest.square().sum().item() / (outputs - outputs.mean(dim=0)).square().sum().item()
    return round(share, 10)  # beyond, LAPACK's digits depend on where in memory its input lies
