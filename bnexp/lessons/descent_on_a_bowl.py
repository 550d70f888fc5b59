"""What `whitening` says of gradient descent: how many steps each cloud takes, and why the mean belongs to the gradient.

LeCun, Bottou, Orr & Mueller 1998, Efficient BackProp, relate the steps to the curvatures of the loss.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bnexp.config.data_section import PreprocessName
from bnexp.document.lesson import Heading, Part, Table, Text
from bnexp.document.numerals import Cell

TARGET = 1e-3
"""By how much gradient descent is to reduce its error."""


def steps_of_each(clouds: Mapping[PreprocessName, Tensor]) -> list[Part]:
    """Compare gradient descent on the clouds (B, F), each after another preprocessing."""
    rows: list[tuple[str, list[Cell]]] = []
    for name, points in clouds.items():
        hessian = hessian_of(points)
        values = torch.linalg.eigvalsh(hessian)
        condition = (values[-1] / values[0]).item()
        rows.append((name, [condition, bound_on_steps(condition), steps_of_descent(hessian)]))
    return [
        Heading("3. What it is worth: steps of gradient descent"),
        Text(
            "Fit a line y = w1 x1 + w2 x2 + b to this cloud by gradient descent on the squared error. The loss is a "
            "bowl, and its curvature is H = mean of (x, 1)(x, 1)^T. With the best step size, the error falls by the "
            "factor (k - 1) / (k + 1) a step, where k is the largest curvature over the smallest (LeCun et al. 1998)."
        ),
        Table(
            "descent",
            f"steps until the error is {TARGET:g} of what it was",
            ("condition number k", "steps, at most", "steps taken"),
            tuple(rows),
            corner="data.preprocess",
            digits=1,
        ),
        Text(
            "Off the origin, weights and bias pull at the same thing; with one feature wider than the other, no step "
            "size suits both; with a correlation, they move together. Centering, standardizing "
            "and whitening take these away, one after the other."
        ),
    ]


def hessian_of(points: Tensor) -> Tensor:
    """Return (F + 1, F + 1): the second derivative of half the mean squared error by (w, b)."""
    extended = torch.cat([points, torch.ones(len(points), 1, dtype=points.dtype)], dim=1)
    return extended.T @ extended / len(points)


def bound_on_steps(condition: float) -> int:
    """Return after how many steps of gradient descent with the best step size the error is TARGET at most."""
    if condition - 1 < 1e-9:
        return 1
    return math.ceil(math.log(TARGET) / math.log((condition - 1) / (condition + 1)))


def steps_of_descent(hessian: Tensor) -> int:
    """Return the steps that gradient descent takes from an error that has as much of every direction.

    The error e of the parameters follows e <- e - step H e, with step = 2 / (smallest + largest eigenvalue): along the
    eigenvector of the eigenvalue v it is multiplied by 1 - step v.
    """
    values = torch.linalg.eigvalsh(hessian)
    factors = (1 - 2 / (values[0] + values[-1]) * values).tolist()
    error = [1.0] * len(factors)
    start, steps = math.hypot(*error), 0
    while math.hypot(*error) > TARGET * start:
        error = [factor * one for factor, one in zip(factors, error, strict=True)]
        steps += 1
    return steps


def outside_of_the_gradient(points: Tensor) -> list[Part]:
    """Show Ioffe & Szegedy's example on points (B, F): the mean subtracted behind the gradient's back."""
    u = points[:, :1]
    target, rate = 0.5, 0.5
    blind, aware = [0.0], [0.0]
    losses = []
    for _ in range(4):
        grad_y = _residual(u + blind[-1], target)  # (B, 1)
        losses.append((grad_y**2).mean().item() / 2)
        blind.append(blind[-1] - rate * grad_y.mean().item())
        through_mean = grad_y - grad_y.mean(dim=0)  # the gradient that knows of the mean
        aware.append(aware[-1] - rate * through_mean.mean().item())
    losses.append((_residual(u + blind[-1], target) ** 2).mean().item() / 2)
    rows = [(str(step), [losses[step], blind[step], round(aware[step], 12)]) for step in range(5)]
    return [
        Heading("4. Why not whiten inside the network, beside the gradient?"),
        Text(
            "Let a layer add a bias b to pixel 1, subtract the mean over the batch, and be asked to put out "
            f"{target:g} on average, which it never can. A gradient that takes the mean for a constant keeps moving "
            "b, and the output does not change; b grows without end. One that goes through the mean knows that b "
            "does nothing (Ioffe & Szegedy 2015, section 2). Batch normalization is part of the network, so its "
            "gradient does."
        ),
        Table(
            "outside_of_the_gradient",
            "loss and bias, step by step",
            ("loss", "b, mean taken for a constant", "b, gradient through the mean"),
            tuple(rows),
            corner="step",
        ),
    ]


def _residual(x: Tensor, target: float) -> Tensor:
    return x - x.mean(dim=0) - target
