"""Draws pictures with letters, for terminals and pipes; `figures` draws the same for a page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rich.text import Text as Line

from bnexp.document.lesson import Histogram, Lines, Regions, Scatter
from bnexp.document.numerals import decimal

STYLES = ("cyan", "magenta", "yellow", "green", "blue", "red")
"""One after the other for series and regions."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MARKS = "o+x*#@"
_GAP = 2


def draw_histogram(picture: Histogram, width: int) -> Iterator[Line]:
    """Yield a line per bin: where it lies, and of each series a bar and its share."""
    edges = [f"{edge:.4g}" for edge in picture.edges]
    labels = [f"{low:>{max(map(len, edges))}} .. {high:<{max(map(len, edges))}}" for low, high in pairwise(edges)]
    label_width = max(map(len, labels))
    for names in _columns_that_fit(list(picture.series), width - label_width, least=18):
        room = min((width - label_width) // len(names) - _GAP, 34)
        bar = room - len(" 100.0%")
        peak = max(max(picture.series[name]) for name in picture.series) or 1.0
        heading = Line(" " * label_width)
        for name in names:
            heading.append(" " * _GAP).append(f"{name[:room]:<{room}}", "bold")
        yield _stripped(heading)
        for index, label in enumerate(labels):
            line = Line(label)
            for name in names:
                share = picture.series[name][index]
                drawn = _bar(share / peak, bar)
                line.append(" " * _GAP).append(drawn, STYLES[list(picture.series).index(name) % len(STYLES)])
                line.append(f" {share:.1%}".ljust(room - len(drawn)))
            yield _stripped(line)


def draw_scatter(picture: Scatter, width: int) -> Iterator[Line]:
    """Yield panels side by side; a letter is twice as high as wide, so that a circle looks round."""
    rows = 13
    columns = 2 * rows
    for names in _columns_that_fit(list(picture.clouds), width, least=columns + _GAP):
        panels = [_panel(picture.clouds[name], rows) for name in names]
        yield _stripped(Line((" " * _GAP).join(f"{name[:columns]:<{columns}}" for name in names), "bold"))
        for parts in zip(*(panel for panel, _ in panels), strict=True):
            line = Line()
            for part in parts:
                for letter in part:
                    line.append(letter, "dim" if letter in "│─┼" else STYLES[0])
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


def draw_lines(picture: Lines, width: int) -> Iterator[Line]:
    """Yield a plot of ten lines; where two series meet, the later one is seen."""
    rows = 10
    values = [value for one in picture.series.values() for value in one if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    labels = [decimal(high), decimal(low)]
    margin = max(map(len, labels)) + 2
    columns = min(width - margin, 72)
    canvas = [[(" ", "")] * columns for _ in range(rows)]
    for number, one in enumerate(picture.series.values()):
        for row, column in _places(picture.x, one, low, high, rows, columns):
            canvas[row][column] = (_MARKS[number % len(_MARKS)], STYLES[number % len(STYLES)])
    for row, cells in enumerate(canvas):
        label = labels[0] if row == 0 else labels[1] if row == rows - 1 else ""
        line = Line(f"{label:>{margin - 2}} ").append("│", "dim")
        for letter, style in cells:
            line.append(letter, style)
        yield _stripped(line)
    yield Line(" " * (margin - 1) + "└" + "─" * columns, "dim")
    first, last = f"{picture.x[0]:g}", f"{picture.x[-1]:g}"
    room = columns - len(first) - len(last)
    name = picture.x_name[: room - _GAP].center(room)
    yield _stripped(Line(" " * margin + first + name + last, "dim"))
    yield from _legend(list(picture.series), margin, width)


def _legend(names: Sequence[str], margin: int, width: int) -> Iterator[Line]:
    """Yield the marks and names of series, in as many lines as they need."""
    line = Line(" " * margin)
    for number, name in enumerate(names):
        entry = f"{_MARKS[number % len(_MARKS)]} {name}"[: width - margin]
        if len(line.plain) > margin and len(line.plain) + len(entry) > width:
            yield _stripped(line)
            line = Line(" " * margin)
        line.append(entry, STYLES[number % len(STYLES)]).append("    ")
    yield _stripped(line)


def _places(
    x: Sequence[float], values: Sequence[float], low: float, high: float, rows: int, columns: int
) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of each finite value."""
    span, length = (high - low) or 1.0, (x[-1] - x[0]) or 1.0
    for point, value in zip(x, values, strict=True):
        if math.isfinite(value):
            yield round((high - value) / span * (rows - 1)), round((point - x[0]) / length * (columns - 1))


def draw_regions(picture: Regions, width: int) -> Iterator[Line]:
    """Yield the blocks side by side, a letter per value."""
    colors = region_colors(picture)
    labels = [label for label, _ in picture.blocks[0][1]]
    label_width = max(map(len, labels))
    widths = {name: max(len(name), *(2 * len(letters) - 1 for _, letters in rows)) for name, rows in picture.blocks}
    blocks: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = dict(picture.blocks)
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


def region_colors(picture: Regions) -> dict[str, str]:
    """Return a style per letter, in the order of their first appearance."""
    letters = dict.fromkeys(letter for _, rows in picture.blocks for _, row in rows for letter in row)
    return {letter: STYLES[number % len(STYLES)] for number, letter in enumerate(letters)}


def _columns_that_fit(names: list[str], width: int, least: int) -> Iterator[list[str]]:
    """Yield the names in groups, each of as many columns of at least `least` letters as `width` holds."""
    together = max(width // least, 1)
    for start in range(0, len(names), together):
        yield names[start : start + together]


def _bar(fraction: float, cells: int) -> str:
    eighths = round(fraction * cells * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _stripped(line: Line) -> Line:
    line.rstrip()
    return line
