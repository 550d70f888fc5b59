from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.document.writing import (
    at_most,
    clock_duration,
    epochs,
    first_few,
    loss,
    mebibytes,
    milliseconds,
    percent,
    seconds,
)


def test_percent_has_two_decimals() -> None:
    assert [percent(value) for value in (0.97071, 1.0, 0.0)] == ["97.07", "100.00", "0.00"]


def test_a_small_loss_is_not_shown_as_nothing() -> None:
    assert [loss(value) for value in (2.30259, 0.0, 0.00001234, 12345.6)] == [
        "2.3026",
        "0.0000",
        "1.23e-05",
        "1.23e+04",
    ]


def test_a_spread_has_the_decimals_of_its_mean() -> None:
    assert loss(0.000994, 0.049) == "0.0010"
    assert milliseconds(0.514, 159.7) == "0.5"


def test_slow_steps_need_no_decimals() -> None:
    assert [milliseconds(value) for value in (1.337, 159.72, 1500.4)] == ["1.34", "159.7", "1500"]


def test_seconds_and_memory_need_few_digits() -> None:
    assert [seconds(value) for value in (1.337, 59.72, 1500.4)] == ["1.34", "59.7", "1,500"]
    assert [mebibytes(value) for value in (0.6, 301.26, 12345.6)] == ["1", "301", "12,346"]


def test_whole_epochs_are_shown_whole() -> None:
    assert [epochs(value) for value in (10.0, 2.5, 6.6667, 0.0)] == ["10", "2.5", "6.67", "0"]


@pytest.mark.parametrize("shown", [percent, loss, milliseconds, epochs, seconds, mebibytes])
@given(st.floats(-1e15, 1e15))
def test_every_number_stays_short_enough_to_read(shown: Callable[[float], str], value: float) -> None:
    assert shown is percent or len(shown(value)) <= 12
    assert float(shown(value).replace(",", "")) == pytest.approx(
        100 * value if shown is percent else value, abs=0.5, rel=0.01
    )


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_a_clock_counts_minutes_and_seconds(duration: float, shown: str) -> None:
    assert clock_duration(duration) == shown


def test_what_is_too_much_is_counted() -> None:
    assert [first_few(list("abcde"[:n]), 3) for n in (0, 3, 5)] == ["", "a, b, c", "a, b, c and 2 more"]
    assert at_most(["one", "two"], 2, "notes") == ["one", "two"]
    assert at_most(["one", "two", "three"], 1, "notes") == ["one", "and 2 more notes"]
    assert at_most(["one"] * 2000, 1) == ["one", "and 1,999 more"]
