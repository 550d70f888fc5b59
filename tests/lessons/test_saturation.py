"""`saturation`: the shares and slopes of tanh against their integrals, and the gradients against torch's modules."""

import math

import pytest
import torch

from bnexp.lessons.request import LessonOptions, request_of
from bnexp.lessons.saturation import (
    DEPTH,
    WIDTH,
    Scheme,
    dead_share,
    draw,
    held_by,
    lesson,
    passed,
    schemes_of,
)
from bnexp.lessons.tensors import batch_norm

NORMAL = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
WEIGHT = torch.exp(-(NORMAL**2) / 2) / math.sqrt(2 * math.pi) * (NORMAL[1] - NORMAL[0])


def taught(seed: int) -> dict:
    return lesson(request_of("saturation", LessonOptions(seed=seed))).numbers


def expected(std: float) -> tuple[float, float, float]:
    """Integrate over z ~ N(0, std^2): standard deviation of tanh(z), share beyond 0.99 and mean of 1 - tanh(z)^2."""
    h = torch.tanh(std * NORMAL)
    share = math.erfc(math.atanh(0.99) / std / math.sqrt(2))
    return (WEIGHT * h**2).sum().sqrt().item(), share, (WEIGHT * (1 - h**2)).sum().item()


@pytest.fixture(params=[0, 1, 7], scope="module")
def numbers(request: pytest.FixtureRequest) -> dict:
    return taught(request.param)


def test_the_sum_has_the_standard_deviation_of_the_formula(numbers: dict) -> None:
    for row in numbers["scales"]:
        assert row["std of x W"] == pytest.approx(row["std(w) sqrt(fan_in)"], rel=0.05)
    stds = {row["weights"]: row["std of w"] for row in numbers["scales"]}
    default = torch.nn.Linear(WIDTH, 5000).weight
    assert stds["PyTorch's"] == pytest.approx(default.std().item(), rel=0.01)
    assert stds["Kaiming's"] == pytest.approx(torch.nn.init.calculate_gain("tanh") / math.sqrt(WIDTH))


def test_what_passes_one_layer_is_what_the_integrals_say(numbers: dict) -> None:
    stds = {row["weights"]: row["std of x W"] for row in numbers["scales"]} | {"std 1, then bn": 1.0}
    for row in numbers["passing"]:
        std_of_h, saturated, slope = expected(stds[row["weights"]])
        assert row["std of h"] == pytest.approx(std_of_h, rel=0.02)
        assert row["saturated"] == pytest.approx(saturated, abs=0.01)
        assert row["mean slope"] == pytest.approx(slope, abs=0.01)


def test_no_unit_is_dead_after_batch_normalization_and_a_bias_kills(numbers: dict) -> None:
    dead = {row["weights"]: [share for name, share in row.items() if name != "weights"] for row in numbers["dead"]}
    assert all(few >= all_of_them for few, all_of_them in dead.values())
    assert dead["std 1"] == dead["std 1, bias of std 50, then bn"] == [0, 0]
    assert dead["std 10"][0] > 0.2 > 0.05 > dead["std 10"][1]
    assert min(dead["std 1, bias of std 50"]) > 0.2


def test_signal_and_gradient_over_depth_go_as_said(numbers: dict) -> None:
    rows = {row["weights"]: row for row in numbers["depth"]}
    assert rows["std 0.01"]["std"][-1] == pytest.approx(0.1**DEPTH, rel=0.5)
    assert rows["std 0.01"]["gradient_per_layer"] == pytest.approx(0.1, rel=0.05)
    assert rows["PyTorch's"]["std"][-1] / rows["PyTorch's"]["std"][-2] == pytest.approx(1 / math.sqrt(3), rel=0.1)
    assert rows["std 1"]["gradient_per_layer"] > 2
    for name in ("Kaiming's", "std 1, then bn"):
        assert 0.5 < rows[name]["std"][-1] < 0.8
        assert 1 < rows[name]["gradient_per_layer"] < 1.2
    for row in rows.values():
        assert row["gradient"][0] == pytest.approx(row["gradient_per_layer"] ** (DEPTH - 1))
        assert row["gradient"][-1] == 1


def test_the_larger_gamma_is_the_more_saturates(numbers: dict) -> None:
    rows = numbers["gammas"]
    assert [row["row"] for row in rows] == ["gamma 0.5", "gamma 1", "gamma 3", "gamma 10"]
    for key, sign in ((f"saturated in h {DEPTH}", 1), ("mean slope", -1), ("gradient, per layer", 1)):
        values = [sign * row[key] for row in rows]
        assert values == sorted(values)
    assert rows[1]["gradient, per layer"] == numbers["gradient_per_layer_with_bn"]


def test_torch_built_of_the_same_weights_agrees(numbers: dict) -> None:
    assert numbers["difference_to_torch"] < 1e-12


def test_the_gradient_is_slope_times_weights() -> None:
    drawn = draw(3)
    layer = passed(schemes_of(drawn)["Kaiming's"], drawn, depth=1)
    weight = schemes_of(drawn)["Kaiming's"].weights[0]
    by_x = (drawn.arriving * (1 - layer.h[1] ** 2)) @ weight.T
    torch.testing.assert_close(layer.gradients[0], by_x, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.gradients[1], drawn.arriving, rtol=0, atol=0)


def test_after_batch_normalization_the_scale_of_the_weights_is_all_the_same() -> None:
    drawn = draw(3)
    outputs = [passed(Scheme(std, std * drawn.normal, 1.0), drawn, depth=3).h[-1] for std in (1.0, 30.0)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(batch_norm(drawn.x).y, torch.nn.BatchNorm1d(WIDTH).double()(drawn.x).detach())


def test_a_unit_is_dead_if_no_example_finds_a_slope() -> None:
    h = torch.tensor([[1.0, -1, 0.995, 0.5], [1, 1, -0.995, 1], [1, 1, 0.98, 1]])
    assert dead_share(h) == 0.5
    assert dead_share(h[:2]) == 0.75


@pytest.mark.parametrize(
    ("values", "share"), [([3.0, 0, 0, 0], 0.25), ([1, 1, 1, 1], 1), ([1, -1, 1, -1, 1, 1, 1, 1, 1, 1], 0.9)]
)
def test_few_values_hold_most_of_the_squares(values: list[float], share: float) -> None:
    assert held_by(torch.tensor(values, dtype=torch.float64), 0.89) == pytest.approx(share)
