"""A page in a real browser: how it is shown, and a measure of what is wrong with its texts."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
A4 = 794 - 2 * 53
"""Pixels of a sheet between the margins of 14 mm."""
LEAST_CONTRAST, LEAST_LETTER = 4.5, 9.5
"""Of a text to what is behind it, and pixels of a letter."""

MEASURE = """
const [leastContrast, leastLetter] = arguments, found = [], boxes = [], all = [];
const root = document.documentElement;
const scrolls = style => ['auto', 'scroll'].includes(style.overflowX);
const colorOf = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const over = ([r, g, b, a = 1], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a)];
const light = color => color.slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
};
const behind = element => {
    const layers = [];
    for (let above = element; above; above = above.parentElement) {
        const color = colorOf(getComputedStyle(above).backgroundColor);
        if ((color[3] ?? 1) > 0) layers.push(color);
        if ((color[3] ?? 1) === 1) break;
    }
    const canvas = getComputedStyle(root).colorScheme.startsWith('dark') ? [18, 18, 18] : [255, 255, 255];
    return layers.reduceRight((below, layer) => over(layer, below), canvas);
};
const seen = (name, element, box) => {
    let {left, right, top, bottom} = box;
    if (right - left <= 0 || bottom - top <= 0) return;
    for (let above = element; above && above !== document.body; above = above.parentElement) {
        const style = getComputedStyle(above), frame = above.getBoundingClientRect();
        const clips = above.tagName === 'svg' || style.overflowX !== 'visible' || style.overflowY !== 'visible';
        if (!clips) continue;
        if (scrolls(style)) [left, right] = [Math.max(left, frame.left), Math.min(right, frame.right)];
        if (left < frame.left - 1 || right > frame.right + 1 || top < frame.top - 2 || bottom > frame.bottom + 2)
            found.push(`"${name}" is cut by <${above.tagName}>`);
        if (left >= right) return;
    }
    if (left < -0.5 || right > root.clientWidth + 0.5) found.push(`"${name}" is cut at the edge of the page`);
    boxes.push({name, element, left, right, top, bottom});
};
const judged = (name, element) => {
    const style = getComputedStyle(element), svg = element.closest('svg');
    const paint = colorOf(svg ? style.fill : style.color), below = behind(element);
    const ratio = contrast(over(paint, below), below);
    if (ratio < leastContrast) found.push(`"${name}" has a contrast of ${ratio.toFixed(2)}`);
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = parseFloat(style.fontSize) * scale;
    if (size < leastLetter) found.push(`"${name}" has letters of ${size.toFixed(1)} pixels`);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || element.closest('math, desc, title, script')) continue;
    const name = node.data.trim().slice(0, 40), range = document.createRange();
    range.selectNodeContents(node);
    const lines = [...range.getClientRects()];
    for (const box of lines) seen(name, element, box);
    if (lines.length) judged(name, element);
}
for (const math of document.querySelectorAll('math')) {  // whose own parts lie above and below each other
    seen(math.getAttribute('alttext'), math, math.getBoundingClientRect());
    judged(math.getAttribute('alttext'), math);
}
boxes.sort((one, other) => one.top - other.top);
boxes.forEach((one, index) => {
    for (let next = index + 1; next < boxes.length && boxes[next].top < one.bottom - 2; next++) {
        const other = boxes[next];
        const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        if (width > 1 && Math.min(one.bottom, other.bottom) - other.top > 3 && one.element !== other.element)
            found.push(`"${one.name}" lies over "${other.name}"`);
    }
});
if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} pixels wide`);
return [boxes.length, found];
"""
"""Finds the texts of a page that lie over another, are cut, pale or too small; returns how many texts, and what."""


def started(profile: Path) -> Iterator[Any]:
    """Yield a browser that keeps its profile in a folder, and end it; skip the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (BROWSER and DRIVER):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    browser.set_script_timeout(120)  # a busy machine is none that hangs
    yield browser
    browser.quit()


def view(browser: Any, width: int, medium: str = "screen", *, dark: bool = False) -> None:
    """Show the page as wide as a screen, or as a sheet of paper within its margins."""
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": [scheme]})


def measured(browser: Any) -> tuple[int, list[str]]:
    """Return how many texts the page shows, and what is wrong with them."""
    count, found = browser.execute_script(MEASURE, LEAST_CONTRAST, LEAST_LETTER)
    return count, list(found)


def errors(browser: Any) -> list[str]:
    """Return what the page complained of since it was asked last."""
    return [entry["message"] for entry in browser.get_log("browser")]
