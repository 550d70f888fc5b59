"""Draws curves, clouds and histograms as SVG, for a page; `drawing` draws the same with letters."""

import io
import math
import re
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.document.lesson import Histogram, Lines, Scatter

COLORS = ("#0072b2", "#cc79a7", "#e69f00", "#009e73", "#56b4e9", "#d55e00")
"""Okabe & Ito's palette, told apart by the color-blind, too."""
_INCH = 2.6
"""Side of a panel."""
_LEFT, _BELOW, _ABOVE, _MARGIN = 0.6, 0.45, 0.3, 0.1
"""Inches for the labels of a panel, and for its title."""
_PROLOGUE = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>\s*", re.DOTALL)


def to_svg(picture: Histogram | Scatter | Lines) -> str:
    """Return a picture as an `<svg>` element; the same picture gives the same text."""
    figure = _figure(picture)
    text = io.StringIO()
    # Identifiers come from the salt, and are unique in a page as keys are in a lesson.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": picture.key, "font.size": 9}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _PROLOGUE.sub("", text.getvalue()).strip()


def _figure(picture: Histogram | Scatter | Lines) -> Figure:
    if isinstance(picture, Histogram):
        return _panels(list(picture.series), lambda axes, name: _histogram(axes, picture, name), shared=True)
    if isinstance(picture, Scatter):
        return _panels(list(picture.clouds), lambda axes, name: _scatter(axes, picture, name))
    return _lines(picture)


def _panels(names: list[str], draw: Callable[[Axes, str], None], *, shared: bool = False) -> Figure:
    """Return a figure with a panel per name, three in a row where there are more than four."""
    columns = len(names) if len(names) <= 4 else 3
    rows = math.ceil(len(names) / columns)
    figure = _sized(_INCH * columns, _INCH * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).flat
    for axes, name in zip(panels, [*names, *[None] * (rows * columns - len(names))], strict=True):
        if name is None:
            axes.set_axis_off()
            continue
        axes.set_title(name, fontsize=9)
        draw(axes, name)
    return figure


def _sized(width: float, height: float) -> Figure:
    """Return a figure of so many inches with room for the labels; to measure them takes longer than all the drawing."""
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1 - _MARGIN / width,
        bottom=_BELOW / height,
        top=1 - _ABOVE / height,
        wspace=_LEFT / (_INCH - _LEFT),
        hspace=(_BELOW + _ABOVE) / (_INCH - _BELOW - _ABOVE),
    )
    return figure


def _histogram(axes: Axes, picture: Histogram, name: str) -> None:
    """Draw every bin as wide as the others, as the terminal does: a narrow one would look like a small share."""
    color = COLORS[list(picture.series).index(name) % len(COLORS)]
    bins = len(picture.edges) - 1
    axes.stairs([100 * share for share in picture.series[name]], list(range(bins + 1)), fill=True, color=color)
    marked = range(0, bins + 1, max(bins // 5, 1))
    axes.set_xticks(list(marked), [f"{picture.edges[at]:g}" for at in marked], fontsize=7)
    axes.set_ylabel("%")
    _plain(axes)


def _scatter(axes: Axes, picture: Scatter, name: str) -> None:
    points = [point for point in picture.clouds[name] if all(map(math.isfinite, point))]
    reach = max((abs(value) for point in points for value in point), default=0.0) * 1.05 or 1.0
    axes.axhline(0, color="#999999", linewidth=0.6)
    axes.axvline(0, color="#999999", linewidth=0.6)
    axes.scatter([x for x, _ in points], [y for _, y in points], s=5, color=COLORS[0], alpha=0.7, linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    _plain(axes)


def _lines(picture: Lines) -> Figure:
    figure = _sized(2.4 * _INCH, 1.2 * _INCH)
    axes = figure.subplots()
    for number, (name, values) in enumerate(picture.series.items()):
        style = "--" if number % 2 else "-"  # seen where a curve covers another
        axes.plot(list(picture.x), list(values), style, label=name, color=COLORS[number % len(COLORS)])
    axes.set_xlabel(picture.x_name)
    axes.legend(frameon=False)
    _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
