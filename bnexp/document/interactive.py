"""Writes a drawing as SVG for a page: it takes color and font of the page, and carries its numbers and its description.

Whatever draws tells which of its artists stand for values: `tell`. `page.js` answers with them to the pointer and the
keyboard, and zooms; the description of the drawing has them for whoever does not see it.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes as Frame
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from bnexp.document.plots import Axis
from bnexp.errors import visible

_INCH = 72
"""Units of the drawing per inch."""
_DIGITS = 6
_MOST_POINTS = 250
"""Points of a series that a page answers with; of more, every second, third, ... and the last."""
_TOLD_POINTS = 8
"""Points of a series that its description lists; of more, the first, the last, the least and the greatest."""
_LEFT_OUT = re.compile(
    r"^.*?(?=<svg)|<metadata>.*?</metadata>\s*|<!--.*?-->\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", re.DOTALL
)
_TAG = re.compile(r"<[a-z][^>]*>")
_NAMED = re.compile(r' id="(?:matplotlib\.)?([A-Za-z]\w*_\d+)"')
_COLOR = re.compile(r"(?<=: )#(?:000000|ffffff|0072b2)")
_FILL = re.compile(r'fill="(#[0-9a-f]{6})"')
OF_THE_PAGE = {"#000000": "currentColor", "#ffffff": "var(--paper)", "#0072b2": "var(--blue)"}
"""Colors that a dark page changes."""
_FONT = re.compile(r"font-family: [^;\"]*;? ?|(?<=font: )([^'\"]*px) '[^;\"]*")


@dataclass(frozen=True)
class _Told:
    """What an artist stands for.

    Attributes:
        name: of the series.
        texts: a text per point, in place of its value.
        heads: a text per point, in place of its place on the x axis.
        alone: a point is told without those of other series above or below it.
    """

    name: str
    texts: Sequence[str] | None
    heads: Sequence[str] | None
    alone: bool


@dataclass(frozen=True)
class _Cells:
    """The cells of a heat map: a text of each, row by row, empty where there is none, and the names of both sides."""

    name: str
    columns: Sequence[str]
    rows: Sequence[str]
    texts: Sequence[str]


_TOLD_OF: WeakKeyDictionary[Artist, _Told | _Cells] = WeakKeyDictionary()
_AXES_OF: WeakKeyDictionary[Frame, tuple[Axis, Axis]] = WeakKeyDictionary()


def tell(
    artist: Artist,
    name: str,
    texts: Sequence[str] | None = None,
    *,
    heads: Sequence[str] | None = None,
    alone: bool = False,
) -> None:
    """Say that an artist stands for the values of a series: a line, a cloud or steps."""
    _TOLD_OF[artist] = _Told(name, texts, heads, alone)


def tell_cells(mesh: QuadMesh, name: str, columns: Sequence[str], rows: Sequence[str], texts: Sequence[str]) -> None:
    """Say that an artist stands for the cells of a heat map, which fills its frame, the first row on top."""
    _TOLD_OF[mesh] = _Cells(name, columns, rows, texts)


def tell_axes(frame: Frame, x: Axis, y: Axis) -> None:
    """Say what the axes of a frame show, where their labels alone do not."""
    _AXES_OF[frame] = (x, y)


def page_svg(drawing: Figure, key: str, title: str) -> str:
    """Return a drawing as one `<svg>` for a page, without a background of its own.

    Args:
        drawing: as its parts were told.
        key: unique in the page; the same drawing and key give the same text.
        title: what it shows.
    """
    text = io.StringIO()
    drawing.patch.set_visible(False)
    for frame in drawing.axes:
        frame.patch.set_visible(frame.get_facecolor()[:3] != (1.0, 1.0, 1.0))
        for artist in frame.get_children():
            artist.set_rasterized(isinstance(artist, QuadMesh))  # as paths, its cells would be most of the page
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        drawing.savefig(text, format="svg", metadata={"Date": None}, dpi=2 * _INCH)
    frames = list(_frames(drawing))
    svg = _TAG.sub(_fit_for_a_page, _LEFT_OUT.sub("", text.getvalue()).strip())
    plot = json.dumps({"title": visible(title), "frames": frames}, separators=(",", ":"), allow_nan=False)
    quoted = plot.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;").replace(">", "&gt;")
    head, _, rest = svg.partition(">")
    label = f'role="img" aria-label="{escape(visible(title))}"'  # a <title> would pop up beside what the page says
    return f"{head} {label} data-plot='{quoted}'><desc>{escape(_described(frames))}</desc>{rest}"


def _fit_for_a_page(tag: re.Match[str]) -> str:
    """Take color and font of the text from the page; names that every drawing has are classes, not identifiers."""
    styled = _FILL.sub(r'style="fill: \1"', tag[0])  # the ground of a hatching: an attribute takes no variable
    colored = _COLOR.sub(lambda color: OF_THE_PAGE[color[0]], styled)
    return _NAMED.sub(r' class="\1"', _FONT.sub(r"\1", colored))


def _frames(drawing: Figure) -> Iterator[dict[str, Any]]:
    """Yield where each frame that was told of lies, its axes, and its series."""
    width, height = drawing.get_size_inches() * _INCH
    for number, frame in enumerate(drawing.axes):
        pairs = ((artist, _TOLD_OF.get(artist)) for artist in frame.get_children())
        series = [
            _cells(told) if isinstance(told, _Cells) else _series(artist, told, height)
            for artist, told in pairs
            if told
        ]
        if series:
            place = frame.get_position()
            box = (place.x0 * width, (1 - place.y1) * height, place.width * width, place.height * height)
            x, y = (_axis(frame, which) for which in ("x", "y"))
            yield {"axes": number, "box": [round(side, 2) for side in box], "x": x, "y": y, "series": series}


def _axis(frame: Frame, which: str) -> dict[str, Any]:
    drawn = frame.xaxis if which == "x" else frame.yaxis
    low, high = frame.get_xlim() if which == "x" else frame.get_ylim()
    axes = _AXES_OF.get(frame)
    axis = Axis(drawn.get_label_text()) if axes is None else axes[which == "y"]
    return {
        "name": visible(axis.name.removesuffix(" (%)") if axis.percent else axis.name),
        "limits": [float(low), float(high)],
        "log": drawn.get_scale() == "log",
        "percent": axis.percent,
        "fixed": bool(axis.labels),
    }


def _series(artist: Artist, stands_for: _Told, height: float) -> dict[str, Any]:
    """Return what a page has of a series: of each of some points its place in the drawing, and what it says."""
    points, color = _drawn(artist)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    kept = [*finite[:-1][:: max(-(-len(finite) // _MOST_POINTS), 1)], *finite[-1:]]
    lies = artist.get_offset_transform() if isinstance(artist, PathCollection) else artist.get_transform()
    places = lies.transform(points[kept]) if kept else np.empty((0, 2))
    scale = _INCH / artist.figure.dpi if artist.figure is not None else 1.0
    series = {
        "name": visible(stands_for.name),
        "color": OF_THE_PAGE.get(to_hex(color), to_hex(color)),
        "alone": stands_for.alone,
        "at": [[round(x * scale, 1), round(height - y * scale, 1)] for x, y in places.tolist()],
        "x": [_rounded(x) for x in points[kept, 0]],
    }
    if stands_for.heads is not None:
        series["heads"] = [visible(stands_for.heads[at]) for at in kept]
    if stands_for.texts is None:
        return {**series, "y": [_rounded(y) for y in points[kept, 1]]}
    return {**series, "texts": [visible(stands_for.texts[at]) for at in kept]}


def _cells(told: _Cells) -> dict[str, Any]:
    """Return what a page has of a heat map: of its cells, which follow from the frame, no places."""
    lists = {"columns": told.columns, "rows": told.rows, "texts": told.texts}
    seen = {name: [visible(text) for text in texts] for name, texts in lists.items()}
    return {"name": visible(told.name), "color": "#999999", "alone": True, **seen}


def _drawn(artist: Artist) -> tuple["np.ndarray[Any, Any]", Any]:
    """Return the points of an artist, (n, 2), and its color."""
    if isinstance(artist, Line2D):
        points = np.column_stack([np.asarray(values, np.float64) for values in artist.get_data(orig=False)])
        return points, artist.get_color() if artist.get_markerfacecolor() is None else artist.get_markeredgecolor()
    if isinstance(artist, PathCollection):
        colors = np.asarray(artist.get_facecolor())
        return np.asarray(artist.get_offsets(), np.float64).reshape(-1, 2), colors[0] if len(colors) else "#999999"
    if isinstance(artist, StepPatch):
        shares, borders, _ = artist.get_data()
        edges, values = np.asarray(borders, np.float64), np.asarray(shares, np.float64)
        return np.column_stack([(edges[:-1] + edges[1:]) / 2, values]), artist.get_facecolor()
    raise TypeError(f"{type(artist).__name__}: expected a line, a cloud or steps")


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _described(frames: Sequence[dict[str, Any]]) -> str:
    """Describe the series in words, with their numbers, for whoever does not see them."""
    sentences = []
    for frame in frames:
        x, y = frame["x"], frame["y"]
        of = " by ".join(name for name in (y["name"], x["name"]) if name)
        for series in frame["series"]:
            who = ", ".join(name for name in (series["name"], of) if name)
            places = _rows_in_words(series) if "rows" in series else _points_in_words(series, x, y)
            sentences.append(f"{who}: {'; '.join(places) or 'no value'}.")
    return " ".join(sentences)


def _points_in_words(series: dict[str, Any], x: dict[str, Any], y: dict[str, Any]) -> list[str]:
    texts = series.get("texts") or [_text(y, value) for value in series.get("y", [])]
    heads = series.get("heads") or [_text(x, value) for value in series["x"]]
    places = [f"{head}: {text}" if head else text for head, text in zip(heads, texts, strict=True)]
    if len(places) <= _TOLD_POINTS:
        return places
    by_height = sorted(range(len(places)), key=lambda at: -series["at"][at][1])
    outstanding = {"first": 0, "last": -1, "least": by_height[0], "greatest": by_height[-1]}
    return [f"{which} at {places[at]}" for which, at in outstanding.items()]


def _rows_in_words(series: dict[str, Any]) -> list[str]:
    """Say of each row of a heat map its first value and its last."""
    columns, said = series["columns"], []
    for number, row in enumerate(series["rows"]):
        texts = series["texts"][number * len(columns) : (number + 1) * len(columns)]
        known = [(column, text) for column, text in zip(columns, texts, strict=True) if text]
        said += [f"{row} from {known[0][1]} at {known[0][0]} to {known[-1][1]} at {known[-1][0]}"] if known else []
    return said


def _text(axis: dict[str, Any], value: float) -> str:
    return f"{100 * value:.{_DIGITS}g} %" if axis["percent"] else f"{value:.{_DIGITS}g}"
