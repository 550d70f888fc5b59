"""Draws figures as SVG, for a page: those of lessons here, plots of runs with `drawing`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.document.drawing import ON_PAGES, SIZES, to_page
from bnexp.document.figure import Histogram, Lines, Scatter, SeriesStyle, styles_of
from bnexp.document.interactive import page_svg, tell, tell_axes
from bnexp.document.plots import Axis, Plot, SizeName
from bnexp.processes import on_all_cores

Drawable = Histogram | Scatter | Lines | Plot
_INCH = 2.3
"""Side of a panel: three of them fit beside each other on paper."""
_LEFT, _BELOW, _ABOVE, _MARGIN, _LEGEND = 0.6, 0.45, 0.3, 0.1, 0.19
"""Inches for the labels of a panel, for its title, and for a line of its legend."""
_FONT, _SMALL = 9, 8
"""Points of letters, and of those beside an axis."""
_MARKERS = 8
"""Markers on a line."""


def to_svgs(figures: Sequence[Drawable], styles: Mapping[str, Mapping[str, SeriesStyle]]) -> Iterator[str]:
    """Begin to draw figures on all cores, and return `to_svg` of each, in order; `styles` are theirs by their keys."""
    pieces = [(one, size) for one in figures for size in _sizes(one)]
    drawn = on_all_cores(lambda piece: _piece(*piece, styles[piece[0].key]), pieces)
    return ("\n".join(islice(drawn, len(_sizes(one)))) for one in figures)


def to_svg(figure: Drawable, styles: Mapping[str, SeriesStyle] | None = None) -> str:
    """Return a figure as `<svg>` elements, one a panel, what is as wide as a page one in each size of a page.

    The same figure gives the same text.
    Styles go by its names.
    """
    return "\n".join(_piece(figure, size, styles) for size in _sizes(figure))


def _sizes(figure: Drawable) -> Sequence[SizeName | None]:
    return ON_PAGES if isinstance(figure, Plot | Lines) else (None,)


def _piece(figure: Drawable, size: SizeName | None, styles: Mapping[str, SeriesStyle] | None) -> str:
    """Return a figure as SVG, a plot or lines in one of their sizes."""
    if isinstance(figure, Plot):
        return to_page(figure, size or "page", styles)
    styles = styles or styles_of(figure.series)
    with mpl.rc_context({"font.size": _FONT, "hatch.linewidth": 0.6, "text.parse_math": False}):
        if isinstance(figure, Lines):
            name = size or "page"
            drawn = page_svg(_lines(figure, styles, SIZES[name].inches), f"{figure.key}.{name}", figure.title)
            return f'<div class="at-{name}">{drawn}</div>' if size else drawn
        panels = (_panel(figure, name, styles[name]) for name in figure.series)
        return "\n".join(
            page_svg(panel, f"{figure.key}.{number}", f"{figure.title}: {name}")
            for number, (name, panel) in enumerate(zip(figure.series, panels, strict=True))
        )


def _panel(figure: Histogram | Scatter, name: str, style: SeriesStyle) -> Figure:
    drawing = _sized(_INCH, _INCH)
    axes = drawing.subplots()
    axes.set_title(name, fontsize=_FONT)
    if isinstance(figure, Histogram):
        _histogram(axes, figure, name, style)
    else:
        _scatter(axes, figure, name, style)
    axes.spines[["top", "right"]].set_visible(False)
    return drawing


def _sized(width: float, height: float, above: float = _ABOVE) -> Figure:
    """Return a figure of so many inches with room for the labels; to measure them takes longer than all the drawing."""
    drawing = Figure(figsize=(width, height))
    drawing.subplots_adjust(
        left=_LEFT / width, right=1 - _MARGIN / width, bottom=_BELOW / height, top=1 - above / height
    )
    return drawing


def _histogram(axes: Axes, figure: Histogram, name: str, style: SeriesStyle) -> None:
    """Draw every bin as wide as the others, as the terminal does: a narrow one would look like a small share."""
    bins = len(figure.edges) - 1
    shares = [100 * share for share in figure.series[name]]
    # Light lines over the surface tell the series apart in grey.
    places = list(range(bins + 1))
    bars = axes.stairs(shares, places, fill=True, color=style.color, hatch=style.hatch, edgecolor="#ffffffaa")
    spans = [f"{low:g} to {high:g}" for low, high in pairwise(figure.edges)]
    tell(bars, "", [f"{share:.4g} %" for share in shares], heads=spans)
    tell_axes(axes, Axis("", labels=spans), Axis("share (%)"))
    axes.set_ylim(0, 105 * max(max(shares) for shares in figure.series.values()) or 1)  # one scale for all panels
    marked = _marked_edges(figure.edges)
    axes.set_xticks(marked, [f"{figure.edges[at]:g}" for at in marked], fontsize=_SMALL)
    axes.set_ylabel("%")


def _marked_edges(edges: Sequence[float]) -> list[int]:
    """Return which edges are marked: as many as have room beside each other, evenly, the first and the last of all."""
    bins, room = len(edges) - 1, (_INCH - _LEFT) * 72 / (0.6 * _SMALL)
    steps = [step for step in range(1, bins + 1) if bins % step == 0]
    wide = {step: sum(len(f"{edge:g}") + 1.5 for edge in edges[::step]) for step in steps}
    step = next((step for step in steps if wide[step] <= room), bins)
    return list(range(0, bins + 1, step))


def _scatter(axes: Axes, figure: Scatter, name: str, style: SeriesStyle) -> None:
    points = [point for point in figure.series[name] if all(map(math.isfinite, point))]
    reach = max((abs(value) for point in points for value in point), default=0.0) * 1.05 or 1.0
    axes.axhline(0, color="#999999", linewidth=0.6)
    axes.axvline(0, color="#999999", linewidth=0.6)
    x, y = [x for x, _ in points], [y for _, y in points]
    cloud = axes.scatter(x, y, s=5, color=style.color, marker=style.marker, alpha=0.7, linewidths=0)
    tell(cloud, "", [f"({x:.4g}, {y:.4g})" for x, y in zip(x, y, strict=True)], heads=[""] * len(x), alone=True)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def _lines(figure: Lines, styles: Mapping[str, SeriesStyle], width: float) -> Figure:
    """Draw curves, and above them what each is: the legend never lies on a curve."""
    letters = max(map(len, figure.series)) + 6  # with the sample of its line
    abreast = max(min(int((width - _LEFT) * 72 / (0.55 * _FONT * letters)), len(styles)), 1)
    above = _MARGIN + _LEGEND * math.ceil(len(figure.series) / abreast)
    drawing = _sized(width, 1.2 * _INCH + above, above)
    axes = drawing.subplots()
    apart = max(len(figure.x) // _MARKERS, 1)
    for number, (name, values) in enumerate(figure.series.items()):
        style = styles[name]
        (line,) = axes.plot(list(figure.x), list(values), label=name, color=style.color)
        tell(line, name)
        if style.dashes:
            line.set_dashes(style.dashes)
        # Markers of two series do not lie at the same points, so that both are seen where one covers the other.
        line.set(marker=style.marker, markersize=4, markevery=(number * apart // len(styles), apart))
    axes.set_xlabel(figure.x_name)
    axes.tick_params(labelsize=_SMALL)
    legend = axes.legend(frameon=False, ncols=abreast, handlelength=3, labelspacing=0.3, borderaxespad=0.2, borderpad=0)
    legend.set_loc("lower left")
    legend.set_bbox_to_anchor((0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return drawing
