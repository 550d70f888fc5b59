"""Tables and figures of a page in a real browser: they answer, and fit every width."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from bnexp.document.figure import Histogram, Lines, Scatter
from bnexp.document.page import to_html
from bnexp.document.plots import Axis, Curve, Curves, Differences, Grid, HeatMap, Paired, Panel
from bnexp.document.table import Cell, Column, Table, sort_rows, word
from bnexp.document.values import Heading
from in_a_browser import A4, errors, measured, view

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
ActionChains, Keys = webdriver.ActionChains, webdriver.Keys

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page with a table and a figure of every kind, whose names try to be markup."""
    page = tmp_path_factory.mktemp("page") / "page.html"
    page.write_text(to_html([Heading("<i>title</i>", 1), TABLE, *PLOTS], "bnexp <b>report</b>"))
    return page.as_uri()


EVIL = "<img src=x onerror=alert(1)>'\"&$x$"
ACCURACY, STEP = Axis("accuracy (%)", percent=True), Axis("step")


def curve(*y: float, x: tuple[float, ...] = (1, 10, 100), diverged: Sequence[tuple[float, int, int]] = ()) -> Curve:
    return Curve(x, y, [value - 0.01 for value in y], [value + 0.01 for value in y], [3] * len(y), diverged)


PLOTS = [
    Curves(
        "curves",
        "curves",
        "a caption",
        [Panel("", STEP, ACCURACY, {EVIL: curve(0.5, 0.7, 0.75), "none": curve(0.1, 0.2, 0.3, diverged=[(10, 1, 3)])})],
        "band",
        notes=[EVIL],
    ),
    Curves(
        "points", "points", "", [Panel("", Axis("rate", log=True), ACCURACY, {"bn": curve(0.1, 0.2, 0.3)}, "points")]
    ),
    HeatMap(
        "heat",
        "heat",
        "",
        STEP,
        Axis("layer"),
        Axis("norm"),
        [Grid("bn", [1, 10], [EVIL, "b"], [[1, 2], [3, float("nan")]])],
    ),
    Differences(
        "paired",
        "paired",
        "",
        Axis("points", percent=True),
        "none",
        {EVIL: Paired([0, 1, 2], [0.01, 0.02, 0.03], [False, True, False], 0.02, -0.005, 0.045)},
    ),
    Histogram("histogram", "histogram", (0.0, 0.5, 1.0), {"one": (0.25, 0.75)}),
    Scatter("scatter", "scatter", {"one": [(1.0, 0.5), (-1.0, 0.25)]}),
    Lines("lines", "lines", "epoch", (1.0, 2.0, 3.0), {"bn": (0.5, 0.6, 0.7)}),
]
TABLE = Table(
    (Column("arm", "arm"), Column("score", "score", "number", descending=True), Column("lr", "lr")),
    tuple(
        {"arm": word(arm), "score": Cell(f"{score}", score) if score is not None else Cell(), "lr": Cell(str(lr), lr)}
        for arm, score, lr in (("b", 9.0, 0.1), ("a10", None, "auto"), ("a9", 10.0, 1e-5), (EVIL, -2.0, 0.1))
    ),
    notes=(EVIL,),
    layout="arms",
)


APART = """
const middle = node => (box => [box.x + box.width / 2, box.y + box.height / 2])(node.getBoundingClientRect());
const [x, y] = middle(arguments[0].querySelector(".mark"));
const apart = [...arguments[0].querySelectorAll(".contents use")].map(middle);
return Math.min(...apart.map(([px, py]) => Math.hypot(px - x, py - y)));
"""
"""Returns how many pixels the mark lies from the nearest point that was drawn."""


IN_ITS_BAND = """
const [mark, band] = [".mark", "[class*=PolyCollection] use"].map(one =>
    arguments[0].querySelector(one).getBoundingClientRect());
return band.left < mark.left && band.top < mark.top + mark.height / 2 && band.bottom > mark.top + mark.height / 2
    && band.width > 2 * arguments[0].getBoundingClientRect().width;
"""
"""Tells whether the band of the first series lies around the mark, and is as much larger as was zoomed."""


def rows(browser: Any) -> list[str]:
    return [cell.text for cell in browser.find_elements("css selector", "table.sortable tbody th")]


def tip(plot: Any) -> str:
    return str(plot.find_element("tag name", "output").text)


PLACE = """
const [plot, frame, series, index] = arguments, svg = plot.querySelector("svg");
plot.scrollIntoView({block: "center"});
const box = svg.getBoundingClientRect();
const {box: [left, top, width, height], series: all} = JSON.parse(svg.dataset.plot).frames[frame], own = all[series];
const cell = (columns, rows) => [left + (index % columns + 0.5) / columns * width,
  top + (Math.floor(index / columns) + 0.5) / rows * height];
const at = new DOMPoint(...(own.at ? own.at[index] : cell(own.columns.length, own.rows.length)));
const {x, y} = at.matrixTransform(svg.getScreenCTM());
return [x - box.x - box.width / 2, y - box.y - box.height / 2].map(Math.round);
"""
"""Returns where on the screen a point or a cell of a figure lies, from its middle, as the pointer moves."""


def place_of(browser: Any, plot: Any, frame: int, series: int, index: int) -> list[int]:
    return list(browser.execute_script(PLACE, plot, frame, series, index))


def plots(browser: Any) -> list[Any]:
    """Return the figures that are seen at this width."""
    return [plot for plot in browser.find_elements("css selector", ".plot") if plot.is_displayed()]


def test_a_page_asks_for_nothing_and_its_table_sorts_as_a_command_does(answering: str, browser: Any) -> None:
    view(browser, 1280, "screen")
    browser.get(answering)
    heads = browser.find_elements("css selector", "table.sortable thead th")
    for head, column in zip(heads, TABLE.columns, strict=True):
        head.find_element("tag name", "button").click()
        assert head.get_attribute("aria-sort") == ("descending" if column.descending else "ascending")
        key = TABLE.columns[0]
        if column is key:
            assert rows(browser) == [EVIL, "a9", "a10", "b"]  # numbers in words by their size
        else:
            assert rows(browser) == [row["arm"].text for row in sort_rows(TABLE, column).rows]
    heads[1].find_element("tag name", "button").send_keys(Keys.ENTER, Keys.ENTER)
    assert rows(browser)[-1] == "a10"  # what is missing is last, whichever way
    assert heads[1].get_attribute("aria-sort") == "ascending"
    assert heads[2].get_attribute("aria-sort") is None
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert errors(browser) == []


def test_figures_say_the_values_under_the_pointer(answering: str, browser: Any) -> None:
    view(browser, 1280, "screen")
    browser.get(answering)
    expected = [
        ((0, 0, 2), ["step 100", f"{EVIL}: 75.00 (74.00 to 76.00), 3 runs", "none: 30.00 (29.00 to 31.00), 3 runs"]),
        ((0, 0, 1), ["rate 10", "bn: 20.00 (19.00 to 21.00), 3 runs"]),
        ((0, 0, 2), ["b, step 1", "bn: 3"]),
        ((0, 1, 0), ["seed 1", f"{EVIL}: 2.00, one of the pair diverged"]),
        ((0, 0, 1), ["0.5 to 1", "75 %"]),
        ((0, 0, 1), ["(-1, 0.25)"]),
        ((0, 0, 1), ["epoch 2", "bn: 0.6"]),
    ]
    for plot, (point, said) in zip(plots(browser), expected, strict=True):
        ActionChains(browser).move_to_element_with_offset(
            plot.find_element("tag name", "svg"), *place_of(browser, plot, *point)
        ).perform()
        assert tip(plot).splitlines() == said
    assert errors(browser) == []


def test_figures_zoom_by_dragging_and_by_keys_and_go_back(answering: str, browser: Any) -> None:
    view(browser, 1280, "screen")
    browser.get(answering)
    plot = plots(browser)[0]
    svg, (x, y) = plot.find_element("tag name", "svg"), place_of(browser, plots(browser)[0], 0, 0, 2)
    contents = plot.find_element("css selector", ".contents")
    ActionChains(browser).move_to_element_with_offset(svg, x - 60, y - 4).click_and_hold().move_by_offset(
        70, 30
    ).release().perform()
    drag = contents.get_attribute("transform")
    ticks = [float(tick.text) for tick in plot.find_elements("css selector", ".ticks text")]
    assert len(ticks) >= 6
    assert all(tick > 60 for tick in ticks)  # steps near 100, percent near 75
    plot.send_keys(Keys.END)
    assert "75.00" in tip(plot)
    assert browser.execute_script(APART, plot) < 1.5
    assert browser.execute_script(IN_ITS_BAND, plot)
    plot.send_keys("0")
    assert contents.get_attribute("transform") == "matrix(1 0 0 1 0 0)" != drag
    plot.send_keys("+", Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    assert tip(plot).splitlines()[:2] == ["step 10", "none: 20.00 (19.00 to 21.00), 3 runs"]
    plot.send_keys(Keys.ESCAPE)
    assert tip(plot) == ""
    plot.find_element("css selector", "button:last-child").click()
    assert contents.get_attribute("transform") == "matrix(1 0 0 1 0 0)"
    assert errors(browser) == []


@pytest.mark.parametrize(("width", "medium"), [(400, "screen"), (900, "screen"), (A4, "print")])
def test_a_page_fits_every_width_and_is_light_on_paper(answering: str, browser: Any, width: int, medium: str) -> None:
    view(browser, width, medium, dark=True)
    browser.get(answering)
    view(browser, width, medium, dark=True)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ink, paper = browser.execute_script(
        "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    )
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) > sum(map(int, re.findall(r"\d+", paper)[:3]))) is (
        medium == "screen"
    )
    _, found = measured(browser)
    assert [one for one in found if "cut at the edge" in one or "contrast" in one] == []
    assert browser.execute_script("return document.querySelectorAll('img, i, b:not(.tip b)').length") == 0
    assert errors(browser) == []
