"""A sentence names each of its numbers once."""

import pytest

from bnexp.document.values import text


def test_a_float_is_written_as_decimals_are_and_kept_in_full_precision() -> None:
    said = text("{ratio} times, in {share:.1%} of {units:,} units", ratio=4 / 3, share=0.5, units=1024)
    assert said.text == "1.3333 times, in 50.0% of 1,024 units"
    assert said.numbers == {"ratio": 4 / 3, "share": 0.5, "units": 1024}


def test_words_are_shown_and_are_no_numbers() -> None:
    said = text("Look at {names}.", names="x1, x2", var=[1.0, 2.0])
    assert said.text == "Look at x1, x2."
    assert said.numbers == {"var": [1.0, 2.0]}


def test_a_name_without_a_value_is_a_bug() -> None:
    with pytest.raises(KeyError):
        text("{missing}")
