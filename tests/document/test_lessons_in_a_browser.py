"""All lessons in a real browser: no text lies over another, is cut, pale or too small, on any screen and on paper."""

from pathlib import Path
from typing import Any

import pytest

from bnexp.commands.explain import explain
from bnexp.document.page import to_html
from bnexp.document.table import number_table
from bnexp.lessons.request import LessonOptions
from bnexp.lessons.topics import TOPICS
from in_a_browser import A4, errors, measured, view

pytestmark = pytest.mark.long

VIEWS = [(width, "screen", dark) for width in (400, 900, 1280) for dark in (False, True)] + [(A4, "print", True)]

ON_PAPER = """
const all = (selector, key, value) => [...document.querySelectorAll(selector)]
    .filter(one => getComputedStyle(one)[key] !== value).map(one => `${key} of ${one.outerHTML.slice(0, 60)}`);
return [...all('h1, h2, figcaption, p:has(+ figure)', 'breakAfter', 'avoid'),
    ...all('figure, pre, tr', 'breakInside', 'avoid'), ...all('nav, .zoom', 'display', 'none')];
"""
"""Returns what a printer might part: a figure from its heading, a figure or a command in itself."""


SCROLLED = """
return [...document.querySelectorAll(".formula")].filter(one => one.scrollWidth > one.clientWidth)
    .map(one => `"${one.textContent.slice(0, 40)}" is wider than the page`);
"""
"""Finds formulas that have to be moved to be read; tables may have to."""
MOVED = """
const box = document.querySelector(".table"), before = box.scrollLeft;
box.scrollLeft = 200;
const moved = box.scrollLeft;
box.scrollLeft = before;
return moved;
"""
"""Returns how far the first table of the page can be moved, at most 200 pixels."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the pages of all lessons."""
    folder = tmp_path_factory.mktemp("pages")
    explain(None, LessonOptions(), html=folder, all=True)
    return folder


@pytest.mark.parametrize("name", ["index", *TOPICS])
def test_every_text_of_a_page_can_be_read(name: str, site: Path, browser: Any) -> None:
    view(browser, 1280)
    browser.get((site / f"{name}.html").as_uri())
    wrong = {}
    for width, medium, dark in VIEWS:
        view(browser, width, medium, dark=dark)
        count, found = measured(browser)
        assert count > 20
        found += browser.execute_script(SCROLLED)
        if found:
            wrong[f"{width} px, {medium}, {'dark' if dark else 'light'}"] = found
    assert wrong == {}
    assert browser.execute_script(ON_PAPER) == []
    assert errors(browser) == []


def test_from_the_index_one_comes_to_a_lesson_and_to_its_neighbors(site: Path, browser: Any) -> None:
    view(browser, 1280)
    browser.get((site / "index.html").as_uri())
    for link, reached in ((".lessons a", 0), ("nav [rel=next]", 1), ("nav [rel=prev]", 0)):
        browser.find_element("css selector", link).click()
        assert Path(browser.current_url).stem == list(TOPICS)[reached]


def test_a_wide_table_scrolls_inside_itself_on_a_screen_and_is_whole_on_paper(tmp_path: Path, browser: Any) -> None:
    names = [f"a name of column {number}" for number in range(15)]
    rows = [(f"example {row}", [(-10.0) ** column / 3 for column in range(-3, 12)]) for row in range(4)]
    page = tmp_path / "wide.html"
    page.write_text(to_html([number_table("wide", "many columns", names, rows, ("y = x",))]))
    view(browser, 1280)
    browser.get(page.as_uri())
    for width, medium, texts in ((400, "screen", 0), (1280, "screen", 0), (A4, "print", 4 * 15)):
        view(browser, width, medium)
        count, found = measured(browser)
        assert found == []
        assert count > texts
        moved = browser.execute_script(MOVED)
        assert (moved == 200) is (medium == "screen")


def test_what_is_measured_is_seen(tmp_path: Path, browser: Any) -> None:
    """A page with every mistake: the measure finds each of them."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><body style='margin: 0'><div style='position: absolute; top: 0'>below</div><div>above</div>"
        "<p style='width: 5rem; white-space: nowrap; overflow: hidden'>a line that is longer than its box</p>"
        "<p style='width: 5rem; white-space: nowrap; overflow: auto'>a line that can be moved to and fro</p>"
        "<p style='color: #777'>pale on white</p><p style='font-size: 8px'>small</p>"
        "<p style='background: #000; color: #fff'>white on <b style='color: #444'>black</b></p>"
        "<svg viewBox='0 0 100 20' width='100' height='20'><text y='15' fill='#aaa'>drawn</text></svg>"
        "<svg viewBox='0 0 100 20' width='50' height='10'><text y='15' font-size='12'>tiny</text></svg>"
        "<p style='white-space: nowrap; width: 1rem'>" + "far " * 400 + "</p>"
    )
    view(browser, 900)
    browser.get(page.as_uri())
    _, found = measured(browser)
    expected = [
        *('"below" lies over "above"', 'longer than its box" is cut by <P>', '" is cut at the edge of the page'),
        *('"pale on white" has a contrast of 4.48', '"black" has a contrast of 2.', '"drawn" has a contrast of 2.32'),
        *('"small" has letters of 8.0 pixels', '"tiny" has letters of 6.0 pixels', "the page is"),
    ]
    for one in expected:
        assert any(one in sentence for sentence in found), (one, found)
    assert len(found) == len(expected)
