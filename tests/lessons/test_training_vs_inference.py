"""`training-vs-inference`: what is said of both modes, for several seeds."""

import math

import pytest

from bnexp.document.lesson import Lesson
from bnexp.document.lesson_text import to_text
from bnexp.lessons.request import Words, request_of
from bnexp.lessons.training_vs_inference import lesson


def taught(**words: object) -> Lesson:
    return lesson(request_of("training-vs-inference", Words(**words)))


def test_a_tiny_momentum_still_fits_the_page_and_is_finite() -> None:
    one = taught(momentum=1e-9)
    assert all(math.isfinite(row["half-life"]) for row in one.numbers["memory"])
    assert max(map(len, to_text(one).split("\n"))) <= 100


def test_keras_users_are_warned_above_one_half() -> None:
    assert "If 0.9 is meant as in Keras, it is 0.1 here" in " ".join(to_text(taught(momentum=0.9)).split())
    assert "above 0.5" in to_text(taught(momentum=1.0))
    assert "above 0.5" not in to_text(taught(momentum=0.5))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_of_the_two_modes(seed: int) -> None:
    numbers = taught(seed=seed).numbers
    one = numbers["one_example"]
    assert one["in batch A"]["in training"] != one["in batch B"]["in training"]
    assert one["in batch A"]["at inference"] == one["in batch B"]["at inference"]
    assert numbers["layer_norm_difference"] < 1e-14
    assert numbers["std_of_batch_means"] == pytest.approx(numbers["std_of_batch_means_expected"], rel=0.3)
    for row in numbers["unbiased"]:
        size = row["B"]
        assert row["same_batch"] == pytest.approx(((size - 1) / size) ** 0.5, rel=1e-2)
        assert row["training"] == pytest.approx(1, abs=0.01)
        assert row["inference"] == pytest.approx(1, abs=0.05)
        assert row["biased"] == pytest.approx(size / (size - 1), rel=0.05)
    assert abs(numbers["true_mean_in_the_end"]) < 0.5 < 1.5 < numbers["true_mean_after_3"]
    assert numbers["difference_to_torch"] < 1e-12


def test_pairs_and_refusals() -> None:
    one = taught()
    eps = 1e-5
    for row, half in zip(one.numbers["pairs"], (-0.5, 53.5, -0.005), strict=True):
        expected = half / math.sqrt(half**2 + eps)
        assert row["output of the first"] == pytest.approx(expected)
        assert row["of the second"] == pytest.approx(-expected)
    text = " ".join(to_text(one).split())
    assert "expected at least 2 examples" in text
    assert "Expected more than 1 value per channel when training" in text
