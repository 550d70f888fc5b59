"""`bias`: lost before bn and in, kept before ln, gn and rms, with gradients as torch has them, for several seeds."""

import pytest

from bnexp.config.items import ITEMS
from bnexp.document.terminal import to_text
from bnexp.lessons.bias import lesson
from bnexp.lessons.request import LessonOptions, request_of


@pytest.fixture(params=range(4), scope="module")
def numbers(request: pytest.FixtureRequest) -> dict:
    return lesson(request_of("bias", LessonOptions(seed=request.param))).numbers


def test_the_bias_cancels_before_batch_norm_only(numbers: dict) -> None:
    for row in numbers["output_change"]:
        # Rounding of the pre-activations, and nothing else; the weights are about 1.
        assert row["batch norm"] < 1e-14 * max(row["largest entry"], 1) * 10
        assert row["layer norm"] > 0.1


def test_at_inference_as_much_as_the_running_mean_holds(numbers: dict) -> None:
    for row in numbers["at_inference"]:
        assert row["in its running mean"] == pytest.approx((1 - 0.9 ** int(row["k"])) * row["b, feature 1"], abs=1e-12)
    changes = [row["largest change of the output"] for row in numbers["at_inference"]]
    assert changes[0] > changes[1] > changes[2] > changes[3]
    assert changes[0] > 0.1
    assert changes[-1] < 1e-12


def test_gradients(numbers: dict) -> None:
    batch, layer = numbers["grad_bias"]
    entries = [f"feature {one}" for one in range(1, 5)]
    assert max(abs(batch[one]) for one in entries) < 1e-12
    assert min(abs(layer[one]) for one in entries) > 1e-6
    assert abs(layer["sum"]) < 1e-12
    assert numbers["difference_to_torch"] < 1e-12


def test_which_norms_lose_a_bias_per_channel(numbers: dict) -> None:
    for row in numbers["others"]:
        lost = ITEMS[row["norm"]].cancels_bias
        assert (row["bias: auto"] == "drops it") == lost
        assert (row["change by b"] < 1e-12) == lost
        assert (row["gradient of b"] < 1e-12) == lost
        assert (row["by equal entries"] > 1e-6) == (row["norm"] == "rms")


def test_those_that_drop_it_are_named() -> None:
    text = " ".join(to_text(lesson(request_of("bias", LessonOptions()))).split())
    assert ", ".join(name for name, kind in ITEMS.items() if kind.cancels_bias) in text
