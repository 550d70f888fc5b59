"""`training-vs-inference`: both modes for several seeds; running averages as in torch, their memory in closed form."""

import math

import pytest
import torch
from torch import nn

from bnexp.document.figure import Lines
from bnexp.document.terminal import to_text
from bnexp.document.values import Lesson
from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.training_vs_inference import averages, lesson, memory, running_statistics


def taught(**words: object) -> Lesson:
    return lesson(request_of("training-vs-inference", LessonOptions(**words)))


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


@pytest.mark.parametrize("momentum", [0.001, 0.1, 1.0])
def test_running_statistics_are_those_of_torch(momentum: float) -> None:
    batches = torch.randn(7, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    module = nn.BatchNorm1d(3, momentum=momentum, dtype=torch.float64)
    for batch, (mean, var) in zip(batches, running_statistics(batches, momentum)[1:], strict=True):
        module(batch)
        torch.testing.assert_close((mean, var), (module.running_mean, module.running_var))


@pytest.mark.parametrize("momentum", [0.02, 0.3, 0.9, 1.0])
def test_memory_is_what_an_average_of_numbers_shows(momentum: float) -> None:
    row = next(one for one in memory(momentum).numbers["memory"] if one["momentum"] == f"{momentum:g}")
    # The weights of the batches, the newest first, by which a running average sums them up.
    weights = momentum * (1 - momentum) ** torch.arange(5000, dtype=torch.float64)
    assert row["N = 1/momentum"] == pytest.approx(1 / momentum)
    if momentum in (0.02, 1.0):  # whole numbers of batches
        assert row["weight of the last N"] == pytest.approx(weights[: round(1 / momentum)].sum().item())
    assert (1 - momentum) ** row["half-life"] == pytest.approx(0.5 if momentum < 1 else 1)
    assert row["scatter"] == pytest.approx(weights.norm().item())


def test_the_curves_begin_before_the_first_batch_which_has_no_mean_yet() -> None:
    batches = 5 + torch.randn(100, 4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lines = next(part for part in averages(batches, running_statistics(batches, 0.5), 0.5) if isinstance(part, Lines))
    assert list(lines.x) == list(range(101))
    assert math.isnan(lines.series["of the batch"][0])
    assert list(lines.series["of the batch"][1:]) == batches.mean(dim=1).flatten().tolist()
    assert lines.series["running"][:2] == [0, pytest.approx(batches[0].mean().item() / 2)]
