"""Parts of the lesson `identity`: where a sigmoid is nearly a line, and what that does to a stack of layers."""

import torch
from torch import Tensor

from bnexp.document.lesson import Heading, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.norms.reference import batch_norm_train

WIDTH, EXAMPLES = 20, 2000
DEPTHS = (1, 3, 5)


def linear_regime_of_a_sigmoid() -> list[Part]:
    """Compare sigmoid and tanh with their tangents at 0."""
    x = torch.tensor([0, 0.5, 1, 2, 3, 4], dtype=torch.float64)
    sigmoid, tanh, tangent = torch.sigmoid(x), torch.tanh(x), 0.5 + x / 4
    off = tangent - sigmoid
    columns = {  # by the key of its numbers, the heading and the values
        "sigmoid": ("sigmoid", sigmoid),
        "tangent": ("0.5 + x/4", tangent),
        "off": ("difference", off),
        "slope": ("slope / slope at 0", 4 * sigmoid * (1 - sigmoid)),
        "tanh": ("tanh", tanh),
        "tanh_off": ("x - tanh", x - tanh),
        "tanh_slope": ("slope of tanh", 1 - tanh**2),
    }
    lines = torch.stack([values for _, values in columns.values()], dim=1).tolist()
    at = x.tolist()
    return [
        Heading("3. Why one may want it undone: the linear regime of a sigmoid"),
        Table(
            "tangents",
            "sigmoid and tanh against their tangents at 0",
            [heading for heading, _ in columns.values()],
            [(f"{value:g}", cells) for value, cells in zip(at, lines, strict=True)],
            ("slope of sigmoid = sigmoid (1 - sigmoid), 1/4 at 0", "slope of tanh = 1 - tanh^2, 1 at 0"),
            corner="x",
            values=[
                {"x": value, **dict(zip(columns, cells, strict=True))} for value, cells in zip(at, lines, strict=True)
            ],
        ),
        Text(
            f"At 1 the sigmoid is only {decimal(off[2].item())} below its tangent, at 2 it is "
            f"{decimal(off[3].item())}; tanh bends sooner, since tanh(x) = 2 sigmoid(2x) - 1."
        ),
    ]


def linearity_of_a_stack(generator: torch.Generator) -> list[Part]:
    """Measure how much of the output of a stack of linear -> bn -> sigmoid a linear map explains."""
    inputs = standard_normal(generator, EXAMPLES, WIDTH)
    weights = standard_normal(generator, max(DEPTHS), WIDTH, WIDTH)
    ones, zeros = initial_parameters(WIDTH)
    rows = []
    for gamma in (0.5, 1.0, 2.0, 4.0, 8.0):
        hidden, shares = inputs, []
        for depth, weight in enumerate(weights, start=1):
            hidden = torch.sigmoid(batch_norm_train(hidden @ weight, gamma * ones, zeros).y)
            if depth in DEPTHS:
                shares.append(linear_share(inputs, hidden))
        rows.append((f"{gamma:g}", shares))
    return [
        Text(
            f"What comes of a stack? {EXAMPLES:,} drawn inputs with {WIDTH} features go through layers `linear -> bn "
            "-> sigmoid` with drawn weights; then the linear map is fitted that comes nearest to the output."
        ),
        Table(
            "linear_share",
            "share of the output's variance that a linear map of the inputs explains",
            [f"{depth} layer{'s' * (depth > 1)}" for depth in DEPTHS],
            rows,
            ("R^2 of least squares, beta 0",),
            corner="gamma",
        ),
        Text(
            "With gamma 1, as a network begins, most of what a stack computes could be computed by one linear layer. "
            "With a larger gamma the sigmoid bends its input, and the network computes more than a linear map. That is "
            "the harm which Ioffe & Szegedy 2015 have in mind, and it needs no identity: a larger gamma is enough."
        ),
    ]


def linear_share(inputs: Tensor, outputs: Tensor) -> float:
    """Return how much of the variance of outputs (B, F) the best linear map of inputs (B, I), with a bias, explains.

    R^2 = 1 - |outputs - prediction|^2 / |outputs - their mean|^2, over all features.
    """
    with_bias = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
    rest: Tensor = outputs - with_bias @ torch.linalg.lstsq(with_bias, outputs).solution
    share = 1 - rest.square().sum().item() / (outputs - outputs.mean(dim=0)).square().sum().item()
    return round(share, 10)  # beyond, LAPACK's digits depend on where in memory its input lies
