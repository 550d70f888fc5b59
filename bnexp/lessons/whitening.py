"""The lesson `whitening`: centering, standardizing, scaling, PCA and ZCA whitening of a cloud of points."""

import torch
from torch import Tensor

from bnexp.config.data_section import PREPROCESSINGS, PreprocessName
from bnexp.data.preprocess import PREPROCESSES, covariance, eigen
from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Scatter, Table, Text
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.descent_on_a_bowl import outside_of_the_gradient, steps_of_each
from bnexp.lessons.request import Request
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.norms.reference import batch_norm_train

POINTS = 150
WHITEN_EPS = 1e-9
"""Far below the variances of the cloud, so that the formulas without eps hold to the digits shown."""
_NAMES = ("pixel 1", "pixel 2")


def lesson(request: Request) -> Lesson:
    """Return the lesson on a cloud of images of two neighboring pixels, drawn from the seed."""
    images = draw_images(request.seed)
    clouds = {name: prepared(images, name) for name in PREPROCESSINGS}
    parts = [
        *_cloud(images, clouds),
        *_covariances(clouds),
        *_principal_directions(images),
        *steps_of_each(clouds),
        *outside_of_the_gradient(clouds["none"]),
        *_and_batch_normalization(clouds),
    ]
    return Lesson(
        "whitening",
        "mean 0, variance 1 and no correlation: three steps, and what each is worth to gradient descent",
        parts,
        Experiment(
            (
                *(
                    "bnexp train configs/mnist_mlp_none.yaml --set data.dataset=mnist5k --set training.epochs=3 "
                    f"--set optimizer.lr=0.01 --set data.preprocess={preprocess} --name {name}"
                    for name, preprocess in (("raw", "none"), ("standardized", "standardize"), ("white", "zca_whiten"))
                ),
                "bnexp compare raw standardized white",
            ),
            "Standardized pixels learn fastest by far. Whitened ones hardly learn: the bowl above has two features "
            "of like worth, a digit has 784, most of them with next to no variance, and whitening gives each the "
            "same say. What serves a bowl need not serve a network; measure it.",
        ),
    )


def draw_images(seed: int) -> Tensor:
    """Return uint8 (POINTS, 2, 1, 1): two neighboring pixels, alike in brightness as in a photograph."""
    generator = torch.Generator().manual_seed(seed)
    common, own = standard_normal(generator, 2, POINTS)
    first = 160 + 32 * common
    second = 100 + 18 * (0.9 * common + 0.44 * own)
    return torch.stack([first, second], dim=1).round().clamp(0, 255).to(torch.uint8).view(POINTS, 2, 1, 1)


def prepared(images: Tensor, name: PreprocessName) -> Tensor:
    """Return float64 (POINTS, 2): what `data.preprocess` makes of the images, by the code that trains."""
    return PREPROCESSES[name](images, WHITEN_EPS)(images).flatten(1).double()


def moments(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (F,) and biased covariance (F, F) of points (B, F)."""
    mean = points.mean(dim=0)
    centered = points - mean
    return mean, centered.T @ centered / len(points)


def _cloud(images: Tensor, clouds: dict[PreprocessName, Tensor]) -> list[Part]:
    return [
        Text(
            f"{POINTS} images of two neighboring pixels. Each image is a point: the brightness of pixel 1 to the "
            "right, of pixel 2 upward. Neighbors are alike, so the cloud is long and slanted, and brightness is "
            "never negative, so it lies off the origin. Here it is after each value of `data.preprocess`, by the "
            "code that prepares the data of a training:"
        ),
        Scatter(
            "points",
            "the cloud after each preprocessing",
            {name: [(x, y) for x, y in points.tolist()] for name, points in clouds.items()},
        ),
        Text(
            "`center` moves the cloud to the origin. `standardize` also divides each pixel by its standard "
            "deviation: the cloud is as wide as high, and still slanted. `scale` knows nothing of the cloud: it maps "
            "0 .. 1 to -1 .. 1. `pca_whiten` turns the cloud onto its principal directions and divides by the "
            "deviation along each; `zca_whiten` turns it back, so that pixel 1 stays as near to pixel 1 as can be."
        ),
    ]


def _covariances(clouds: dict[PreprocessName, Tensor]) -> list[Part]:
    rows: list[tuple[str, list[Cell]]] = []
    for name, points in clouds.items():
        mean, cov = moments(points)
        correlation = cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt()
        rows.append(
            (name, [*(mean + 0.0).tolist(), cov[0, 0].item(), cov[1, 1].item(), cov[0, 1].item(), correlation.item()])
        )
    return [
        Heading("1. Mean and covariance, before and after"),
        Table(
            "moments",
            "mean 0 from `center` on, variance 1 from `standardize` on, covariance 0 only by whitening",
            ("mean 1", "mean 2", "var 1", "var 2", "cov 1,2", "correlation"),
            tuple(rows),
            corner="data.preprocess",
        ),
    ]


def _principal_directions(images: Tensor) -> list[Part]:
    mean, values, vectors = eigen(images)
    _, cov = covariance(images)
    pca = (vectors / (values + WHITEN_EPS).sqrt()).T
    zca = vectors @ pca
    return [
        Heading("2. How whitening is made"),
        matrix(
            "covariance",
            "covariance S, in units of the pixel range 0 .. 1",
            cov,
            _NAMES,
            _NAMES,
            ("S = 1/N sum (x - m)(x - m)^T",),
        ),
        matrix(
            "eigenvalues",
            "its eigenvalues: the variance along each",
            values,
            ("direction 1", "direction 2"),
            formula=("S = U diag(v) U^T",),
        ),
        matrix(
            "eigenvectors", "its eigenvectors, in the columns of U", vectors, ("direction 1", "direction 2"), _NAMES
        ),
        matrix(
            "pca_map",
            "PCA whitening",
            pca,
            _NAMES,
            ("output 1", "output 2"),
            ("W = diag(1 / sqrt(v + eps)) U^T", f"eps = {WHITEN_EPS:g}"),
        ),
        matrix(
            "zca_map",
            "ZCA whitening: symmetric",
            zca,
            _NAMES,
            ("output 1", "output 2"),
            ("W = U diag(1 / sqrt(v + eps)) U^T",),
        ),
        Text(
            f"The variance along the first direction is {values[0] / values[1]:.1f} times that along the second. What "
            "whitening divides by is the root of it: the smaller a variance, the more its direction is blown up, noise "
            "included.",
            {
                "mean_of_pixels": mean.tolist(),
                "variance_ratio": (values[0] / values[1]).item(),
                "whiten_eps": WHITEN_EPS,
            },
        ),
    ]


def _and_batch_normalization(clouds: dict[PreprocessName, Tensor]) -> list[Part]:
    points = clouds["none"]
    normalized = batch_norm_train(points, *initial_parameters(2), eps=1e-12).x_hat
    before, after = (cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt() for _, cov in map(moments, (points, normalized)))
    return [
        Heading("5. And batch normalization?"),
        Text(
            "It standardizes each feature over the batch and leaves the correlation as it is: "
            f"{decimal(before.item())} before, {decimal(after.item())} after. Whitening a layer would take the root "
            "of an F x F matrix at each step, of which a batch of B examples knows B - 1 directions at most.",
            {"correlation_before": before.item(), "correlation_after": after.item()},
        ),
    ]
