"""Writes a drawing as SVG for a page: it takes the page's color, describes itself in words, and carries its numbers.

The numbers are those of what is drawn, whatever drew it: lines, points, steps and the cells of a heat map. `page.js`
answers with them to the pointer and the keyboard, and zooms.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, PercentFormatter

from bnexp.errors import visible

_POINT = 72
"""Units of the drawing per inch."""
_DIGITS = 6
_MOST_POINTS = 1000
"""Points of a series that a page answers with; of more, every second, third, ..."""
_TOLD = 12
"""Points of a series that its description lists; of more, the first, the last, the least and the greatest."""
_LEFT_OUT = re.compile(
    r"^.*?(?=<svg)|<metadata>.*?</metadata>\s*|<!--.*?-->\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", re.DOTALL
)
_FONT = re.compile(r"font-family: [^;\"]*;? ?")
_TAG = re.compile(r"<[a-z][^>]*>")
_NAMED = re.compile(r' id="(?:matplotlib\.)?([A-Za-z]\w*_\d+)"')
_NAMES: WeakKeyDictionary[Artist, Sequence[str]] = WeakKeyDictionary()


def name_points(artist: Artist, names: Sequence[str]) -> None:
    """Say what a page tells of each point of a line or cloud, in place of its value."""
    _NAMES[artist] = names


def page_svg(drawing: Figure, key: str, title: str) -> str:
    """Return a drawing as one `<svg>` for a page, without a background of its own.

    Args:
        drawing: everything in it that a reader may ask for has a label.
        key: unique in the page; the same drawing and key give the same text.
        title: what it shows.
    """
    text = io.StringIO()
    drawing.patch.set_visible(False)
    for axes in drawing.axes:
        axes.patch.set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "font.size": 9, "hatch.linewidth": 0.6}):
        drawing.savefig(text, format="svg", metadata={"Date": None})
    frames = list(_frames(drawing))
    svg = _TAG.sub(_fit_for_a_page, _LEFT_OUT.sub("", text.getvalue()).strip())
    plot = json.dumps({"title": visible(title), "frames": frames}, separators=(",", ":"), allow_nan=False)
    head, _, rest = svg.partition(">")
    about = f"<title>{escape(visible(title))}</title><desc>{escape(visible(_described(frames)))}</desc>"
    return f'{head} role="img" data-plot="{escape(plot)}">{about}{rest}'


def _fit_for_a_page(tag: re.Match[str]) -> str:
    """Take color and font of the text from the page; names that every drawing has are classes, not identifiers."""
    return _NAMED.sub(r' class="\1"', _FONT.sub("", tag[0].replace(": #000000", ": currentColor")))


def _frames(drawing: Figure) -> Iterator[dict[str, Any]]:
    """Yield where each frame that has numbers lies, its axes, and its series."""
    width, height = drawing.get_size_inches() * _POINT
    for number, axes in enumerate(drawing.axes):
        if series := list(_series(axes)):
            place = axes.get_position()
            box = [place.x0 * width, (1 - place.y1) * height, place.width * width, place.height * height]
            yield {
                "axes": number,
                "box": [round(value, 3) for value in box],
                "x": _axis(axes, "x"),
                "y": _axis(axes, "y"),
                "series": series,
            }


def _axis(axes: Axes, which: str) -> dict[str, Any]:
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    words = isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter)
    return {
        "name": axis.get_label_text(),
        "limits": [float(low), float(high)],
        "log": axis.get_scale() == "log",
        "percent": isinstance(axis.get_major_formatter(), PercentFormatter),
        "fixed": words and isinstance(axis.get_major_locator(), FixedLocator),
    }


def _series(axes: Axes) -> Iterator[dict[str, Any]]:
    for artist in axes.get_children():
        name, names = str(artist.get_label()), _NAMES.get(artist)
        named = bool(name) and not name.startswith("_")
        if (named or names is not None) and (drawn := _drawn(artist)) is not None:
            yield _chosen(visible(name) if named else "", drawn, names)


class _Drawn(NamedTuple):
    """The points (n, 2) of an artist, its color, and whether each point stands for itself rather than for an x."""

    points: "np.ndarray[Any, Any]"
    color: Any
    cloud: bool


def _drawn(artist: Artist) -> _Drawn | None:
    """Return what can be read of an artist; None of one that only frames the others, or is no data."""
    if isinstance(artist, Line2D):
        points = np.column_stack([np.asarray(values, np.float64) for values in artist.get_data(orig=False)])
        return _Drawn(points, artist.get_color(), artist.get_linestyle() in ("None", "none", "", " "))
    if isinstance(artist, PathCollection):
        colors = [*np.asarray(artist.get_facecolor()), *np.asarray(artist.get_edgecolor())]
        return _Drawn(np.asarray(artist.get_offsets(), np.float64).reshape(-1, 2), colors[0], True)
    if isinstance(artist, StepPatch):
        shares, borders, _ = artist.get_data()
        edges, values = np.asarray(borders, np.float64), np.asarray(shares, np.float64)
        return _Drawn(np.column_stack([(edges[:-1] + edges[1:]) / 2, values]), artist.get_facecolor(), False)
    if isinstance(artist, QuadMesh):
        corners = np.asarray(artist.get_coordinates(), np.float64)
        return _Drawn(((corners[:-1, :-1] + corners[1:, 1:]) / 2).reshape(-1, 2), "#999999", True)
    if isinstance(artist, AxesImage):
        rows, columns = artist.get_size()
        left, right, bottom, top = artist.get_extent()
        x = left + (right - left) * (np.arange(columns) + 0.5) / columns
        y = top + (bottom - top) * (np.arange(rows) + 0.5) / rows
        return _Drawn(np.column_stack([np.tile(x, rows), np.repeat(y, columns)]), "#999999", True)
    return None


def _chosen(name: str, drawn: _Drawn, names: Sequence[str] | None) -> dict[str, Any]:
    """Return a series as the page has it: of many points not all."""
    finite = np.flatnonzero(np.isfinite(drawn.points).all(axis=1))
    kept = finite[:: max(-(-len(finite) // _MOST_POINTS), 1)]
    series = {
        "name": name,
        "color": to_hex(drawn.color),
        "cloud": drawn.cloud,
        "x": [_rounded(x) for x in drawn.points[kept, 0]],
        "y": [_rounded(y) for y in drawn.points[kept, 1]],
    }
    return series if names is None else {**series, "text": [visible(names[at]) for at in kept]}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _described(frames: Sequence[dict[str, Any]]) -> str:
    """Describe the series in words, with their numbers, for whoever does not see them."""
    sentences = []
    for frame in frames:
        x, y = frame["x"], frame["y"]
        for series in frame["series"]:
            xs, texts = series["x"], series.get("text") or [_text(y, value) for value in series["y"]]
            said = [f"{_text(x, at)}: {text}" for at, text in zip(xs, texts, strict=True)]
            if len(said) > _TOLD:
                order = sorted(range(len(said)), key=lambda at: series["y"][at])
                told = {"first": 0, "last": -1, "least": order[0], "greatest": order[-1]}
                said = [f"{which} at {said[at]}" for which, at in told.items()]
            of = " by ".join(name for name in (y["name"], x["name"]) if name)
            who = ", ".join(name for name in (series["name"], of) if name)
            sentences.append(f"{who}: {'; '.join(said) or 'no finite value'}.")
    return " ".join(sentences)


def _text(axis: dict[str, Any], value: float) -> str:
    return f"{100 * value:.{_DIGITS}g} %" if axis["percent"] else f"{value:.{_DIGITS}g}"
