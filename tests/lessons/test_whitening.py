"""`whitening` against closed forms: covariances after each map, and what each step of preprocessing is worth."""

import math
from itertools import pairwise

import pytest
import torch

from bnexp.config.data_section import PREPROCESSINGS
from bnexp.lessons.asking import Words, request_of
from bnexp.lessons.whitening import draw_images, lesson


@pytest.fixture(scope="module")
def numbers() -> dict:
    return lesson(request_of("whitening", Words())).numbers


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
    table = lesson(request_of("whitening", Words(seed=seed))).numbers["descent"]
    conditions = [row(table, name)["condition number k"] for name in ("none", "center", "standardize", "zca_whiten")]
    assert conditions == sorted(conditions, reverse=True)
    assert conditions[-1] == pytest.approx(1, abs=1e-3)
    assert all(one["steps taken"] <= one["steps, at most"] for one in table)
    assert not math.isnan(conditions[0])
