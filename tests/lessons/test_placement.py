"""`placement`: what each place hands on, against the integrals of relu and against torch's module."""

import math

import pytest
import torch
from torch import Tensor, nn

from bnexp.document.terminal import to_text
from bnexp.lessons.placement import (
    AFTER,
    BEFORE,
    BLOCKS,
    FIRST,
    NONE,
    WIDTH,
    after,
    between_examples,
    draw,
    gradient_by_z,
    lesson,
    stream,
)
from bnexp.lessons.request import LessonOptions, request_of


@pytest.fixture(params=[0, 1, 7], scope="module")
def numbers(request: pytest.FixtureRequest) -> dict:
    return lesson(request_of("placement", LessonOptions(seed=request.param))).numbers


def by_block(rows: list[dict]) -> dict[str, dict]:
    return {row["block"]: row for row in rows}


def test_before_relu_the_values_are_those_of_relu_of_a_normal_value(numbers: dict) -> None:
    for row in numbers["relu_of_normal"]:
        assert row["measured"] == pytest.approx(row["computed"], abs=0.02)
    u = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    relu, density = u.clamp(min=0), torch.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) * (u[1] - u[0])
    mean, square = (density * relu).sum().item(), (density * relu**2).sum().item()
    computed = {row["quantity"]: row["computed"] for row in numbers["relu_of_normal"]}
    assert computed["mean"] == pytest.approx(mean, abs=1e-6)
    assert computed["mean of the squares"] == pytest.approx(square, abs=1e-6)
    assert computed["standard deviation"] == pytest.approx(math.sqrt(square - mean**2), abs=1e-6)
    assert computed["cosine of two examples"] == pytest.approx(mean**2 / square, abs=1e-6)
    assert numbers["floor_without_bias"] == pytest.approx(-mean / math.sqrt(square - mean**2), abs=1e-5)


def test_what_the_next_layer_sees_in_each_place(numbers: dict) -> None:
    values, units = by_block(numbers["values"]), by_block(numbers["units"])
    for block in (NONE, BEFORE):
        assert values[block]["below 0"] == 0
        assert values[block]["exactly 0"] > 0.3
    assert values[AFTER]["exactly 0"] == 0
    assert values[AFTER]["below 0"] > 0.5
    assert abs(values[AFTER]["cosine"]) < 0.02
    assert max(abs(units[AFTER][key]) for key in ("mean, least", "mean, most")) < 1e-12
    assert 0.9 < units[AFTER]["std, least"] <= units[AFTER]["std, most"] < 1
    # Without batch norm the units differ, and before relu it makes them alike.
    assert units[NONE]["mean, most"] / units[NONE]["mean, least"] > 20
    assert units[BEFORE]["mean, most"] / units[BEFORE]["mean, least"] < 1.2
    assert numbers["lowest_floor"] < -0.6833 < numbers["highest_floor"] < 0


def test_a_dead_unit_lives_only_where_its_bias_cancels(numbers: dict) -> None:
    rows = by_block(numbers["dead_unit"])
    assert rows[BEFORE]["active"] == pytest.approx(0.5, abs=0.1)
    assert rows[BEFORE]["gradient by z"] > 1
    for block in (NONE, AFTER, f"{BEFORE}, beta -5"):
        assert set(rows[block].values()) - {block} == {0.0}


def test_shortcuts_around_blocks_that_end_with_relu_only_add() -> None:
    drawn = draw(5)
    for earlier, later in zip(stream(BEFORE, drawn), stream(BEFORE, drawn)[1:], strict=False):
        assert (later >= earlier).all()
    for block in (AFTER, FIRST):
        sums = stream(block, drawn)
        assert len(sums) == BLOCKS + 1
        assert (sums[1] < sums[0]).any()
        assert abs(sums[-1].mean()) < 1
    assert stream(BEFORE, drawn)[-1].mean().item() == pytest.approx(BLOCKS / math.sqrt(2 * math.pi), rel=0.1)


@pytest.mark.parametrize("block", [NONE, BEFORE, AFTER])
def test_outputs_and_gradients_are_those_of_torch(block: str) -> None:
    drawn = draw(2)
    z = (drawn.x @ drawn.weights[0] + drawn.bias).requires_grad_()
    norm, beta = nn.BatchNorm1d(WIDTH, dtype=torch.float64), 0.0
    expected: Tensor = {NONE: torch.relu, BEFORE: lambda z: torch.relu(norm(z)), AFTER: lambda z: norm(z.relu())}[
        block
    ](z)
    (expected * drawn.arriving).sum().backward()
    torch.testing.assert_close(after(block, z.detach()), expected.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient_by_z(block, z.detach(), drawn.arriving, beta), z.grad, rtol=1e-8, atol=1e-10)


def test_torch_agrees(numbers: dict) -> None:
    assert numbers["difference_to_torch"] < 1e-12


def test_the_mean_cosine_leaves_out_each_example_with_itself() -> None:
    h = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = [nn.functional.cosine_similarity(h[i], h[j], dim=0) for i in range(6) for j in range(6) if i != j]
    assert between_examples(h) == pytest.approx(torch.stack(pairs).mean().item())
    assert between_examples(torch.ones(5, 3)) == pytest.approx(1)


def test_published_numbers_are_said_as_they_were_printed() -> None:
    one = lesson(request_of("placement", LessonOptions()))
    text = " ".join(to_text(one).split())
    assert "CaffeNet 0.471 0.474 0.499" in text
    assert "GoogLeNet 0.619 0.603 0.596" in text
    assert "After relu is 0.025 better on CaffeNet, and 0.007 worse on GoogLeNet" in text
