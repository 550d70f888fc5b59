"""Write numbers, durations and lists for people.

Numbers of a column have one form, and a zero has no minus. A spread is written with the decimals of the
mean `beside` it.
"""

import math
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from bnexp.config.wording import brief

GAP = 2
"""Spaces between two columns, and before the rows below a title."""
Value = float | int | str | None
"""The value of a cell in a table of numbers: a number, a word, or None for nothing."""

_LARGE, _SMALL = 1e7, 1e-3
_MOST_LETTERS = 1000


def column_text(cells: Sequence[Value], digits: int, deciding: Sequence[Value] | None = None) -> list[str]:
    """Return the cells of a column as text, its numbers all in one form.

    Whole numbers (int) stay whole; others get `digits` decimals, or an exponent where the largest of them is so small
    or so large that decimals would say nothing.
    The cells `deciding`, by default all, are those whose size counts.
    """
    floats = [cell for cell in (cells if deciding is None else deciding) if isinstance(cell, float)]
    largest = max((abs(cell) for cell in floats if math.isfinite(cell)), default=0.0)
    form = f".{digits}f" if _SMALL <= largest < _LARGE or largest == 0 else f".{max(digits - 1, 0)}e"
    return [_text(cell, form) for cell in cells]


def _text(cell: Value, form: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        text = f"{cell:{form}}"
        return text.removeprefix("-") if not text.strip("-0.e+") else text
    return f"{cell:,}" if isinstance(cell, int) else cell


def decimal(value: float, digits: int = 4) -> str:
    """Return a number for a sentence, as a column of it alone would show it."""
    return column_text([float(value)], digits)[0]


def percent(fraction: float, beside: float | None = None) -> str:
    """Write a fraction in percent, two decimals, without the sign."""
    return f"{100 * fraction:.2f}"


def loss(value: float, beside: float | None = None) -> str:
    """Write a loss with four decimals, or three digits where these would hide it."""
    size = abs(value if beside is None else beside)
    return f"{value:.4f}" if size == 0 or 0.001 <= size < 1000 else f"{value:.3g}"


def milliseconds(value: float, beside: float | None = None) -> str:
    """Write a time in ms, with two decimals below 100 ms and none from a second on."""
    size = abs(value if beside is None else beside)
    decimals = 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:.{decimals}f}" if size < 1e7 else f"{value:.3g}"


def mebibytes(value: float, beside: float | None = None) -> str:
    """Write a memory in MiB, whole."""
    return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"


def seconds(value: float, beside: float | None = None) -> str:
    """Write seconds, with two decimals below 10 s and none from 100 s on."""
    size = abs(value if beside is None else beside)
    decimals = 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:,.{decimals}f}" if size < 1e7 else f"{value:.3g}"


def epochs(value: float, beside: float | None = None) -> str:
    """Write epochs with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.3g}"


def clock_duration(seconds: float) -> str:
    """Write a duration as a clock counts it, `m:ss` or `h:mm:ss`: its width stays while it counts down."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def first_few(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, separated by commas, and how many more there are: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def at_most(sentences: Sequence[str], most: int, rest: str = "") -> list[str]:
    """Return the first `most` sentences, and one more that counts those left out: `and 3 more <rest>`."""
    more = len(sentences) - most
    return [*sentences[:most], *([f"and {more:,} more {rest}".rstrip()] if more > 0 else [])]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 step` or `1,200 steps`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def span(counts: Iterable[int]) -> str:
    """Return the least and the greatest of some counts, one at least: `2 to 5`, or `5` where all are that."""
    known = sorted(set(counts))
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def readable(text: str) -> str:
    """Return visible text, cut at a thousand letters: a damaged record may hold a word of a million."""
    return brief(text, _MOST_LETTERS)


def aligned(text: str, width: int, right: bool) -> str:
    """Return text filled with spaces to a width, on the left if it goes to the right."""
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
