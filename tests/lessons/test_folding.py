"""`folding`: one layer in place of two, as torch folds them, for several seeds."""

import pytest
import torch

from bnexp.lessons.folding import lesson
from bnexp.lessons.request import LessonOptions, request_of


@pytest.fixture(params=range(4), scope="module")
def numbers(request: pytest.FixtureRequest) -> dict:
    return lesson(request_of("folding", LessonOptions(seed=request.param))).numbers


def test_the_folded_layer_follows_from_the_constants(numbers: dict) -> None:
    mean, var, gamma, beta, factor = torch.tensor(numbers["constants"], dtype=torch.float64)
    *weight, bias = torch.tensor(numbers["before"], dtype=torch.float64)
    *new_weight, new_bias = torch.tensor(numbers["after"], dtype=torch.float64)
    torch.testing.assert_close(factor, gamma / (var + 1e-5).sqrt(), rtol=1e-12, atol=0)
    torch.testing.assert_close(new_bias, beta + (bias - mean) * gamma / (var + 1e-5).sqrt(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.stack(new_weight), torch.stack(weight) * factor, rtol=1e-12, atol=0)


def test_two_layers_and_one_differ_by_rounding(numbers: dict) -> None:
    assert numbers["difference"] < 1e-13
    assert 1e-9 < numbers["single"] < 1e-5
    assert numbers["difference_to_torch"] < 1e-12


def test_in_training_the_factor_scatters_less_the_larger_the_batch(numbers: dict) -> None:
    rows = numbers["in_training"]
    spreads = [row["largest factor"] - row["smallest factor"] for row in rows]
    assert spreads == sorted(spreads, reverse=True)
    assert rows[0]["rms difference"] > 2 * rows[-1]["rms difference"] > 0.01


def test_only_what_follows_the_layer_folds(numbers: dict) -> None:
    after_layer, after_relu, layer_norm = (row["largest difference"] for row in numbers["beyond"])
    assert after_layer < 1e-13
    assert min(after_relu, layer_norm) > 0.01
