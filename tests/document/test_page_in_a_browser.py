"""Every page of a lesson in a real browser: no text lies over another, and none is cut, on any screen and on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bnexp.document.page import to_html
from bnexp.lessons.registry import LESSONS
from bnexp.lessons.request import LessonOptions, request_of

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium or chromedriver is not installed"),
    pytest.mark.long,
]

A4 = (794, 1123)
"""Pixels of a sheet; a printer leaves margins of 38 of them."""

MEASURE = """
const boxes = [];
const seen = node => {
    const name = node.textContent.trim().slice(0, 40);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects())
        if (box.width > 0 && box.height > 0) boxes.push({name, node, box});
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) if (walker.currentNode.data.trim()) seen(walker.currentNode);

const found = [];
boxes.sort((one, other) => one.box.top - other.box.top);
boxes.forEach((one, index) => {
    for (let next = index + 1; next < boxes.length && boxes[next].box.top < one.box.bottom - 2; next++) {
        const other = boxes[next];
        const width = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
        const height = Math.min(one.box.bottom, other.box.bottom) - other.box.top;
        if (width > 1 && height > 2) found.push(`"${one.name}" lies over "${other.name}"`);
    }
    if (one.box.left < -0.5 || one.box.right > document.documentElement.clientWidth + 0.5)
        found.push(`"${one.name}" is cut at the edge of the page`);
    for (let above = one.node.parentElement; above !== document.body; above = above.parentElement) {
        const style = getComputedStyle(above), frame = above.getBoundingClientRect();
        const clips = above.tagName === 'svg' || style.overflowX !== 'visible' || style.overflowY !== 'visible';
        if (clips && (one.box.left < frame.left - 1 || one.box.right > frame.right + 1
                      || one.box.top < frame.top - 2 || one.box.bottom > frame.bottom + 2))
            found.push(`"${one.name}" is cut by <${above.tagName}>`);
    }
});
return [boxes.length, found];
"""
"""Finds the boxes of all texts of a page, line by line; returns how many, and what lies over another or is cut."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page of each lesson."""
    folder = tmp_path_factory.mktemp("pages")
    for topic, lesson in LESSONS.items():
        (folder / f"{topic}.html").write_text(to_html(lesson(request_of(topic, LessonOptions()))))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


def view(browser: Any, width: int, medium: str) -> None:
    """Show the page as wide as a screen, or as a sheet of paper within its margins."""
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium})


VIEWS = [(400, "screen"), (900, "screen"), (1280, "screen"), (A4[0] - 2 * 38, "print")]


@pytest.mark.parametrize("topic", list(LESSONS))
def test_no_text_lies_over_another_and_none_is_cut(topic: str, pages: Path, browser: Any) -> None:
    view(browser, 1280, "screen")
    browser.get((pages / f"{topic}.html").as_uri())
    for width, medium in VIEWS:
        view(browser, width, medium)
        count, found = browser.execute_script(MEASURE)
        assert count > 20
        assert found == [], f"at {width} px, {medium}"


def test_what_is_measured_is_seen(tmp_path: Path, browser: Any) -> None:
    """A page with every mistake: the measure finds each of them."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><body style='margin: 0'><div style='position: absolute; top: 0'>below</div><div>above</div>"
        "<p style='width: 5rem; white-space: nowrap; overflow: hidden'>a line that is longer than its box</p>"
        "<p style='white-space: nowrap; width: 1rem'>" + "far " * 400 + "</p>"
    )
    view(browser, 900, "screen")
    browser.get(page.as_uri())
    _, found = browser.execute_script(MEASURE)
    assert any("lies over" in one for one in found)
    assert any("is cut by <P>" in one for one in found)
    assert any("is cut at the edge" in one for one in found)
