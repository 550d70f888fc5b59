"""`whitening` against closed forms: covariances after each map, and what each step of preprocessing is worth."""

import math
from itertools import pairwise

import pytest
import torch

from bnexp.config.data_section import DEFAULT_WHITEN_EPS, PREPROCESSINGS
from bnexp.data.generated import load_mnist5k
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.whitening import (
    TARGET,
    bound_on_steps,
    draw_images,
    hessian_of,
    lesson,
    prepared,
    steps_of_descent,
)


@pytest.fixture(scope="module")
def numbers() -> dict:
    return lesson(request_of("whitening", LessonOptions())).numbers


def row(table: list, name: str) -> dict:
    return next(one for one in table if one["data.preprocess"] == name)


def test_moments_after_each_preprocessing(numbers: dict) -> None:
    pixels = draw_images(0).flatten(1).double() / 255
    cov, correlation = torch.cov(pixels.T, correction=0), torch.corrcoef(pixels.T)[0, 1].item()
    expected = {
        "none": (*pixels.mean(0).tolist(), cov[0, 0].item(), cov[1, 1].item(), cov[0, 1].item()),
        "center": (0, 0, cov[0, 0].item(), cov[1, 1].item(), cov[0, 1].item()),
        "standardize": (0, 0, 1, 1, correlation),
        "scale": (
            *(2 * pixels.mean(0) - 1).tolist(),
            *(4 * one for one in (cov[0, 0].item(), cov[1, 1].item(), cov[0, 1].item())),
        ),
        "pca_whiten": (0, 0, 1, 1, 0),
        "zca_whiten": (0, 0, 1, 1, 0),
    }
    assert set(expected) == set(PREPROCESSINGS)
    for name, values in expected.items():
        found = row(numbers["moments"], name)
        for column, value in zip(("mean 1", "mean 2", "var 1", "var 2", "cov 1,2"), values, strict=True):
            assert found[column] == pytest.approx(value, abs=5e-6), (name, column)
    assert numbers["correlation_before"] == pytest.approx(correlation, abs=1e-6)
    assert numbers["correlation_after"] == pytest.approx(correlation, abs=1e-6)  # batch normalization leaves it


def test_eigenvalues_maps_and_covariance_belong_together(numbers: dict) -> None:
    cov, vectors, pca, zca = (
        torch.tensor(numbers[key], dtype=torch.float64) for key in ("covariance", "eigenvectors", "pca_map", "zca_map")
    )
    values = torch.tensor(numbers["eigenvalues"], dtype=torch.float64)
    torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, cov, rtol=0, atol=1e-15)
    for whitening in (pca, zca):
        torch.testing.assert_close(whitening @ cov @ whitening.T, torch.eye(2).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(zca, zca.T)


def test_a_bias_runs_away_behind_the_gradients_back(numbers: dict) -> None:
    rows = numbers["outside_of_the_gradient"]
    assert len({round(one["loss"], 12) for one in rows}) == 1
    blind = [one["b, mean taken for a constant"] for one in rows]
    steps = [after - before for before, after in pairwise(blind)]
    assert min(steps) == pytest.approx(max(steps))
    assert steps[0] > 0.1
    assert all(one["b, gradient through the mean"] == 0 for one in rows)


@pytest.mark.parametrize("seed", range(5))
def test_each_step_is_worth_something_whatever_is_drawn(seed: int) -> None:
    table = lesson(request_of("whitening", LessonOptions(seed=seed))).numbers["descent"]
    conditions = [row(table, name)["condition number k"] for name in ("none", "center", "standardize", "zca_whiten")]
    assert conditions == sorted(conditions, reverse=True)
    assert conditions[-1] == pytest.approx(1, abs=1e-3)
    assert all(one["steps taken"] <= one["steps, at most"] for one in table)
    assert not math.isnan(conditions[0])


@pytest.mark.parametrize("curvatures", [(1.0, 1.0, 1.0), (1.0, 3.0, 3.0), (0.01, 0.5, 2.0)])
def test_descent_takes_no_more_steps_than_the_bound_and_nearly_as_many(curvatures: tuple) -> None:
    hessian = torch.diag(torch.tensor(curvatures, dtype=torch.float64))
    condition = max(curvatures) / min(curvatures)
    most, taken = bound_on_steps(condition), steps_of_descent(hessian)
    assert taken <= most
    assert taken >= 0.8 * most
    factor = (condition - 1) / (condition + 1)
    assert factor**most <= TARGET * (1 + 1e-9)
    assert most == 1 or factor ** (most - 1) > TARGET


def test_the_bowl_is_that_of_least_squares() -> None:
    points = prepared(draw_images(3), "none")
    parameters = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(wb: torch.Tensor) -> torch.Tensor:
        return ((points @ wb[:2] + wb[2] - 0.7) ** 2).mean() / 2

    found = torch.autograd.functional.hessian(loss, parameters)
    torch.testing.assert_close(hessian_of(points), found, rtol=1e-9, atol=1e-12)


def test_a_tenth_of_the_directions_of_a_digit_hold_nine_tenths_of_the_variance() -> None:
    """The experiment of the lesson says so of mnist5k, and that whitening raises many of the others to their size."""
    images = load_mnist5k().train.images
    pixels = images.flatten(1).double() / 255
    variances = torch.linalg.eigvalsh(torch.cov(pixels.T, correction=0)).flip(0)
    held = variances.cumsum(0) / variances.sum()
    large = int((held < 0.9).sum()) + 1
    whitened = variances / (variances + DEFAULT_WHITEN_EPS)
    assert 0.08 < large / len(variances) < 0.12
    assert int((whitened > 0.9).sum()) > 2.5 * large
