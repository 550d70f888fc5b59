"""How hard the tests look, and how hard what they test works.

`make test` and `make test-all` for what is usual, `make test-thorough` for what is rare.
"""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def at_length() -> bool:
    """Tell whether `--thorough` asked to look for what is rare."""
    return "BNEXP_TESTS_AT_LENGTH" in os.environ


def examples(count: int) -> int:
    """Return how many examples hypothesis draws: half of them at length, else a fifth; at least ten."""
    return max(count // 2 if at_length() else count // 5, 10)


def calls_of(work: Callable[[], Any]) -> int:
    """Return how many functions are called in the course of some work: what it costs, on a busy machine as on any."""
    count = 0

    def heard(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    former = sys.getprofile()
    sys.setprofile(heard)
    try:
        work()
    finally:
        sys.setprofile(former)
    return count


def long_but(names: Iterable[str], *quick: str) -> list[Any]:
    """Return a parameter per name; all but the quick ones are long."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in names]
