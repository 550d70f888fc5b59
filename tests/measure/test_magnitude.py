"""Norms against float64, where float32 has no squares."""

import pytest
import torch

from bnexp.measure.samples import length, scale_of, total_length


@pytest.mark.parametrize("size", [1e-40, 1e-25, 1e-3, 1.0, 1e18, 1e30])
def test_norms_are_those_of_float64_at_any_size(size: float) -> None:
    values = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * size
    expected = values.double().norm().item()
    tolerance = 1e-5 if size > 1e-38 else 1e-2  # what is left of the digits of the values themselves
    assert length(values).item() == pytest.approx(expected, rel=tolerance)
    assert total_length(list(values)).item() == pytest.approx(expected, rel=tolerance)


def test_nothing_and_what_is_not_finite_keep_their_names() -> None:
    assert length(torch.zeros(3)) == 0
    assert length(torch.tensor([1.0, float("inf")])) == float("inf")
    assert length(torch.tensor([1.0, float("nan")])).isnan()
    assert scale_of(torch.zeros(2)) == scale_of(torch.tensor([float("inf")])) == 1
