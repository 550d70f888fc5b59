"""Norms are those of float64, and samples are spread over the whole, the same every time, or everything there is."""

import pytest
import torch

from bnexp.measure.samples import (
    MOST_UNITS,
    MOST_VALUES,
    alike,
    as_units,
    fractions,
    grouped,
    length,
    lengths,
    spread_places,
    spread_units,
    spread_values,
    total_lengths,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("total", [1025, 4096, 3 * 32 * 32, 16 * 32 * 32, 10_007])
def test_places_are_different_and_no_two_neighbours_are_far_apart(total: int) -> None:
    places = spread_places(total, 1000, CPU).sort().values
    gaps = places.diff()
    assert places.min() >= 0
    assert places.max() < total
    assert gaps.min() >= 1
    assert gaps.max() <= 3 * total / 1000 + 1


def test_every_column_of_a_feature_map_is_met_about_as_often() -> None:
    columns = (spread_places(16 * 32 * 32, MOST_UNITS, CPU) % 32).bincount(minlength=32)
    assert columns.min() >= 0.7 * MOST_UNITS / 32
    assert columns.max() <= 1.3 * MOST_UNITS / 32


@pytest.mark.parametrize("channels", [3, 16, 64])
def test_a_few_units_lie_in_many_columns(channels: int) -> None:
    units = spread_units(as_units(torch.arange(channels * 32 * 32).view(1, channels, 32, 32)), 64)
    assert units.shape == (1, 64)
    assert len(set((units % 32).flatten().tolist())) >= 16


def test_small_outputs_are_taken_whole_and_large_ones_in_part() -> None:
    small, large = torch.randn(4, 3, 5, 5), torch.randn(8, 4, 32, 32)
    assert torch.equal(spread_units(as_units(small)), small.flatten(1))
    assert torch.equal(spread_values(as_units(small)), small.flatten())
    assert spread_units(as_units(large)).shape == (8, MOST_UNITS)
    assert spread_values(as_units(large)).shape == (MOST_VALUES,)


def test_units_are_those_of_the_output_whatever_the_memory_format() -> None:
    x = torch.randn(4, 3, 5, 5)
    channels_last = x.to(memory_format=torch.channels_last)
    last = as_units(channels_last)
    assert torch.equal(last.sort(dim=1).values, x.flatten(1).sort(dim=1).values)
    assert last.data_ptr() == channels_last.data_ptr()
    assert as_units(x).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("size", [1e-40, 1e-25, 1e-3, 1.0, 1e18, 1e30])
def test_norms_are_those_of_float64_at_any_size(size: float) -> None:
    values = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * size
    expected = values.double().norm().item()
    tolerance = 1e-5 if size > 1e-38 else 1e-2  # what is left of the digits of the values themselves
    assert length(values).item() == pytest.approx(expected, rel=tolerance)
    parts = (tuple(range(50)), (3,), ())
    total, of_one, of_none = total_lengths(lengths(values.unbind()), parts).tolist()
    assert total == pytest.approx(expected, rel=tolerance)
    assert of_one == pytest.approx(values[3].double().norm().item(), rel=tolerance)
    assert of_none == 0


def test_nothing_and_what_is_not_finite_keep_their_names() -> None:
    assert length(torch.zeros(3)) == 0
    assert length(torch.tensor([1.0, float("inf")])) == float("inf")
    assert length(torch.tensor([1.0, float("nan")])).isnan()


def test_groups_hold_what_is_of_one_kind_in_the_order_given() -> None:
    assert grouped({"a": 1, "b": 2, "c": 3, "d": 5}, lambda number: number % 2) == [{"a": 1, "c": 3, "d": 5}, {"b": 2}]


@pytest.mark.parametrize(("most", "expected"), [(0, ["a", "c", "d", "b"]), (12, ["ac", "d", "b"]), (99, ["acd", "b"])])
def test_tensors_of_one_shape_and_type_are_taken_together_up_to_so_many_values(most: int, expected: list[str]) -> None:
    tensors = {name: torch.zeros(2, 3) for name in "abcd"}
    tensors["b"] = tensors["b"].bfloat16()
    assert ["".join(group) for group in alike(tensors, most)] == expected


def test_fractions_are_those_of_each_row() -> None:
    assert fractions(torch.tensor([[True, False, False, False], [True, True, True, True]])).tolist() == [0.25, 1.0]
