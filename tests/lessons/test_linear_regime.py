"""Where a sigmoid is nearly a line: against autograd, and linear maps against themselves."""

import pytest
import torch

from bnexp.lessons.linear_regime import linear_regime_of_a_sigmoid, linear_share, linearity_of_a_stack


def test_tangents_and_slopes_are_those_of_autograd() -> None:
    rows = linear_regime_of_a_sigmoid()[1].numbers["tangents"]
    assert isinstance(rows, list)
    for row in rows:
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


@pytest.mark.parametrize("seed", range(4))
def test_a_stack_is_the_less_linear_the_larger_gamma_and_the_deeper(seed: int) -> None:
    parts = linearity_of_a_stack(torch.Generator().manual_seed(seed))
    rows = parts[1].numbers["linear_share"]
    assert isinstance(rows, list)
    shares = [[row["1 layer"], row["3 layers"], row["5 layers"]] for row in rows]
    for one in shares:
        assert one == sorted(one, reverse=True)
    for column in zip(*shares, strict=True):
        assert list(column) == sorted(column, reverse=True)
    assert shares[1][-1] > 0.8  # gamma 1: most of it
    assert shares[3][-1] < 0.6  # gamma 4: not
