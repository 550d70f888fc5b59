"""The lesson `whitening`: centering, standardizing, scaling, PCA and ZCA whitening of a cloud of points.

LeCun, Bottou, Orr & Mueller 1998, Efficient BackProp, relate steps of gradient descent to curvatures of the loss.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bnexp.config.data_section import PREPROCESSINGS, PreprocessName
from bnexp.data.preprocess import PREPROCESSES, covariance, eigen
from bnexp.document.figure import Scatter
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import batch_norm, standard_normal

POINTS = 150
WHITEN_EPS = 1e-9
"""Far below the variances of the cloud, so that the formulas without eps hold to the digits shown."""
TARGET = 1e-3
"""By how much gradient descent is to reduce its error."""
WANTED = 0.5
"""What the layer of step 4 is trained to put out on average."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on a cloud of images of two neighboring pixels, drawn from the seed."""
    images = draw_images(request.seed)
    clouds = {name: prepared(images, name) for name in PREPROCESSINGS}
    mean, values, _ = eigen(images)
    points: dict[str, list[tuple[float, float]]] = {
        name: [(x, y) for x, y in cloud.tolist()] for name, cloud in clouds.items()
    }
    normalized = batch_norm(clouds["none"], eps=1e-12).x_hat
    return compose(
        __name__,
        [
            Scatter("points", "the cloud after each preprocessing", points),
            *_tables_of_each(clouds),
            *_principal_directions(images),
            _outside_of_the_gradient(clouds["none"]),
        ],
        mean_of_pixels=mean.tolist(),
        variance_ratio=(values[0] / values[1]).item(),
        whiten_eps=WHITEN_EPS,
        correlation_before=moments(clouds["none"])[-1],
        correlation_after=moments(normalized)[-1],
    )


def draw_images(seed: int) -> Tensor:
    """Return uint8 (POINTS, 2, 1, 1): two neighboring pixels, similar in brightness as in a photograph."""
    generator = torch.Generator().manual_seed(seed)
    common, own = standard_normal(generator, 2, POINTS)
    first = 160 + 32 * common
    second = 100 + 18 * (0.9 * common + 0.44 * own)
    return torch.stack([first, second], dim=1).round().clamp(0, 255).to(torch.uint8).view(POINTS, 2, 1, 1)


def prepared(images: Tensor, name: PreprocessName) -> Tensor:
    """Return float64 (POINTS, 2): what `data.preprocess` makes of the images, by the code that trains."""
    return PREPROCESSES[name](images, WHITEN_EPS)(images).flatten(1).double()


def moments(points: Tensor) -> list[float]:
    """Return the means, the biased variances, the covariance and the correlation of points (B, 2)."""
    mean = points.mean(dim=0)
    centered = points - mean
    cov = centered.T @ centered / len(points)
    correlation = cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt()
    return [*(mean + 0.0).tolist(), *cov.diagonal().tolist(), cov[0, 1].item(), correlation.item()]


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
    """Return the steps that gradient descent takes from an error that has the same amount of every direction.

    The error e of the parameters follows e <- e - step H e, with step = 2 / (smallest + largest eigenvalue): along the
    eigenvector of the eigenvalue v it is multiplied by 1 - step v.
    """
    values = torch.linalg.eigvalsh(hessian)
    factors = (1 - 2 / (values[0] + values[-1]) * values).tolist()
    error = [1.0] * len(factors)
    start, steps = math.hypot(*error), 0
    while math.hypot(*error) > TARGET * start:
        error = [factor * along for factor, along in zip(factors, error, strict=True)]
        steps += 1
    return steps


def _tables_of_each(clouds: Mapping[PreprocessName, Tensor]) -> list[Table]:
    steps = []
    for name, points in clouds.items():
        hessian = hessian_of(points)
        curvatures = torch.linalg.eigvalsh(hessian)
        condition = (curvatures[-1] / curvatures[0]).item()
        steps.append((name, (condition, bound_on_steps(condition), steps_of_descent(hessian))))
    mean_and_cov = [(name, moments(points)) for name, points in clouds.items()]
    columns = "mean 1", "mean 2", "var 1", "var 2", "cov 1,2", "correlation"
    of_steps = "condition number k", "steps, at most", "steps taken"
    title = "mean 0 from `center` on, variance 1 from `standardize` on, covariance 0 only by whitening"
    steps_title = f"steps until the error is {TARGET:g} of what it was"
    return [
        number_table("moments", title, columns, mean_and_cov, corner="data.preprocess"),
        number_table("descent", steps_title, of_steps, steps, corner="data.preprocess", digits=1),
    ]


def _principal_directions(images: Tensor) -> list[Table]:
    _, values, vectors = eigen(images)
    _, cov = covariance(images)
    pca = (vectors / (values + WHITEN_EPS).sqrt()).T
    pixels, directions, outputs = ([f"{name} 1", f"{name} 2"] for name in ("pixel", "direction", "output"))
    title = "covariance S, in units of the pixel range 0 .. 1"
    pca_formula, zca_formula = "W = diag(1 / sqrt(v + eps)) U^T", "W = U diag(1 / sqrt(v + eps)) U^T"
    spectral = ("S = U diag(v) U^T",)
    return [
        matrix("covariance", title, cov, pixels, pixels, ("S = 1/N sum (x - m)(x - m)^T",)),
        matrix("eigenvalues", "its eigenvalues: the variance along each", values, directions, formula=spectral),
        matrix("eigenvectors", "its eigenvectors, in the columns of U", vectors, directions, pixels),
        matrix("pca_map", "PCA whitening", pca, pixels, outputs, (pca_formula, f"eps = {WHITEN_EPS:g}")),
        matrix("zca_map", "ZCA whitening: symmetric", vectors @ pca, pixels, outputs, (zca_formula,)),
    ]


def _outside_of_the_gradient(points: Tensor) -> Table:
    """Show Ioffe & Szegedy's example on points (B, 2): the mean subtracted behind the gradient's back."""
    u, rate = points[:, :1], 0.5
    blind, aware = 0.0, 0.0
    rows = []
    for step in range(5):
        x = u + blind
        grad_y = x - x.mean(dim=0) - WANTED  # (B, 1)
        rows.append((str(step), ((grad_y**2).mean().item() / 2, blind, round(aware, 12))))
        through_mean = grad_y - grad_y.mean(dim=0)  # the gradient that knows of the mean
        blind, aware = blind - rate * grad_y.mean().item(), aware - rate * through_mean.mean().item()
    columns = "loss", "b, mean taken for a constant", "b, gradient through the mean"
    return number_table("outside_of_the_gradient", "loss and bias, step by step", columns, rows, corner="step")
