"""How numbers are written for people: alike within a column, and never with a minus before nothing."""

import math
from collections.abc import Sequence

Cell = float | int | str | None

_LARGE, _SMALL = 1e7, 1e-3


def column_text(cells: Sequence[Cell], digits: int) -> list[str]:
    """Return the cells of a column as text, its numbers all in one form.

    Whole numbers (int) stay whole; others get `digits` decimals, or an exponent where the largest of them is so small
    or so large that decimals would say nothing.
    """
    floats = [abs(cell) for cell in cells if isinstance(cell, float) and math.isfinite(cell)]
    largest = max(floats, default=0.0)
    form = f".{digits}f" if _SMALL <= largest < _LARGE or largest == 0 else f".{max(digits - 1, 0)}e"
    return [_text(cell, form) for cell in cells]


def _text(cell: Cell, form: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        text = f"{cell:{form}}"
        return text.removeprefix("-") if not text.strip("-0.e+") else text
    return f"{cell:,}" if isinstance(cell, int) else cell


def decimal(value: float, digits: int = 4) -> str:
    """Return a number for a sentence, as a column of it alone would show it."""
    return column_text([float(value)], digits)[0]
