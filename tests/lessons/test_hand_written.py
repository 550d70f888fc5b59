"""`hand-written`: what the lesson claims, for two seeds."""

import pytest

from bnexp.lessons.hand_written import HAND, MENDED, TORCH, lesson
from bnexp.lessons.request import Words, request_of


@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_lesson_claims(seed: int) -> None:
    numbers = lesson(request_of("hand-written", Words(seed=seed))).numbers
    assert numbers["ratio_of_outputs"] == pytest.approx(numbers["expected_ratio"], abs=1e-4)
    assert numbers["loss_apart_mended"] < 1e-12
    assert 1e-6 < numbers["loss_apart_by_hand"] < 0.1
    losses = numbers["losses"]
    assert all(row[MENDED] == pytest.approx(row[TORCH], abs=1e-12) for row in losses)
    assert losses[-1][HAND] < losses[0][HAND] / 2
    assert numbers["running_std_by_hand"] < numbers["root_of_running_var"]
    rows = {row["statistics"]: row for row in numbers["inference"]}
    as_kept, anew = rows["torch's own, as kept"], rows["torch's own, taken anew over all training examples"]
    assert anew["loss"] < as_kept["loss"]
    assert anew["accuracy"] > as_kept["accuracy"]
