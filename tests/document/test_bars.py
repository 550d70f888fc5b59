"""Bars of text: as long as the logarithm says."""

import math

from hypothesis import given
from hypothesis import strategies as st

from bnexp.document.terminal_figure import log_bars


def test_the_least_has_one_cell_and_the_largest_all() -> None:
    assert log_bars([1.0, 10.0, 100.0], 9) == ["█", "█" * 5, "█" * 9]
    assert log_bars([100.0, 100.0], 4) == ["████", "████"]


def test_values_that_are_close_have_bars_that_are_close() -> None:
    assert [len(bar) for bar in log_bars([9.0, 10.0], 20)] == [20, 20]


def test_what_has_no_logarithm_has_no_bar() -> None:
    assert log_bars([0.0, math.nan, math.inf, -1.0, 1.0], 3) == ["", "", "", "", "███"]
    assert log_bars([0.0], 3) == [""]
    assert log_bars([1.0, 2.0], 0) == ["", ""]
    assert log_bars([], 3) == []


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), min_size=1), st.integers(1, 60))
def test_a_larger_value_never_has_a_shorter_bar(values: list[float], width: int) -> None:
    bars = log_bars(sorted(values), width)
    lengths = [len(bar) for bar in bars]
    assert lengths == sorted(lengths)
    assert lengths[-1] == width
