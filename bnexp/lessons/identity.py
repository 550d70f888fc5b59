"""The lesson `identity`: gamma and beta that undo the normalization, and why a sigmoid may need them.

Ioffe & Szegedy 2015, section 3, argue with the linear regime of the sigmoid, https://arxiv.org/abs/1502.03167
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines, histogram
from bnexp.document.table import number_table, with_exponents
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.document.writing import Value
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch, initial_parameters, largest_magnitude, standard_normal, torch_results
from bnexp.norms.reference import Normalized, batch_norm_inference, batch_norm_train, batch_norm_train_backward

MEAN, STD = 3.0, 2.0
STEPS, LEARNING_RATE = 100, 0.1
_WIDTH, _EXAMPLES, _DEPTHS = 20, 2000, (1, 3, 5)
"""Of the stack of layers whose linearity is measured."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on one feature, drawn from a Gaussian."""
    generator = torch.Generator().manual_seed(request.seed)
    x = _drawn(generator, 8, 1)
    plain = batch_norm_train(x, *initial_parameters(1), request.eps)
    parts = [*_undone(x, plain, request.eps), *_in_other_batches(generator, request.eps), *_tangents()]
    parts += [*_sigmoid_outputs(generator), *_linearity_of_a_stack(generator), *_by_gradient(x, plain, request.eps)]
    return Lesson(
        "identity",
        "gamma = sqrt(var + eps) and beta = mean undo it; whether training goes there is another matter",
        parts,
        TryIt(
            (
                "bnexp train configs/demo.yaml --name with_affine",
                "bnexp train configs/demo.yaml --set 'model.norm=bn(affine=false)' --name without_affine",
                "bnexp compare with_affine without_affine",
                "bnexp probe with_affine --probe norm_state --probe activations",
            ),
            "without_affine has no gamma and no beta, so it cannot undo anything. Look at the losses in training and "
            "at the accuracies: what were gamma and beta good for here? The probe shows how far they went from 1 and "
            "0. Compare `gamma_mean` of a bn with `activation_std` of the linear layer before it: gamma would be there "
            "if it had undone the normalization of a typical feature. It is not.",
        ),
    )


def _drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return MEAN + STD * standard_normal(generator, *shape)


def _undone(x: Tensor, plain: Normalized, eps: float) -> list[Part]:
    gamma, beta = torch.sqrt(plain.var + eps), plain.mean
    undone = batch_norm_train(x, gamma, beta, eps)
    cells = torch.cat([x, undone.x_hat, undone.y], dim=1).tolist()
    rows = [(f"example {number}", row) for number, row in enumerate(cells, start=1)]
    formula = "x_hat = (x - mean) / sqrt(var + eps)", "y = gamma x_hat + beta", "gamma = sqrt(var + eps), beta = mean"
    return [
        Heading("1. Two numbers undo it"),
        Text(f"A feature, drawn with mean {MEAN:g} and standard deviation {STD:g}, in a batch of {len(x)}:"),
        number_table("undone", "normalized, and back", ("x", "x_hat", "y"), rows, formula),
        text(
            "With gamma = {gamma} and beta = {beta}, made of the batch's own variance and mean, y is x again: it "
            "differs by {difference_to_x:.1e} at most. So on this batch a layer with gamma and beta can compute "
            "whatever it could without normalization.",
            gamma=gamma.item(),
            beta=beta.item(),
            difference_to_x=largest_magnitude(undone.y - x),
        ),
    ]


def _in_other_batches(generator: torch.Generator, eps: float) -> list[Part]:
    mean, var = torch.tensor([[MEAN], [STD**2]], dtype=torch.float64)
    gamma = torch.tensor([math.sqrt(STD**2 + eps)], dtype=torch.float64)
    rows: list[tuple[str, Sequence[Value]]] = []
    for size in (8, 32, 128, 1024):
        x = _drawn(generator, size, 262_144 // size)  # each column a batch of its own
        in_training = batch_norm_train(x, gamma, mean, eps).y - x
        at_inference = batch_norm_inference(x, gamma, mean, mean, var, eps) - x
        rows.append(
            (str(size), [in_training.square().mean().sqrt().item() / STD, largest_magnitude(at_inference) / STD])
        )
    title = "distance of y from x, in standard deviations"
    formula = "gamma and beta of the true variance and mean", "in training: root mean square, about sqrt(1.5 / B)"
    table = number_table("other_batches", title, ("in training", "at inference, at most"), rows, formula, corner="B")
    return [
        Heading("2. In training only up to the scatter of the batches"),
        with_exponents(table, 1, 1),
        Text(
            "gamma and beta are the same for every batch; mean and variance are not. In training y equals x up to the "
            "scatter of the batch statistics: the larger the batch, the nearer. At inference the running averages, "
            "which are fixed as well, take their place: with gamma and beta made of them, y is x for every example, up "
            "to rounding.",
        ),
    ]


def _tangents() -> list[Part]:
    """Compare sigmoid and tanh with their tangents at 0."""
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
    return [
        Heading("3. Why one may want it undone: the linear regime of a sigmoid"),
        number_table("tangents", title, headings, rows, formula, corner="x", values=values),
        Text(
            f"At 1 the sigmoid is only {cells[2][2]:.4f} below its tangent, at 2 it is {cells[3][2]:.4f}; tanh bends "
            "sooner, since tanh(x) = 2 sigmoid(2x) - 1."
        ),
    ]


def _sigmoid_outputs(generator: torch.Generator) -> list[Part]:
    x_hat = batch_norm_train(_drawn(generator, 10_000, 1), *initial_parameters(1)).x_hat
    within_1, within_2 = ((x_hat.abs() <= bound).double().mean().item() for bound in (1, 2))
    outputs = {f"gamma {gamma:g}": torch.sigmoid(gamma * x_hat) for gamma in (0.5, 1, 4)}
    edges = [tenth / 10 for tenth in range(11)]
    return [
        text(
            f"How many inputs lie there? Of {len(x_hat):,} drawn and normalized ones {{within_1:.1%}} are within 1 of "
            "0 and {within_2:.1%} within 2; for a Gaussian it is erf(1 / sqrt(2)) = {gaussian_1:.1%} and "
            "erf(2 / sqrt(2)) = {gaussian_2:.1%}. gamma makes the inputs of the sigmoid gamma times as large:",
            within_1=within_1,
            within_2=within_2,
            gaussian_1=math.erf(1 / math.sqrt(2)),
            gaussian_2=math.erf(2 / math.sqrt(2)),
        ),
        histogram("sigmoid_outputs", "outputs of a sigmoid after bn with beta 0", edges, outputs),
    ]


def _linearity_of_a_stack(generator: torch.Generator) -> list[Part]:
    """Measure how much of what a stack of linear -> bn -> sigmoid computes a linear map computes too."""
    inputs = standard_normal(generator, _EXAMPLES, _WIDTH)
    weights = standard_normal(generator, max(_DEPTHS), _WIDTH, _WIDTH)
    ones, zeros = initial_parameters(_WIDTH)
    rows: list[tuple[str, list[Value]]] = []
    for gamma in (0.5, 1.0, 2.0, 4.0, 8.0):
        rows.append((f"{gamma:g}", []))
        hidden = inputs
        for depth, weight in enumerate(weights, start=1):
            hidden = torch.sigmoid(batch_norm_train(hidden @ weight, gamma * ones, zeros).y)
            if depth in _DEPTHS:
                rows[-1][1].append(linear_share(inputs, hidden))
    title = "share of the output's variance that a linear map of the inputs explains"
    depths = [f"{depth} layer{'s' * (depth > 1)}" for depth in _DEPTHS]
    return [
        Text(
            f"What does a stack make of it? {_EXAMPLES:,} drawn inputs with {_WIDTH} features go through layers "
            "`linear -> bn -> sigmoid` with drawn weights; then the linear map that comes nearest to the output is "
            "fitted."
        ),
        number_table("linear_share", title, depths, rows, ("R^2 of least squares, beta 0",), corner="gamma"),
        Text(
            "With gamma 1, as a network begins, most of what a stack computes could be computed by one linear layer. "
            "With a larger gamma the sigmoid bends its input more, and the network computes more than a linear map. "
            "That is the harm which Ioffe & Szegedy 2015 have in mind. To undo it the identity is not needed: a larger "
            "gamma is enough."
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


def _by_gradient(x: Tensor, plain: Normalized, eps: float) -> list[Part]:
    path = descend(x, eps)
    gamma, beta = torch.sqrt(plain.var + eps), plain.mean
    rows: list[tuple[str, Sequence[Value]]] = [(str(step), path[step]) for step in (0, 1, 5, 10, 20, 50, 100)]
    rows.append(("identity", [gamma.item(), beta.item(), 0.0]))
    columns = "gamma", "beta", "loss"
    formula = "d gamma = sum_b dy x_hat", "d beta = sum_b dy", "dy = (y - x) / B"
    curves = {"gamma": [gamma for gamma, _, _ in path], "beta": [beta for _, beta, _ in path]}
    title = "gamma and beta on their way to sqrt(var + eps) and to the mean"
    module = nn.BatchNorm1d(1, eps=eps, dtype=torch.float64)
    ours = [plain.y, *batch_norm_train_backward((plain.y - x) / len(x), plain, torch.ones_like(gamma), eps)]
    ours.append(batch_norm_train(x, gamma, beta, eps).y)
    theirs = torch_results(module, x, loss=lambda y: (y - x).square().mean().div(2))
    theirs.append(torch_results(module, x, (gamma, beta))[0])
    return [
        Heading("4. Does training go there?"),
        text(
            "Where the loss asks for it, yes. Here it does: let the loss be half the mean of (y - x)^2 on the batch of "
            "step 1, and let gamma and beta follow their gradients from 1 and 0, with a learning rate of "
            "{learning_rate:g}.",
            learning_rate=LEARNING_RATE,
        ),
        number_table("descent", "gamma and beta follow their gradients", columns, rows, formula, corner="step"),
        Lines("descent_lines", title, "step", list(range(STEPS + 1)), curves),
        Text(
            "In a network the loss asks for right answers, not for y = x. The identity is among what it can compute, "
            "up to the scatter of step 2. But nothing guarantees that gamma and beta get there wherever it would be "
            "best: they follow the gradient like all other weights."
        ),
        against_torch("torch.nn.BatchNorm1d", ours, theirs),
    ]
