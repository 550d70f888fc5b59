"""Draws what has a name a row: the cells of a heat map, and paired differences."""

import math
from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import FixedLocator, NullLocator

from bnexp.document.axis_drawing import limits, prepare_x, tick_text, ticks, wrapped
from bnexp.document.figure import SeriesStyle
from bnexp.document.interactive import tell, tell_axes, tell_cells
from bnexp.document.plots import Axis, Differences, Grid, HeatMap

COLORS = "viridis"
"""Its lightness rises with the value, so that it reads in grey."""
NOT_MEASURED = "#dddddd"
ROW_LETTERS = 24
"""Letters of a row's name on one line."""


def color_scale(plot: HeatMap) -> Normalize:
    """Return the scale of colors that all grids of a heat map share."""
    values = [value for grid in plot.grids for row in grid.values for value in row]
    return (LogNorm if plot.value.log else Normalize)(*limits(plot.value, values))


def draw_grid(axes: Axes, plot: HeatMap, grid: Grid, scale: Normalize, *, letters: int, every: int) -> QuadMesh:
    """Draw one grid, the first row on top, of whose names each so many has room; none with 0.

    Columns are as wide as each other.
    """
    rows, columns = len(grid.rows), len(grid.columns)
    axes.set_facecolor(NOT_MEASURED)
    cells = [[_clipped(value, scale) if math.isfinite(value) else math.nan for value in row] for row in grid.values]
    mesh = axes.pcolormesh(cells, cmap=COLORS, norm=scale, edgecolors="face", linewidth=0.2)
    tell_axes(axes, Axis("", labels=("",)), Axis("", labels=("",)))
    values = [plot.value.text(value) if math.isfinite(value) else "" for row in grid.values for value in row]
    heads = [f"{plot.x.name} {plot.x.text(column)}" for column in grid.columns]
    tell_cells(mesh, grid.title, heads, grid.rows, values)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    texts = [tick_text(plot.x, column) for column in grid.columns]
    apart = max(math.ceil(columns * (max(map(len, texts)) + 2) / letters), 1)
    marked = range(0, columns, apart)
    axes.xaxis.set_major_locator(FixedLocator([place + 0.5 for place in marked]))
    axes.set_xticklabels([texts[place] for place in marked])
    named = range(0, rows, every) if every else []
    axes.yaxis.set_major_locator(FixedLocator([place + 0.5 for place in named]))
    axes.set_yticklabels([wrapped(grid.rows[place], ROW_LETTERS) for place in named])
    axes.tick_params(axis="y", length=0)
    if len(plot.grids) > 1:
        axes.set_title(wrapped(grid.title, letters), fontsize=axes.xaxis.label.get_fontsize())
    return mesh


def _clipped(value: float, scale: Normalize) -> float:
    """Return a value no lower than the lowest color means: a logarithm has no place for 0."""
    return max(value, scale.vmin or value)


def prepare_scale(axes: Axes, axis: Axis, scale: Normalize, letters: int) -> None:
    """Mark values on the axes of a scale of colors, below which so many letters fit."""
    marked = ticks(float(scale.vmin or 0), float(scale.vmax or 1), axis.log, max(letters // 7, 2))
    axes.xaxis.set_major_locator(FixedLocator(marked))
    axes.set_xticklabels([tick_text(axis, value) for value in marked])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.spines["outline"].set_visible(False)


def draw_differences(axes: Axes, plot: Differences, styles: Mapping[str, SeriesStyle], *, letters: int) -> None:
    """Draw of each arm a dot a seed, and below them the mean with its interval."""
    ends = [value for row in plot.rows.values() for value in (*row.differences, row.low, row.high, row.mean, 0.0)]
    prepare_x(axes, plot.x, ends, letters)
    wide = 2 * float(mpl.rcParams["lines.linewidth"])
    axes.axvline(0, color="#666666", linewidth=wide / 4)
    tell_axes(axes, plot.x, Axis("", labels=list(plot.rows)))
    for height, (name, row) in enumerate(plot.rows.items()):
        style = styles[name]
        for hollow in (False, True):
            pairs = zip(row.seeds, row.differences, row.diverged, strict=True)
            chosen = [(seed, value) for seed, value, fell in pairs if fell is hollow]
            x, y = [value for _, value in chosen], [height - 0.16] * len(chosen)
            face = "white" if hollow else style.color
            (dots,) = axes.plot(x, y, ls="none", marker=style.marker, mfc=face, mec=style.color, alpha=0.8)
            fell = ", one of the pair diverged" if hollow else ""
            tell(
                dots,
                name,
                [plot.x.text(value) + fell for value in x],
                heads=[f"seed {seed}" for seed, _ in chosen],
                alone=True,
            )
        axes.plot([row.low, row.high], [height + 0.18] * 2, color=style.color, linewidth=wide)
        (mean,) = axes.plot([row.mean], [height + 0.18], marker="|", ms=5 * wide, mew=wide, color=style.color)
        interval = f" ({plot.x.text(row.low)} to {plot.x.text(row.high)})" if math.isfinite(row.low) else ""
        tell(mean, name, [plot.x.text(row.mean) + interval], heads=["mean"], alone=True)
    axes.set_ylim(len(plot.rows) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(range(len(plot.rows))))
    axes.set_yticklabels([wrapped(name, ROW_LETTERS) for name in plot.rows])
    axes.tick_params(axis="y", length=0)
    if plot.better:
        side = "better →" if plot.better == "right" else "← better"
        edge = 1 if plot.better == "right" else 0
        axes.text(edge, 1.01, side, transform=axes.transAxes, ha=plot.better, va="bottom")
