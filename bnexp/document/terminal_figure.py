"""Draws figures with letters, for terminals and pipes; `svg` draws the same for a page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, pairwise

from rich.text import Text as Line

from bnexp.document.figure import STYLES, Figure, Histogram, Lines, Regions, Scatter, SeriesStyle, styles_of
from bnexp.document.writing import decimal

Styles = Mapping[str, SeriesStyle]
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MARKS = "o+x*#@"
_GAP = 2


_LEAST_SPAN = 10.0
"""Values that differ by less than this factor get bars that differ in proportion to a whole decade."""


def figure_lines(figure: Figure, width: int, styles: Styles | None = None) -> Iterator[Line]:
    """Yield the lines of a figure, `width` letters wide at most; without `styles`, it has those of its names alone."""
    if isinstance(figure, Histogram):
        return draw_histogram(figure, width, styles)
    if isinstance(figure, Scatter):
        return draw_scatter(figure, width, styles)
    if isinstance(figure, Lines):
        return draw_lines(figure, width, styles)
    return draw_regions(figure, width)


def draw_histogram(figure: Histogram, width: int, styles: Styles | None = None) -> Iterator[Line]:
    """Yield a line per bin: where it lies, and of each series a bar and its share."""
    styles = styles or styles_of(figure.names)
    edges = [f"{edge:.4g}" for edge in figure.edges]
    labels = [f"{low:>{max(map(len, edges))}} .. {high:<{max(map(len, edges))}}" for low, high in pairwise(edges)]
    label_width = max(map(len, labels))
    for names in _columns_that_fit(list(figure.series), width - label_width, least=18):
        room = min((width - label_width) // len(names) - _GAP, 34)
        bar = room - len(" 100.0%")
        peak = max(max(figure.series[name]) for name in figure.series) or 1.0
        heading = Line(" " * label_width)
        for name in names:
            heading.append(" " * _GAP).append(f"{name[:room]:<{room}}", "bold")
        yield _stripped(heading)
        for index, label in enumerate(labels):
            line = Line(label)
            for name in names:
                share = figure.series[name][index]
                drawn = _bar(share / peak, bar)
                line.append(" " * _GAP).append(drawn, styles[name].terminal)
                line.append(f" {share:.1%}".ljust(room - len(drawn)))
            yield _stripped(line)


def draw_scatter(figure: Scatter, width: int, styles: Styles | None = None) -> Iterator[Line]:
    """Yield panels side by side; a letter is twice as high as wide, so that a circle looks round."""
    styles = styles or styles_of(figure.names)
    rows = 13
    columns = 2 * rows
    for names in _columns_that_fit(list(figure.clouds), width, least=columns + _GAP):
        panels = [_panel(figure.clouds[name], rows) for name in names]
        yield _stripped(Line((" " * _GAP).join(f"{name[:columns]:<{columns}}" for name in names), "bold"))
        for parts in zip(*(panel for panel, _ in panels), strict=True):
            line = Line()
            for name, part in zip(names, parts, strict=True):
                for letter in part:
                    line.append(letter, "dim" if letter in "│─┼" else styles[name].terminal)
                line.append(" " * _GAP)
            yield _stripped(line)
        reaches = (f"each axis ±{reach:.3g}" for _, reach in panels)
        yield _stripped(Line((" " * _GAP).join(f"{text:<{columns}}" for text in reaches), "dim"))


def _panel(points: Sequence[tuple[float, float]], rows: int) -> tuple[list[list[str]], float]:
    """Return a square panel of letters, `rows` high and twice as wide, and how far its axes reach.

    Points that are not finite are left out.
    """
    columns = 2 * rows
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    reach = max((abs(value) for point in points for value in point), default=1.0) * 1.02 or 1.0
    panel = [["─" if row == rows // 2 else " " for _ in range(columns)] for row in range(rows)]
    for row in range(rows):
        panel[row][columns // 2] = "┼" if row == rows // 2 else "│"
    counts: dict[tuple[int, int], int] = {}
    for x, y in points:
        place = (int((reach - y) / (2 * reach) * rows), int((x + reach) / (2 * reach) * columns))
        counts[place] = counts.get(place, 0) + 1
    for (row, column), count in counts.items():
        panel[row][column] = "·" if count == 1 else "•" if count < 4 else "●"
    return panel, reach


def draw_lines(figure: Lines, width: int, styles: Styles | None = None) -> Iterator[Line]:
    """Yield a plot of ten lines; where two series meet, the later one is seen."""
    styles = styles or styles_of(figure.names)
    rows = 10
    finite = [value for values in figure.series.values() for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    labels = [decimal(high), decimal(low)]
    margin = max(map(len, labels)) + 2
    columns = min(width - margin, 72)
    canvas = [[(" ", "")] * columns for _ in range(rows)]
    for mark, (name, values) in zip(cycle(_MARKS), figure.series.items(), strict=False):
        for row, column in _places(figure.x, values, low, high, rows, columns):
            canvas[row][column] = (mark, styles[name].terminal)
    for row, cells in enumerate(canvas):
        label = labels[0] if row == 0 else labels[1] if row == rows - 1 else ""
        line = Line(f"{label:>{margin - 2}} ").append("│", "dim")
        for letter, style in cells:
            line.append(letter, style)
        yield _stripped(line)
    yield Line(" " * (margin - 1) + "└" + "─" * columns, "dim")
    first, last = f"{figure.x[0]:g}", f"{figure.x[-1]:g}"
    room = columns - len(first) - len(last)
    x_name = figure.x_name[: room - _GAP].center(room)
    yield _stripped(Line(" " * margin + first + x_name + last, "dim"))
    yield from _legend(styles, margin, width)


def _legend(styles: Styles, margin: int, width: int) -> Iterator[Line]:
    """Yield the marks and names of series, in as many lines as they need."""
    line = Line(" " * margin)
    for mark, (name, style) in zip(cycle(_MARKS), styles.items(), strict=False):
        entry = f"{mark} {name}"[: width - margin]
        if len(line.plain) > margin and len(line.plain) + len(entry) > width:
            yield _stripped(line)
            line = Line(" " * margin)
        line.append(entry, style.terminal).append("    ")
    yield _stripped(line)


def _places(
    x: Sequence[float], values: Sequence[float], low: float, high: float, rows: int, columns: int
) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of each finite value."""
    span, length = (high - low) or 1.0, (x[-1] - x[0]) or 1.0
    for point, value in zip(x, values, strict=True):
        if math.isfinite(value):
            yield round((high - value) / span * (rows - 1)), round((point - x[0]) / length * (columns - 1))


def draw_regions(figure: Regions, width: int) -> Iterator[Line]:
    """Yield the blocks side by side, a letter per value."""
    colors = region_colors(figure)
    labels = [label for label, _ in figure.blocks[0][1]]
    label_width = max(map(len, labels))
    widths = {name: max(len(name), *(2 * len(letters) - 1 for _, letters in rows)) for name, rows in figure.blocks}
    blocks: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = dict(figure.blocks)
    for names in _columns_that_fit(list(blocks), width - label_width, least=max(widths.values()) + _GAP + 1):
        heading = Line(" " * label_width)
        for name in names:
            heading.append(" " * (_GAP + 1)).append(f"{name:<{widths[name]}}", "bold")
        yield _stripped(heading)
        for index, label in enumerate(labels):
            line = Line(f"{label:<{label_width}}")
            for name in names:
                letters = blocks[name][index][1]
                line.append(" " * (_GAP + 1))
                for number, letter in enumerate(letters):
                    line.append(" " if number else "").append(letter, colors[letter])
                line.append(" " * (widths[name] - 2 * len(letters) + 1))
            yield _stripped(line)


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


def _stripped(line: Line) -> Line:
    line.rstrip()
    return line
