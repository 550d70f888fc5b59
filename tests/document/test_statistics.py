import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.document.table import Sample, sample_of


def test_mean_and_sample_deviation_by_hand() -> None:
    # mean 4; squared deviations 4 + 0 + 4 = 8; 8 / (3 - 1) = 4; root 2
    assert sample_of([2.0, 4.0, 6.0]) == Sample(4.0, 2.0, 3)


def test_one_value_has_no_spread_and_none_has_nothing() -> None:
    assert sample_of([0.97]) == Sample(0.97, None, 1)
    assert sample_of([]) is None


@pytest.mark.parametrize("power", [-1070, -600, 0, 600, 1021])
def test_the_unit_does_not_matter(power: int) -> None:
    """Neither sums nor squares overflow or vanish; a power of two as unit changes no digit."""
    values = [1.0, 3.0, 5.0, 7.0]
    plain, sample = sample_of(values), sample_of([math.ldexp(value, power) for value in values])
    assert plain is not None
    assert plain.std is not None
    assert sample == Sample(math.ldexp(plain.mean, power), math.ldexp(plain.std, power), 4)


def test_a_spread_beyond_the_largest_float_is_infinite() -> None:
    assert sample_of([1.7e308, -1.7e308]) == Sample(0.0, math.inf, 2)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_agrees_with_the_standard_library(values: list[float]) -> None:
    sample = sample_of(values)
    assert sample is not None
    assert sample.mean == pytest.approx(statistics.mean(values), abs=1e-15)
    assert sample.std == pytest.approx(statistics.stdev(values), abs=1e-12)
