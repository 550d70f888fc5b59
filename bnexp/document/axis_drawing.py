"""Prepares an axis of a plot: its limits, the values that are marked on it, and how these are written."""

import math
import textwrap
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from bnexp.document.plots import Axis
from bnexp.errors import visible

MARGIN = 0.05
"""Of an axis, free at each end."""
_LETTER = 1 / 0.6
"""Height of a letter against its width."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def limits(axis: Axis, values: Iterable[float]) -> tuple[float, float]:
    """Return the ends of an axis: those it has, else the least and the greatest finite value; never one value alone."""
    if axis.ends is not None:
        return axis.ends
    log = axis.log
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    low, high = min(finite, default=1.0 if log else 0.0), max(finite, default=1.0)
    if log:
        return (low, high) if high > low else (low / 2, high * 2)
    apart = abs(low) * 0.05 or 0.5
    return (low, high) if high - low > 1e-9 * max(abs(low), abs(high)) else (low - apart, high + apart)


def between(low: float, high: float, share: float, log: bool) -> float:
    """Return the value at a share of the way from `low` to `high` as an axis shows it; shares may be beyond 0 .. 1."""
    if log:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)


def ticks(low: float, high: float, log: bool, most: int, *, whole: bool = False) -> list[float]:
    """Return about `most` round values between two, only integers where `whole`."""
    if log and high / low >= 10:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        steps = (1,) if last - first >= 2 else (1, 2, 5) if last > first else (1, 2, 3, 5)
        apart = max(math.ceil((last - first + 1) / most), 1)
        marked = [step * 10.0**decade for decade in range(first - 1, last + 1, apart) for step in steps]
    else:
        marked = list(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high))
    slack = 1e-9 * (high - low)
    return [value for value in marked if low - slack <= value <= high + slack]


def number(value: float) -> str:
    """Write a number beside an axis: `0.01`, `2,000`, `10⁻⁵`."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    if -3 <= exponent < 5:
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    digits = f"{value / 10.0**exponent:.3g}"
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return power if digits == "1" else f"{digits}·{power}"


def tick_text(axis: Axis, value: float) -> str:
    """Write a marked value of an axis."""
    return number(round(100 * value, 9) if axis.percent else value)


def prepare_x(axes: Axes, axis: Axis, values: Iterable[float], letters: int) -> None:
    """Set scale, limits and marks of the x axis, where so many letters fit beside the whole of it, on one line."""
    values = list(values)
    low, high = limits(axis, values)
    axes.set_xscale("log" if axis.log else "linear")
    if axis.labels:
        low, high = -0.5, len(axis.labels) - 0.5
        room = max(letters // len(axis.labels) - 1, 4)
        texts = [wrapped(label, max(room, 12) if room >= 7 else 24) for label in axis.labels]
        axes.xaxis.set_major_locator(FixedLocator(range(len(texts))))
        axes.set_xticklabels(texts, rotation=0 if room >= 7 else 35, ha="center" if room >= 7 else "right")
        axes.set_xlim(low, high)
    else:
        axes.set_xlim(between(low, high, -MARGIN, axis.log), between(low, high, 1 + MARGIN, axis.log))
        whole = not axis.percent and all(float(value).is_integer() for value in values)
        marked = _thinned(axis, letters, (low, high)) or ticks(low, high, axis.log, max(letters // 6, 2), whole=whole)
        axes.xaxis.set_major_locator(FixedLocator(marked))
        axes.set_xticklabels([tick_text(axis, value) for value in marked])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(wrapped(axis.name, letters))


def _thinned(axis: Axis, letters: int, ends: tuple[float, float]) -> list[float]:
    """Return those of the given ticks whose texts have room beside each other."""
    low, high = (math.log(end) if axis.log else end for end in ends)
    kept, right = list[float](), -math.inf
    for tick in sorted(axis.ticks):
        half = (len(tick_text(axis, tick)) + 1) / 2
        place = ((math.log(tick) if axis.log else tick) - low) / (high - low) * letters
        if place - half >= right:
            kept.append(tick)
            right = place + half
    return kept


def prepare_y(axes: Axes, axis: Axis, values: Iterable[float], letters: int, strip: float) -> None:
    """Set scale, limits and marks of the y axis; `strip` is the share of its height that stays free below."""
    low, high = limits(axis, values)
    if axis.percent:
        low, high = max(low, 0.0), min(high, 1.0)
    axes.set_yscale("log" if axis.log else "linear")
    bottom = -MARGIN - (strip * (1 + 2 * MARGIN) / (1 - strip) if strip else 0)
    axes.set_ylim(between(low, high, bottom, axis.log), between(low, high, 1 + MARGIN, axis.log))
    above_strip = strip / 2 + 1.3 * _LETTER / letters if strip else 0.0  # what stands beside the strip needs room
    lowest, highest = between(*axes.get_ylim(), above_strip, axis.log), axes.get_ylim()[1]
    marked = ticks(lowest, highest, axis.log, max(letters // 5, 2))
    axes.yaxis.set_major_locator(FixedLocator(marked))
    axes.set_yticklabels([tick_text(axis, value) for value in marked])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(wrapped(axis.name, letters))


def wrapped(text: str, letters: int) -> str:
    """Return text in lines of at most so many letters."""
    return "\n".join(textwrap.wrap(visible(text), max(letters, 4), break_on_hyphens=False)) or "-"
