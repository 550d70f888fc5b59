"""Plots as files: their size, their fonts, the same bytes each time, and no text that covers another or is cut."""

import math
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bnexp.document.drawing import SIZES, Form, SizeName, drawn, in_our_style, letters_without_a_glyph, to_bytes
from bnexp.document.figure import styles_of
from bnexp.document.plots import Axis, Curve, Curves, Differences, Grid, HeatMap, Paired, Panel, Plot

NAN = math.nan
LONG = "_of $x_1$, and a name that is longer than the line of a legend in a column"
NAMES = ("norm=bn,lr=0.1", "norm=none,lr=0.1", LONG)
PERCENT, STEP = Axis("validation accuracy (%)", percent=True), Axis("step")
RATE = Axis("learning rate", log=True, ticks=[0.001, 0.01, 0.1, 1])
WORDS = Axis("model.hidden", labels=["2 x 100", "256-128-64-32", "a value of so many letters", "16 x 100"])
EXPLODING = Curve([0, 1, 2, 3], [1e-5, 1e-3, 0.1, 20], [NAN] * 4, [NAN] * 4, [1] * 4)


def curve(scale: float, diverged: tuple[tuple[float, int, int], ...] = ()) -> Curve:
    x = [10.0 * number for number in range(1, 21)]
    y = [scale * (1 - math.exp(-at / 60)) for at in x]
    return Curve(x, y, [value - 0.02 for value in y], [value + 0.03 for value in y], [3] * 20, diverged)


def swept(scale: float, fell: bool) -> Curve:
    y = [0.3 * scale, 0.7 * scale, 0.9 * scale, NAN if fell else 0.2 * scale]
    edges = [value - 0.1 for value in y], [value + 0.1 for value in y]
    return Curve(RATE.ticks, y, *edges, [3, 3, 3, 0 if fell else 3], [(0.1, 1, 3), (1, 3, 3)] if fell else [])


ARMS = {NAMES[0]: curve(0.95), NAMES[1]: curve(0.6, ((120, 1, 3), (125, 2, 3))), LONG: curve(0.8, ((90, 1, 3),))}
SWEPT = {"bn": swept(1, False), "none": swept(0.8, True), "ln": swept(0.85, True)}
RANGES = {name: replace(one, y=[NAN] * 20, diverged=[(90, 1, 3)] * (name == LONG)) for name, one in ARMS.items()}
CELLS = [[10.0 ** (column - row) for column in range(7)] + [NAN] for row in range(5)]
LAYERS = [f"block{row}.linear" for row in range(5)]
PAIRS = Paired([0, 1, 2], [0.01, -0.02, 0.03], [False, False, True], 0.0067, -0.05, 0.06)


def curves(key: str, *panels: Panel, band: str = "95% interval of the mean", same_y: bool = False) -> Curves:
    return Curves(key, f"title of {key}", f"caption of {key}", panels, band, same_y)


PLOTS: dict[str, Plot] = {
    "curves": curves("curves", Panel("", STEP, PERCENT, ARMS)),
    "axis": curves("axis", Panel("", RATE, PERCENT, SWEPT, "points")),
    "words": curves("words", Panel("", WORDS, Axis("gradient norm", log=True), {"bn": EXPLODING}, "points")),
    "percentiles": curves(
        "percentiles",
        *(Panel(name, Axis("step", log=True), Axis("input of x"), {name: one}, "edges") for name, one in ARMS.items()),
        same_y=True,
    ),
    "landscape": curves(
        "landscape",
        Panel("", STEP, Axis("loss along the gradient (nats)", log=True, ends=(0.0013, 1)), RANGES, "range"),
        Panel("", STEP, Axis("change of the gradient, relative"), RANGES, "range"),
        band="smallest to largest on the way",
    ),
    "heatmap": HeatMap(
        "heatmap",
        "title",
        "caption",
        STEP,
        Axis("layer"),
        Axis("gradient norm", log=True),
        [Grid(name, [1, 2, 5, 10, 20, 50, 1000, 20000], LAYERS, CELLS) for name in NAMES],
    ),
    "paired": Differences(
        "paired",
        "title",
        "caption",
        Axis("difference in validation accuracy (points) to norm=none", percent=True),
        "norm=none",
        dict.fromkeys(NAMES, PAIRS),
        "right",
    ),
}


def figure_of(plot: Plot, size: SizeName) -> Figure:
    with in_our_style(SIZES[size], plot.key), warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of a layout that found no room, or of a letter without a glyph
        figure = drawn(plot, SIZES[size])
        figure.draw_without_rendering()
    return figure


def texts_of(figure: Figure) -> Iterator[Text]:
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip() and text.get_window_extent().width:
            yield text


@pytest.mark.parametrize(("key", "size"), [*((key, "column") for key in PLOTS), ("axis", "slide"), ("paired", "slide")])
def test_no_text_covers_another_is_cut_or_too_small(key: str, size: SizeName) -> None:
    figure = figure_of(PLOTS[key], size)
    texts = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    assert len(texts) > 8
    for (one, box), (other, its) in combinations(texts, 2):
        apart = min(box.x1, its.x1) - max(box.x0, its.x0) < 1 or min(box.y1, its.y1) - max(box.y0, its.y0) < 1
        assert apart, (one, other)
    for text, box in [*texts, *(("legend", legend.get_window_extent()) for legend in figure.legends)]:
        inside = box.x0 > -1 and box.y0 > -1 and box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1
        assert inside, text
    assert min(text.get_fontsize() for text in texts_of(figure)) >= 7


@pytest.mark.parametrize(("size", "inches"), [("column", 3.3), ("page", 6.9), ("slide", 10)])
def test_a_picture_is_as_wide_as_what_it_is_for(size: SizeName, inches: float) -> None:
    svg = to_bytes(PLOTS["paired"], "svg", size).decode()
    width = re.search(r'width="([\d.]+)pt"', svg)
    assert width
    assert float(width[1]) == pytest.approx(72 * inches)
    assert "$x_1$" in svg  # a name is no formula, and text is text
    png = to_bytes(PLOTS["paired"], "png", size)
    (pixels,), (dots_a_meter,) = (struct.unpack(">I", png[at:][:4]) for at in (16, png.index(b"pHYs") + 4))
    assert pixels / (dots_a_meter * 0.0254) == pytest.approx(inches, rel=0.01)
    assert dots_a_meter * 0.0254 >= 199


def test_a_pdf_has_truetype_fonts_and_no_date_and_its_size() -> None:
    pdf = to_bytes(PLOTS["paired"], "pdf", "column")
    assert b"/FontFile2" in pdf
    assert b"DejaVuSans" in pdf
    assert b"/Type3" not in pdf.replace(b" ", b"")
    assert b"CreationDate" not in pdf
    width = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", pdf)
    assert width
    assert float(width[1]) == pytest.approx(72 * 3.3)
    assert to_bytes(PLOTS["paired"], "pdf", "column") == pdf


def test_the_same_plot_gives_the_same_bytes_whatever_matplotlib_was_told() -> None:
    forms: tuple[Form, ...] = ("png", "svg")
    first = [to_bytes(PLOTS["paired"], form) for form in forms]
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        assert [to_bytes(PLOTS["paired"], form) for form in forms] == first
        assert mpl.rcParams["font.size"] == 30
    assert b"dc:date" not in first[1]


def test_an_arm_has_one_color_in_every_plot_and_another_dash_in_grey() -> None:
    styles = styles_of(NAMES)
    for key in ("curves", "landscape"):
        figure = figure_of(PLOTS[key], "page")
        colors = {str(line.get_color()) for axes in figure.axes for line in axes.lines}
        assert {style.color for style in styles.values()} <= colors
    assert styles[NAMES[1]] == styles_of(["none"])["none"]
    assert len({style.dashes for style in styles.values()}) == len({style.marker for style in styles.values()}) == 3


def test_names_that_our_font_does_not_have_are_said() -> None:
    assert letters_without_a_glyph(PLOTS["curves"]) == ""
    assert (
        letters_without_a_glyph(curves("c", Panel("", STEP, PERCENT, {"\u6b63\u898f bn": ARMS[LONG]})))
        == "\u6b63\u898f"
    )


def test_steps_are_whole_numbers() -> None:
    few = Curve([10, 11], [0.1, 0.2], [NAN] * 2, [NAN] * 2, [1, 1])
    (axes,) = figure_of(curves("few", Panel("", STEP, PERCENT, {"bn": few})), "page").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "11"]


def test_values_beyond_the_ends_of_an_axis_leave_the_others_their_room() -> None:
    plot = PLOTS["curves"]
    assert isinstance(plot, Curves)
    (panel,) = plot.panels
    wide = replace(panel, y=Axis("loss", ends=(0.5, 1.0)))
    (axes,) = figure_of(replace(plot, panels=[wide]), "page").axes
    low, high = axes.get_ylim()
    assert high == pytest.approx(1.025)
    assert low < 0.45  # the strip of diverged runs lies below


def test_a_heat_map_shows_what_was_not_measured_and_one_scale_for_all() -> None:
    plot = PLOTS["heatmap"]
    assert isinstance(plot, HeatMap)
    figure = figure_of(plot, "page")
    meshes = [mesh for axes in figure.axes[:2] for mesh in axes.collections]
    assert meshes[0].norm is meshes[1].norm
    assert (meshes[0].norm.vmin, meshes[0].norm.vmax) == (1e-4, 1e6)
    assert np.ma.getmaskarray(meshes[0].get_array()).sum() == 5
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == LAYERS


def test_every_number_of_a_plot_is_among_its_numbers() -> None:
    values = PLOTS["curves"].numbers["curves"]
    assert values["validation accuracy (%)"][NAMES[0]]["y"] == list(ARMS[NAMES[0]].y)  # type: ignore[index]
