"""Sums and counts over all values are those of numpy in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bnexp.measure import tally as module
from bnexp.measure.tally import counts_of, moments_of, tally
from bnexp.runs.rows import BINS, Counts


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def counted(values: Tensor) -> Counts:
    return counts_of(tally(values).tolist())


@pytest.fixture
def in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take 64 values at once."""
    monkeypatch.setattr(module, "_BLOCK", 64)


@pytest.fixture(params=["in_small_blocks", "as_on_a_gpu"])
def each_way(request: pytest.FixtureRequest) -> None:
    """Take the way of the CPU, in small blocks, and that of a GPU: no value is asked for."""
    request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    "values",
    [
        draw(7, 50) * 3 + 1,
        draw(9, 40).relu(),
        draw(4, 3, 5, 5).to(memory_format=torch.channels_last),
        draw(30, 20).bfloat16(),
        torch.arange(129.0).view(3, 43),  # every other value lies on an edge
        draw(300).square() * 1e30,
        torch.tensor([1e-45, 3e-45, 0.0, -1e-42]),
    ],
    ids=["normal", "relu", "channels_last", "bf16", "edges", "huge", "tiny"],
)
@pytest.mark.usefixtures("in_small_blocks")
def test_counts_are_those_of_numpy(values: Tensor) -> None:
    found, doubles = counted(values), values.double().numpy()
    assert list(found.bins) == np.histogram(doubles, bins=BINS)[0].tolist()
    assert (found.low, found.high, found.non_finite) == (doubles.min(), doubles.max(), 0)
    assert found.total == pytest.approx(doubles.sum(), rel=1e-12)
    assert found.total_of_squares == pytest.approx((doubles**2).sum(), rel=1e-12)


@pytest.mark.usefixtures("in_small_blocks")
def test_what_is_not_finite_is_counted_and_left_out_wherever_it_lies() -> None:
    finite = draw(200)
    strange = torch.tensor([torch.nan, torch.inf, -torch.inf]).repeat(30)
    mixed = torch.cat([finite, strange])[torch.randperm(290, generator=torch.Generator().manual_seed(1))]
    found, expected = counted(mixed.view(29, 10)), counted(finite)
    assert (found.non_finite, found.finite) == (90, 200)
    assert (found.low, found.high, found.bins) == (expected.low, expected.high, expected.bins)
    assert found.total == pytest.approx(expected.total, rel=1e-12)
    assert found.total_of_squares == pytest.approx(expected.total_of_squares, rel=1e-12)
    assert (counted(strange).non_finite, counted(strange).finite) == (90, 0)
    assert counted(torch.full((5,), 2.5)).bins == (5, *[0] * (BINS - 1))


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e7])
@pytest.mark.parametrize("size", [1e-20, 1.0])
@pytest.mark.usefixtures("each_way")
def test_moments_are_those_of_float64_wherever_the_mean_lies(offset: float, size: float) -> None:
    values = (draw(40, 500) + offset) * size
    values[0, 0] *= 100  # far from all others
    doubles = values.double().numpy()
    ((low, high, total, squares),) = moments_of([values.unsqueeze(0)]).tolist()
    n = values.numel()
    assert (low, high) == (doubles.min(), doubles.max())
    assert low + total / n == pytest.approx(doubles.mean(), rel=1e-9)
    assert squares / n - (total / n) ** 2 == pytest.approx(doubles.var(), rel=1e-6)


@pytest.mark.usefixtures("each_way")
def test_equal_values_have_no_spread_at_all() -> None:
    assert moments_of([torch.full((1, 37, 11), 0.1)]).tolist()[0][2:] == [0.0, 0.0]


@pytest.mark.usefixtures("each_way")
def test_moments_of_several_outputs_are_those_of_each() -> None:
    shapes = [(3, 5, 20), (1, 7, 3), (2, 5, 20), (4, 2, 9)]
    stacks = [draw(*shape, seed=number) * 10.0**number + number for number, shape in enumerate(shapes)]
    stacks[2] = stacks[2].bfloat16()
    stacks[3] = stacks[3].transpose(1, 2)
    found = moments_of(stacks)
    assert found.dtype == torch.float64
    for values, (low, high, total, squares) in zip(
        [one for stack in stacks for one in stack], found.tolist(), strict=True
    ):
        above = values.double() - values.double().min()
        assert (low, high) == (values.min().item(), values.max().item())
        assert total == pytest.approx(above.sum().item(), rel=1e-14)
        assert squares == pytest.approx(above.square().sum().item(), rel=1e-14)
