"""Draws figures with letters, for terminals and pipes; `svg` draws the same for a page."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, pairwise

from rich.text import Text as Line

from bnexp.document.figure import STYLES, Figure, Histogram, Lines, Regions, Scatter, SeriesStyle, styles_of
from bnexp.document.plots import Curves, Differences, HeatMap, Plot
from bnexp.document.writing import GAP, decimal

Styles = Mapping[str, SeriesStyle]
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MARKS = "o+x*#@"
_LEAST_SPAN = 10.0
"""Values that differ by less than this factor get bars that differ in proportion to a whole decade."""


def figure_lines(figure: Figure, width: int, styles: Styles | None = None) -> Iterator[Line]:
    """Yield the lines of a figure, `width` letters wide at most; without `styles`, it has those of its names alone."""
    if isinstance(figure, Regions):
        lines = _regions(figure, width)
    elif isinstance(figure, Plot):
        lines = map(Line, [*_in_words(figure), figure.caption, *figure.notes])
    else:
        styles = styles or styles_of(figure.series)
        if isinstance(figure, Histogram):
            lines = _histogram(figure, width, styles)
        elif isinstance(figure, Scatter):
            lines = _scatter(figure, width, styles)
        else:
            lines = _plot(figure, width, styles)
    for line in lines:
        line.rstrip()
        yield line


def _histogram(figure: Histogram, width: int, styles: Styles) -> Iterator[Line]:
    """Yield a line per bin: where it lies, and of each series a bar and its share."""
    edges = [f"{edge:.4g}" for edge in figure.edges]
    longest = max(map(len, edges))
    labels = [f"{low:>{longest}} .. {high:<{longest}}" for low, high in pairwise(edges)]
    label_width = len(labels[0])
    for names in _columns_that_fit(list(figure.series), width - label_width, least=18):
        room = min((width - label_width) // len(names) - GAP, 34)
        bar = room - len(" 100.0%")
        peak = max(map(max, figure.series.values())) or 1.0
        heading = Line(" " * label_width)
        for name in names:
            heading.append(" " * GAP).append(f"{name[:room]:<{room}}", "bold")
        yield heading
        for index, label in enumerate(labels):
            line = Line(label)
            for name in names:
                share = figure.series[name][index]
                drawn = _bar(share / peak, bar)
                line.append(" " * GAP).append(drawn, styles[name].terminal)
                line.append(f" {share:.1%}".ljust(room - len(drawn)))
            yield line


def _in_words(plot: Plot) -> Iterator[str]:
    """Yield what a plot comes to, a line an arm: its bands and colors are for a page or a file."""
    if isinstance(plot, Differences):
        for name, row in plot.rows.items():
            interval = f" ({plot.x.text(row.low)} to {plot.x.text(row.high)})" if math.isfinite(row.low) else ""
            yield f"{name}: {plot.x.text(row.mean)}{interval}"
    elif isinstance(plot, HeatMap):
        for grid in plot.grids:
            finite = [value for row in grid.values for value in row if math.isfinite(value)]
            if finite:
                yield f"{grid.title}: {plot.value.text(min(finite))} to {plot.value.text(max(finite))}"
    elif isinstance(plot, Curves):
        for panel in plot.panels:
            for name, curve in panel.series.items():
                ends = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)][-1:]
                for x, y in ends:
                    yield f"{panel.y.name}, {name}: {panel.y.text(y)} at {panel.x.name} {panel.x.text(x)}"


def _scatter(figure: Scatter, width: int, styles: Styles) -> Iterator[Line]:
    """Yield panels side by side; a letter is twice as high as wide, so that a circle looks round."""
    rows, columns = 13, 26
    for names in _columns_that_fit(list(figure.series), width, least=columns + GAP):
        panels = [_panel(figure.series[name], rows, columns) for name in names]
        yield Line((" " * GAP).join(f"{name[:columns]:<{columns}}" for name in names), "bold")
        for parts in zip(*(panel for panel, _ in panels), strict=True):
            line = Line()
            for name, part in zip(names, parts, strict=True):
                for letter in part:
                    line.append(letter, "dim" if letter in "│─┼" else styles[name].terminal)
                line.append(" " * GAP)
            yield line
        reaches = (f"each axis ±{reach:.3g}" for _, reach in panels)
        yield Line((" " * GAP).join(f"{text:<{columns}}" for text in reaches), "dim")


def _panel(points: Sequence[tuple[float, float]], rows: int, columns: int) -> tuple[list[list[str]], float]:
    """Return a panel of letters, and how far its axes reach; points that are not finite are left out."""
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    reach = max((abs(value) for point in points for value in point), default=1.0) * 1.02 or 1.0
    panel = [["─" if row == rows // 2 else " "] * columns for row in range(rows)]
    for row in range(rows):
        panel[row][columns // 2] = "┼" if row == rows // 2 else "│"
    places = ((int((reach - y) / (2 * reach) * rows), int((x + reach) / (2 * reach) * columns)) for x, y in points)
    for (row, column), count in Counter(places).items():
        panel[row][column] = "·" if count == 1 else "•" if count < 4 else "●"
    return panel, reach


def _plot(figure: Lines, width: int, styles: Styles) -> Iterator[Line]:
    """Yield a plot of ten lines; where two series meet, the later one is seen."""
    rows = 10
    finite = [value for values in figure.series.values() for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    labels = {0: decimal(high), rows - 1: decimal(low)}
    margin = max(map(len, labels.values())) + 2
    columns = min(width - margin, 72)
    height, length = (high - low) or 1.0, (figure.x[-1] - figure.x[0]) or 1.0
    canvas = [[(" ", "")] * columns for _ in range(rows)]
    for mark, (name, values) in zip(cycle(_MARKS), figure.series.items(), strict=False):
        for x, y in zip(figure.x, values, strict=True):
            if math.isfinite(y):
                row, column = (high - y) / height * (rows - 1), (x - figure.x[0]) / length * (columns - 1)
                canvas[round(row)][round(column)] = (mark, styles[name].terminal)
    for row, cells in enumerate(canvas):
        yield Line(f"{labels.get(row, ''):>{margin - 2}} ").append("│", "dim").append_tokens(cells)
    yield Line(" " * (margin - 1) + "└" + "─" * columns, "dim")
    first, last = f"{figure.x[0]:g}", f"{figure.x[-1]:g}"
    room = columns - len(first) - len(last)
    yield Line(" " * margin + first + figure.x_name[: room - GAP].center(room) + last, "dim")
    yield from _legend(styles, margin, width)


def _legend(styles: Styles, margin: int, width: int) -> Iterator[Line]:
    """Yield the marks and names of series, in as many lines as they need."""
    line = Line(" " * margin)
    for mark, (name, style) in zip(cycle(_MARKS), styles.items(), strict=False):
        entry = f"{mark} {name}"[: width - margin]
        if len(line.plain) > margin and len(line.plain) + len(entry) > width:
            yield line
            line = Line(" " * margin)
        line.append(entry, style.terminal).append("    ")
    yield line


def _regions(figure: Regions, width: int) -> Iterator[Line]:
    """Yield the blocks side by side, a letter per value."""
    colors = region_colors(figure)
    blocks = dict(figure.blocks)
    labels = [label for label, _ in figure.blocks[0][1]]
    label_width = max(map(len, labels))
    widths = {name: max(len(name), *(2 * len(letters) - 1 for _, letters in rows)) for name, rows in figure.blocks}
    for names in _columns_that_fit(list(blocks), width - label_width, least=max(widths.values()) + GAP + 1):
        heading = Line(" " * label_width)
        for name in names:
            heading.append(" " * (GAP + 1)).append(f"{name:<{widths[name]}}", "bold")
        yield heading
        for index, label in enumerate(labels):
            line = Line(f"{label:<{label_width}}")
            for name in names:
                letters = blocks[name][index][1]
                line.append(" " * (GAP + 1))
                for number, letter in enumerate(letters):
                    line.append(" " if number else "").append(letter, colors[letter])
                line.append(" " * (widths[name] - 2 * len(letters) + 1))
            yield line


def region_colors(figure: Regions) -> dict[str, str]:
    """Return a color per letter, in the order of their first appearance; beyond the palette they come anew."""
    colors = cycle(style.terminal for style in STYLES[:-1])  # grey is for the arm without a norm
    return dict(zip(figure.letters, colors, strict=False))


def _columns_that_fit(names: list[str], width: int, least: int) -> Iterator[list[str]]:
    """Yield the names in groups, each of as many columns of at least `least` letters as `width` holds."""
    together = max(width // least, 1)
    for start in range(0, len(names), together):
        yield names[start : start + together]


def _bar(fraction: float, cells: float) -> str:
    whole, eighths = divmod(round(8 * fraction * cells), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def log_bars(values: Sequence[float], width: int) -> list[str]:
    """Return a bar per value whose length follows its logarithm: one cell for the least, `width` for the largest.

    A value that is not positive and finite gets none, and none gets any where there is no room.
    """
    logs = [math.log10(value) if 0 < value < math.inf else None for value in values]
    known = [log for log in logs if log is not None]
    if not known or width < 1:
        return [""] * len(logs)
    high = max(known)
    span = max(high - min(known), math.log10(_LEAST_SPAN))
    return ["" if log is None else _bar(1, 1 + (width - 1) * (1 - (high - log) / span)) for log in logs]
