"""`identity`: what undoes the normalization, exactly and by gradient, and where a sigmoid is nearly a line."""

import pytest
import torch

from bnexp.lessons.identity import LEARNING_RATE, descend, lesson, linear_share
from bnexp.lessons.request import LessonOptions, request_of


@pytest.fixture(params=range(4), scope="module")
def numbers(request: pytest.FixtureRequest) -> dict:
    return lesson(request_of("identity", LessonOptions(seed=request.param))).numbers


def test_x_comes_back(numbers: dict) -> None:
    x = torch.tensor([row["x"] for row in numbers["undone"]], dtype=torch.float64)
    assert numbers["gamma"] == pytest.approx((x.var(unbiased=False) + 1e-5).sqrt().item())
    assert numbers["beta"] == pytest.approx(x.mean().item())
    assert numbers["difference_to_x"] < 1e-14
    assert [row["y"] for row in numbers["undone"]] == pytest.approx(x.tolist())


def test_in_training_up_to_the_scatter_of_batches(numbers: dict) -> None:
    for row in numbers["other_batches"]:
        assert row["in training"] == pytest.approx((1.5 / int(row["B"])) ** 0.5, rel=0.1)
        assert row["at inference, at most"] < 1e-14


def test_shares_within_the_linear_regime(numbers: dict) -> None:
    assert numbers["within_1"] == pytest.approx(numbers["gaussian_1"], abs=0.02)
    assert numbers["within_2"] == pytest.approx(numbers["gaussian_2"], abs=0.01)
    assert numbers["gaussian_1"] == pytest.approx(0.6827, abs=1e-4)
    shares = numbers["sigmoid_outputs"]["shares"]
    assert all(sum(one) == pytest.approx(1) for one in shares.values())
    # The larger gamma, the more lies at the ends.
    ends = [shares[name][0] + shares[name][-1] for name in ("gamma 0.5", "gamma 1", "gamma 4")]
    assert ends[0] < ends[1] < 0.1 < 0.4 < ends[2]


def test_gradient_descent_reaches_the_identity_as_fast_as_the_formula_says(numbers: dict) -> None:
    rows = {int(row["step"]): row for row in numbers["descent"] if row["step"] != "identity"}
    target = numbers["descent"][-1]
    # d beta = beta - mean, since the normalized batch has mean 0.
    for step, row in rows.items():
        expected = target["beta"] * (1 - (1 - LEARNING_RATE) ** step)
        assert row["beta"] == pytest.approx(expected, abs=1e-9)
    assert rows[100]["gamma"] == pytest.approx(target["gamma"], abs=1e-3)
    losses = [row["loss"] for row in rows.values()]
    assert losses == sorted(losses, reverse=True)
    assert numbers["difference_to_torch"] < 1e-12


def test_descent_is_that_of_autograd() -> None:
    x = torch.randn(6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 3 - 1
    module = torch.nn.BatchNorm1d(1, dtype=torch.float64)
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
    for gamma, beta, loss in descend(x, 1e-5)[:20]:
        expected = (module(x) - x).square().mean() / 2
        assert (gamma, beta) == pytest.approx((module.weight.item(), module.bias.item()))
        assert loss == pytest.approx(expected.item())
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()


def test_tangents_and_slopes_are_those_of_autograd(numbers: dict) -> None:
    for row in numbers["tangents"]:
        x = torch.tensor(row["x"], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(torch.sigmoid(x), x)
        assert row["slope"] == pytest.approx(4 * slope.item())
        assert row["off"] == pytest.approx(0.5 + row["x"] / 4 - torch.sigmoid(x).item(), abs=1e-12)
        (slope,) = torch.autograd.grad(torch.tanh(x), x)
        assert row["tanh_slope"] == pytest.approx(slope.item())


def test_a_linear_map_is_all_linear_and_a_square_is_not() -> None:
    inputs = torch.randn(4000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = torch.tensor([[1.0, 2], [0, 1], [3, -1]], dtype=torch.float64)
    assert linear_share(inputs, inputs @ matrix + 7) == pytest.approx(1)
    assert linear_share(inputs, inputs**2) < 0.05


def test_a_stack_is_the_less_linear_the_larger_gamma_and_the_deeper(numbers: dict) -> None:
    shares = [[row["1 layer"], row["3 layers"], row["5 layers"]] for row in numbers["linear_share"]]
    for one in shares:
        assert one == sorted(one, reverse=True)
    for column in zip(*shares, strict=True):
        assert list(column) == sorted(column, reverse=True)
    assert shares[1][-1] > 0.8  # gamma 1: most of it
    assert shares[3][-1] < 0.6  # gamma 4: not
