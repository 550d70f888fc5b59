"""`coupling`: how far an example moves with its companions, and batches of one class, against formulas, by seed."""

import pytest
import torch
from torch import nn

from bnexp.lessons.coupling import lesson, normalized, outputs_among_companions
from bnexp.lessons.request import LessonOptions, request_of


@pytest.fixture(params=range(4), scope="module")
def numbers(request: pytest.FixtureRequest) -> dict:
    return lesson(request_of("coupling", LessonOptions(seed=request.param))).numbers


def test_the_spread_falls_with_the_batch_and_is_that_of_the_formula_when_it_is_large(numbers: dict) -> None:
    rows = {int(row["B"]): row for row in numbers["companions"]}
    spreads = [row["std under bn"] for row in rows.values()]
    assert spreads == sorted(spreads, reverse=True)
    for size, row in rows.items():
        assert row["expected"] == pytest.approx((1.5 / size) ** 0.5)
        assert row["range under ln"] == 0
        if size >= 32:
            assert row["std under bn"] == pytest.approx(row["expected"], rel=0.15)
    # Of two values the larger becomes 1: the example's 1 is larger with the probability Phi(1).
    larger = torch.special.ndtr(torch.tensor(1.0)).item()
    assert rows[2]["mean"] == pytest.approx(2 * larger - 1, abs=0.1)


def test_outputs_among_companions_are_those_of_torch_one_batch_after_the_other() -> None:
    example = torch.tensor([[1.0, -0.5]], dtype=torch.float64)
    by_batch, by_layer = outputs_among_companions(example, 3, torch.Generator().manual_seed(4))
    companions = torch.randn(2, len(by_batch) * 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for draw in range(5):
        x = torch.cat([example, companions[:, 2 * draw : 2 * draw + 2]])
        expected = nn.BatchNorm1d(2, dtype=torch.float64)(x)[0, 0].item()
        assert by_batch[draw].item() == pytest.approx(expected)
        assert by_layer[draw].item() == pytest.approx(nn.LayerNorm(2, dtype=torch.float64)(x)[0, 0].item())


def test_one_large_value_presses_all_others_together(numbers: dict) -> None:
    rows = numbers["one_large"]
    spreads = [row["std of the others"] for row in rows[1:]]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.01
    assert rows[-1]["the last one"] == pytest.approx(numbers["farthest"], rel=1e-4)
    assert max(abs(row["the last one"]) for row in rows) <= numbers["farthest"]
    assert len({row["example 1 under ln"] for row in rows}) == 1


def test_gradients_reach_the_companions_under_bn_only(numbers: dict) -> None:
    rows = numbers["gradients"]
    assert all(row["under bn"] != 0 for row in rows)
    assert [row["under ln"] for row in rows[1:]] == [0] * 5
    assert rows[0]["under ln"] != 0
    assert abs(numbers["sum_of_gradients"]) < 1e-12
    assert numbers["difference_to_torch"] < 1e-12


def test_each_batch_is_normalized_by_itself() -> None:
    batches = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4 + 1
    for batch, y in zip(batches, normalized(batches), strict=True):
        expected = nn.BatchNorm1d(1, dtype=torch.float64)(batch[:, None]).detach().flatten()
        torch.testing.assert_close(y, expected)


def test_classes_are_apart_in_mixed_batches_only(numbers: dict) -> None:
    mixed, of_one_class = numbers["sorted_batches"]
    assert mixed["told apart by the sign"] > 0.999
    assert mixed["mean of B"] == pytest.approx(-mixed["mean of A"])
    # Of the variance, 2^2 is between the classes and 0.5^2 within them.
    assert mixed["mean of B"] == pytest.approx(2 / (2**2 + 0.5**2) ** 0.5, abs=0.01)
    assert of_one_class["told apart by the sign"] == pytest.approx(0.5, abs=0.03)
    assert of_one_class["mean of A"] == pytest.approx(0, abs=1e-12)
    assert numbers["variance_within"] == pytest.approx(0.5**2, rel=0.1)
    assert numbers["variance_mixed"] == pytest.approx((2**2 + 0.5**2) * 32 / 31, rel=0.1)
    assert numbers["means_at_inference"] == pytest.approx([-4, 4], rel=0.1)
