"""Draws a panel of curves: lines with bands, points with bars, ranges, and the runs that diverged."""

import math
from collections.abc import Iterable, Mapping

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from bnexp.document.axis_drawing import between, prepare_x, prepare_y, wrapped
from bnexp.document.figure import SeriesStyle
from bnexp.document.interactive import tell, tell_axes
from bnexp.document.plots import Curve, Panel
from bnexp.document.writing import counted

_MARKERS = 8
"""Markers on a line."""
_APART = 2.5
"""Points of a page between the bars of two arms at one x."""
_STRIP_ROW = 1.5
"""Height of a row of diverged runs with their counts, in heights of a letter; marks alone need less."""
_NARROW = 3
"""Letters that a count beside a mark needs."""


def draw_panel(
    axes: Axes,
    panel: Panel,
    styles: Mapping[str, SeriesStyle],
    *,
    inches: tuple[float, float],
    others: Iterable[Panel] = (),
) -> None:
    """Draw one panel into axes that are about so many inches wide and high; the `others` are on the same scales."""
    size = float(axes.xaxis.label.get_fontsize())
    fallen = [name for name, curve in panel.series.items() if curve.diverged]
    letters, high = (int(side * 72 / (0.6 * size)) for side in inches)
    beside = [curve for one in (panel, *others) for curve in one.series.values()]
    across = [x for curve in beside for x in (*curve.x, *(mark[0] for mark in curve.diverged))]
    counts = panel.form == "points" and len(set(across)) * (_NARROW + 2) <= letters
    row = min((_STRIP_ROW if counts else 0.8) * size / 72 / inches[1], 0.4 / max(len(fallen), 1))
    values = [value for curve in beside for edge in (curve.y, curve.low, curve.high) for value in edge]
    prepare_x(axes, panel.x, across, letters)
    prepare_y(axes, panel.y, values, high, row * len(fallen))
    tell_axes(axes, panel.x, panel.y)
    for number, (name, curve) in enumerate(panel.series.items()):
        line = _draw_curve(axes, panel, curve, styles[name], number, len(panel.series))
        tell(line, name, _texts(panel, curve), heads=_heads(panel, curve.x))
    if fallen:
        _draw_diverged(axes, panel, {name: styles[name] for name in fallen}, row, counts)
    if panel.title:
        axes.set_title(wrapped(panel.title, letters), fontsize=size)


def _heads(panel: Panel, x: Iterable[float]) -> list[str]:
    return [f"{panel.x.name} {panel.x.text(place)}" for place in x]


def _texts(panel: Panel, curve: Curve) -> list[str]:
    """Say what a curve is at each of its places: `87.42 (84.83 to 90.01), 3 runs`."""
    texts = []
    for y, low, high, runs in zip(curve.y, curve.low, curve.high, curve.runs, strict=True):
        middle = "" if panel.form == "range" else panel.y.text(y)
        edges = f"{panel.y.text(low)} to {panel.y.text(high)}" if math.isfinite(low) else ""
        value = f"{middle} ({edges})" if middle and edges else middle or edges
        texts.append(f"{value}, {counted(runs, 'run')}" if panel.form != "range" else value)
    return texts


def _draw_curve(axes: Axes, panel: Panel, curve: Curve, style: SeriesStyle, number: int, of: int) -> Line2D:
    if panel.form == "points":
        return _draw_points(axes, curve, style, number - (of - 1) / 2)
    axes.fill_between(curve.x, curve.low, curve.high, color=style.color, alpha=0.2, linewidth=0)
    if panel.form == "range":
        _draw_line(axes, curve, curve.low, style, 2 * number, 2 * of, width=_thin())
        return _draw_line(axes, curve, curve.high, style, 2 * number + 1, 2 * of, width=_thin())
    if panel.form == "edges":
        alone = len(curve.x) == 1  # one place is no line
        (middle,) = axes.plot(curve.x, curve.y, color=style.color, marker=style.marker if alone else "")
        for edge in (curve.low, curve.high):
            marker = "_" if alone else ""
            axes.plot(curve.x, edge, color=style.color, linewidth=_thin(), dashes=(3, 1.5), marker=marker)
        return middle
    return _draw_line(axes, curve, curve.y, style, number, of)


def _thin() -> float:
    """Return the width of a line that is not the middle of an arm."""
    return 0.75 * float(mpl.rcParams["lines.linewidth"])


def _draw_line(
    axes: Axes, curve: Curve, y: object, style: SeriesStyle, number: int, of: int, width: float | None = None
) -> Line2D:
    """Draw a line with a few markers; those of two arms do not lie at the same points, so that both are seen."""
    (line,) = axes.plot(curve.x, y, color=style.color)  # type: ignore[arg-type]
    if width is not None:
        line.set_linewidth(width)
    if style.dashes:
        line.set_dashes(style.dashes)
    apart = max(len(curve.x) // _MARKERS, 1)
    line.set(marker=style.marker, markevery=(number * apart // of % max(len(curve.x), 1), apart))
    return line


def _draw_points(axes: Axes, curve: Curve, style: SeriesStyle, shift: float) -> Line2D:
    """Draw points with bars, a little beside those of the other arms at the same x."""
    figure = axes.figure
    beside = axes.transData + ScaledTranslation(_APART * shift / 72, 0, figure.dpi_scale_trans)
    axes.vlines(curve.x, curve.low, curve.high, color=style.color, linewidth=_thin(), transform=beside)
    for edge in (curve.low, curve.high):
        axes.plot(curve.x, edge, linestyle="none", marker="_", color=style.color, transform=beside)
    (line,) = axes.plot(curve.x, curve.y, color=style.color, marker=style.marker, transform=beside)
    if style.dashes:
        line.set_dashes(style.dashes)
    return line


def _draw_diverged(axes: Axes, panel: Panel, fallen: Mapping[str, SeriesStyle], row: float, counts: bool) -> None:
    """Draw in a strip below all values where runs diverged, a row an arm, and beside each mark how many of how many."""
    frame, size = axes.get_xaxis_transform(), float(axes.xaxis.label.get_fontsize())
    for number, (name, style) in enumerate(reversed(list(fallen.items()))):
        height = (number + 0.5) * row
        for x, count, of in panel.series[name].diverged:
            face, edge = "white", style.color
            (mark,) = axes.plot([x], [height], marker=style.marker, mfc=face, mec=edge, transform=frame, zorder=4)
            tell(mark, name, [f"{count} of {of} diverged"], heads=_heads(panel, [x]), alone=True)
            if counts:
                place = {"xytext": (0.6 * size, 0), "textcoords": "offset points", "va": "center_baseline"}
                axes.annotate(f"{count}/{of}", (x, height), xycoords=frame, color=style.color, **place)  # type: ignore[arg-type]
    top = row * len(fallen)
    axes.plot([0, 1], [top, top], color="#999999", linewidth=_thin() / 2, dashes=(2, 2), transform=axes.transAxes)
    middle = between(*axes.get_ylim(), top / 2, axes.get_yscale() == "log")
    axes.set_yticks([middle], ["diverged"], minor=True)
    axes.tick_params(axis="y", which="minor", length=0)
