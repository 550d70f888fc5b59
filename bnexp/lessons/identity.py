"""The lesson `identity`: gamma and beta that undo the normalization, and why a sigmoid may need them.

Ioffe & Szegedy 2015, section 3, argue with the linear regime of the sigmoid, https://arxiv.org/abs/1502.03167
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Lines, Part, Table, Text, histogram
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.linear_regime import linear_regime_of_a_sigmoid, linearity_of_a_stack
from bnexp.lessons.request import Request
from bnexp.lessons.tables import with_exponents
from bnexp.lessons.tensors import against_torch, initial_parameters, largest_magnitude, standard_normal
from bnexp.norms.reference import batch_norm_inference, batch_norm_train, batch_norm_train_backward

MEAN, STD = 3.0, 2.0
STEPS, LEARNING_RATE = 100, 0.1


def lesson(request: Request) -> Lesson:
    """Return the lesson on one feature, drawn from a Gaussian."""
    generator = torch.Generator().manual_seed(request.seed)
    x = _drawn(generator, 8, 1)
    parts = [
        *_undone(x, request.eps),
        *_in_other_batches(generator, request.eps),
        *linear_regime_of_a_sigmoid(),
        *_histogram(generator),
        *linearity_of_a_stack(generator),
        *_by_gradient(x, request.eps),
        _against_torch(x, request.eps),
    ]
    return Lesson(
        "identity",
        "gamma = sqrt(var + eps) and beta = mean undo it; whether training goes there is another matter",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --name with_affine",
                "bnexp train configs/demo.yaml --set 'model.norm=bn(affine=false)' --name without_affine",
                "bnexp compare with_affine without_affine",
                "bnexp probe with_affine --probe norm_state --probe activations",
            ),
            "without_affine has no gamma and no beta, and so cannot undo anything. Look at the losses in training "
            "and at the accuracies: what were gamma and beta good for here? The probe shows where they went from 1 "
            "and 0. Compare `gamma_mean` of a bn with `activation_std` of the linear layer before it, which is where "
            "gamma would be if it had undone the normalization of a typical feature, and see that it is not there.",
        ),
    )


def _drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return MEAN + STD * standard_normal(generator, *shape)


def _undone(x: Tensor, eps: float) -> list[Part]:
    plain = batch_norm_train(x, *initial_parameters(1), eps)
    gamma, beta = torch.sqrt(plain.var + eps), plain.mean
    undone = batch_norm_train(x, gamma, beta, eps)
    difference = largest_magnitude(undone.y - x)
    rows: list[tuple[str, Sequence[Cell]]] = [
        (f"example {number + 1}", cells)
        for number, cells in enumerate(torch.cat([x, undone.x_hat, undone.y], dim=1).tolist())
    ]
    return [
        Heading("1. Two numbers undo it"),
        Text(f"A feature, drawn with mean {MEAN:g} and standard deviation {STD:g}, in a batch of {len(x)}:"),
        Table(
            "undone",
            "normalized, and back",
            ("x", "x_hat", "y"),
            rows,
            ("x_hat = (x - mean) / sqrt(var + eps)", "y = gamma x_hat + beta", "gamma = sqrt(var + eps), beta = mean"),
        ),
        Text(
            f"With gamma = {decimal(gamma.item())} and beta = {decimal(beta.item())}, made of the batch's own "
            f"variance and mean, y is x again: it differs by {difference:.1e} at most. So a layer with gamma and beta "
            "can compute whatever it could without normalization, on this batch.",
            {"gamma": gamma.item(), "beta": beta.item(), "difference_to_x": difference},
        ),
    ]


def _in_other_batches(generator: torch.Generator, eps: float) -> list[Part]:
    gamma, beta = torch.full((1,), math.sqrt(STD**2 + eps), dtype=torch.float64), torch.full((1,), MEAN).double()
    rows: list[tuple[str, Sequence[Cell]]] = []
    for size in (8, 32, 128, 1024):
        x = _drawn(generator, size, 262_144 // size)  # each column a batch of its own
        wide = [one.expand(x.shape[1]) for one in (gamma, beta)]
        in_training = batch_norm_train(x, wide[0], wide[1], eps).y - x
        at_inference = batch_norm_inference(x, gamma, beta, beta, torch.full((1,), STD**2).double(), eps) - x
        distances = in_training.square().mean().sqrt().item() / STD, largest_magnitude(at_inference) / STD
        rows.append((str(size), distances))
    return [
        Heading("2. In training only up to the scatter of the batches"),
        with_exponents(
            Table(
                "other_batches",
                "distance of y from x, in standard deviations",
                ("in training", "at inference, at most"),
                rows,
                ("gamma and beta of the true variance and mean", "in training: root mean square, about sqrt(1.5 / B)"),
                corner="B",
            ),
            1,
            1,
        ),
        Text(
            "gamma and beta are the same for every batch; mean and variance are not. In training y is x but for the "
            "scatter of the batch statistics, so that it is nearer to x the larger the batch. At inference running "
            "averages stand in their place, and they are fixed as well: with gamma and beta made of them, y is x for "
            "every example, but for rounding.",
        ),
    ]


def _histogram(generator: torch.Generator) -> list[Part]:
    x = _drawn(generator, 10_000, 1)
    x_hat = batch_norm_train(x, *initial_parameters(1)).x_hat
    shares = {bound: (x_hat.abs() <= bound).double().mean().item() for bound in (1, 2)}
    expected = {bound: math.erf(bound / math.sqrt(2)) for bound in (1, 2)}
    edges = [one / 10 for one in range(11)]
    return [
        Text(
            f"How many inputs lie there? Of {len(x_hat):,} drawn and normalized ones {shares[1]:.1%} are within 1 of "
            f"0 and {shares[2]:.1%} within 2; for a Gaussian it is erf(1 / sqrt(2)) = {expected[1]:.1%} and erf(2 / "
            f"sqrt(2)) = {expected[2]:.1%}. With gamma the sigmoid sees gamma times as much:",
            {"within_1": shares[1], "within_2": shares[2], "gaussian_1": expected[1], "gaussian_2": expected[2]},
        ),
        histogram(
            "sigmoid_outputs",
            "outputs of a sigmoid after bn with beta 0",
            edges,
            {f"gamma {gamma:g}": torch.sigmoid(gamma * x_hat) for gamma in (0.5, 1, 4)},
        ),
    ]


def _by_gradient(x: Tensor, eps: float) -> list[Part]:
    plain = batch_norm_train(x, *initial_parameters(1), eps)
    path = descend(x, eps)
    target = torch.sqrt(plain.var + eps).item(), plain.mean.item()
    steps = list(range(STEPS + 1))
    rows: list[tuple[str, Sequence[Cell]]] = [(str(step), path[step]) for step in (0, 1, 5, 10, 20, 50, 100)]
    return [
        Heading("4. Does training go there?"),
        Text(
            "Where the loss asks for it, yes. Here it does: let the loss be half the mean of (y - x)^2 on the batch of "
            f"step 1, and let gamma and beta follow their gradients from 1 and 0, with a learning rate of "
            f"{LEARNING_RATE:g}.",
            {"learning_rate": LEARNING_RATE},
        ),
        Table(
            "descent",
            "gamma and beta follow their gradients",
            ("gamma", "beta", "loss"),
            [*rows, ("identity", [*target, 0.0])],
            ("d gamma = sum_b dy x_hat", "d beta = sum_b dy", "dy = (y - x) / B"),
            corner="step",
        ),
        Lines(
            "descent_lines",
            "gamma and beta on their way to sqrt(var + eps) and to the mean",
            "step",
            steps,
            {"gamma": [one[0] for one in path], "beta": [one[1] for one in path]},
        ),
        Text(
            "In a network the loss asks for right answers, not for y = x. The identity is among what it can compute, "
            "but for the scatter of step 2; that gamma and beta get there wherever it would be best is not "
            "guaranteed. They follow the gradient like all other weights."
        ),
    ]


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


def _against_torch(x: Tensor, eps: float) -> Text:
    plain = batch_norm_train(x, *initial_parameters(1), eps)
    gamma, beta = torch.sqrt(plain.var + eps), plain.mean
    module = nn.BatchNorm1d(1, eps=eps, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    start = module(leaf)
    (start - x).square().mean().div(2).backward()
    ours = [plain.y, *batch_norm_train_backward((plain.y - x) / len(x), plain, torch.ones_like(gamma), eps)]
    theirs = [start, leaf.grad, module.weight.grad, module.bias.grad]
    module.load_state_dict({"weight": gamma, "bias": beta}, strict=False)
    return against_torch("torch.nn.BatchNorm1d", [*ours, batch_norm_train(x, gamma, beta, eps).y], [*theirs, module(x)])
