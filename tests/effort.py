"""How hard the tests look: `make test` and `make test-all` for what is usual, `make test-thorough` for what is rare."""

import os
from collections.abc import Iterable
from typing import Any

import pytest


def at_length() -> bool:
    """Tell whether `--thorough` asked to look for what is rare."""
    return "BNEXP_TESTS_AT_LENGTH" in os.environ


def examples(count: int) -> int:
    """Return how many examples hypothesis draws: half of them at length, else a fifth; at least ten."""
    return max(count // 2 if at_length() else count // 5, 10)


def long_but(names: Iterable[str], *quick: str) -> list[Any]:
    """Return a parameter per name; all but the quick ones are long."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in names]
