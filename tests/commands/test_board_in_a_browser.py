"""What a person finds on the pages of `bnexp board`, in a real browser."""

import contextlib
import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.commands.train import train
from bnexp.runs.folder import METRICS
from bnexp.session.board import charts_for
from command_line import program

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
wait = pytest.importorskip("selenium.webdriver.support.wait", reason="selenium is not installed")

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium or chromedriver is not installed")

PATIENCE_SECS = 120
"""On a busy machine; each page is there within a few seconds elsewhere."""
NORMS = ["bn", "none"]

SEARCH = """
const inside = (root, selector) => [...root.querySelectorAll('*')].flatMap(element => [
    ...(element.matches(selector) ? [element] : []),
    ...(element.shadowRoot ? inside(element.shadowRoot, selector) : [])]);
const text = node =>
    node.nodeType === Node.TEXT_NODE ? node.data :
    node.nodeName === 'STYLE' ? '' :
    node.nodeName === 'SLOT' ? ' ' + node.assignedNodes().map(text).join('') :
    node.shadowRoot ? text(node.shadowRoot) : [...node.childNodes].map(text).join('');
const parts = (element, selector) => [element, element.shadowRoot].flatMap(root => root ? inside(root, selector) : []);
const [selector, part] = arguments;
return inside(document, selector).map(
    element => [text(element).replace(/\\s+/g, ' ').trim(), part ? parts(element, part).length : 0]);
"""
"""Finds elements through every shadow root; gives the text of each, and how many of a kind of parts it has."""


class Page:
    """The open page; whatever is asked of it, it waits for."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def open(self, plugin: str) -> None:
        """Click the tab of a plugin."""
        tabs = ("css selector", f"[data-plugin-id={plugin}]")
        self._wait(lambda: self._browser.find_elements(*tabs), f"tab {plugin}")[0].click()

    def texts(self, selector: str, *parts: str) -> list[str]:
        """Return the texts of the elements that match, as soon as each of `parts` is in one of them."""

        def found() -> list[str] | None:
            texts = [text for text, _ in self._browser.execute_script(SEARCH, selector, None)]
            return texts if all(any(part in text for text in texts) for part in parts) else None

        return self._wait(found, f"{selector}: {parts}")

    def holds(self, selector: str, count: int, part: str) -> None:
        """Wait until `count` elements match and each has such a part."""

        def complete() -> bool:
            parts = [number for _, number in self._browser.execute_script(SEARCH, selector, part)]
            return len(parts) == count and all(parts)

        self._wait(complete, f"{count} x {selector} with {part}")

    def _wait(self, condition: Any, message: str) -> Any:
        return wait.WebDriverWait(self._browser, PATIENCE_SECS).until(lambda _: condition(), message)


@contextlib.contextmanager
def board_on(runs: Path, expected: list[str]) -> Iterator[str]:
    """Serve the runs until the context ends; gives the address once all of them are read to their last event."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program(), "board", str(runs), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            for _ in range(1000):  # TensorBoard reads the folder in a thread of its own
                with urllib.request.urlopen(found[0] + "data/plugin/scalars/tags", timeout=10) as answer:
                    tags = json.load(answer)
                if all("accuracy/test_best" in tags.get(run, ()) for run in expected):
                    break
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


@contextlib.contextmanager
def browsing(url: str, profile: Path) -> Iterator[Page]:
    """Open an address in a window of its own, which closes with the context."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1600,1200"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    browser.set_script_timeout(PATIENCE_SECS)
    try:
        browser.get(url)
        yield Page(browser)
    finally:
        browser.quit()


@pytest.mark.long
def test_a_person_finds_both_runs_on_every_page(config_file: Path, tmp_path: Path) -> None:
    looks = [f"probes.{probe}.every=2" for probe in ("gradients", "activations", "updates", "norm_state", "histograms")]
    place = {"runs_dir": tmp_path / "runs", "quiet": True, "device": "cpu"}
    runs = {
        norm: train([config_file], overrides=[f"model.norm={norm}", *looks], name=norm, **place)[0] for norm in NORMS
    }
    names = [f"{norm}/seed0" for norm in NORMS]
    with (
        board_on(tmp_path / "runs", names) as url,
        browsing(f"{url}?tagFilter=gradient_norm/(total|head)#timeseries", tmp_path / "profile") as page,
    ):
        finds_runs_and_charts_by_tag(page, names)
        finds_custom_charts(page, [run.folder for run in runs.values()])
        finds_histograms(page, names)
        finds_the_table(page, {norm: run.summary for norm, run in runs.items()})


def finds_runs_and_charts_by_tag(page: Page, names: list[str]) -> None:
    page.texts("runs-data-table tb-data-table-content-row", *names)
    page.texts("scalar-card", "gradient_norm/total", "gradient_norm/head")
    page.texts("scalar-card tb-data-table-content-row", *names)
    page.holds("scalar-card line-chart", 2, "svg path, canvas")


def finds_custom_charts(page: Page, folders: list[Path]) -> None:
    rows = [json.loads(line) for folder in folders for line in (folder / METRICS).read_text().splitlines()]
    expected = charts_for({tag for row in rows for tag in row})
    assert list(expected) == ["training", "gradients", "activations", "updates", "norms", "running statistics"]
    titles = [title for charts in expected.values() for title in charts]
    page.open("custom_scalars")
    categories = page.texts("tf-category-paginated-view", *expected)
    assert [text.split(maxsplit=1)[0] for text in categories] == [title.split(maxsplit=1)[0] for title in expected]
    page.texts("tf-custom-scalar-multi-line-chart-card", *titles)
    page.holds("tf-custom-scalar-multi-line-chart-card", len(titles), "path.line[d^=M]")


def finds_histograms(page: Page, names: list[str]) -> None:
    page.open("histograms")
    page.texts("tf-histogram-loader", *(f"activation/head {name}" for name in names))
    of_runs = [3 + 2 + 2 + 3 + 2, 3 + 2 + 3]  # layers, norms and activations; below, only what has a gradient
    page.holds("tf-histogram-loader", sum(of_runs), "g.histogram path")


def finds_the_table(page: Page, summaries: dict[str, dict[str, Any]]) -> None:
    page.open("hparams")
    expected = {norm: [shown(value) for value in figures_of(summary)] for norm, summary in summaries.items()}
    rows = page.texts("#items tr", *(f"{norm}/seed0" for norm in summaries), *itertools.chain(*expected.values()))
    for norm, figures in expected.items():
        (row,) = (row for row in rows if row.startswith(f"{norm}/seed0 "))
        assert row.startswith(f"{norm}/seed0 {norm} linear -> norm -> act ")  # the key that differs, before the others
        assert set(figures) <= set(row.split())


def figures_of(summary: dict[str, Any]) -> list[float]:
    final, test = summary["final"], summary["test"]
    return [
        final["accuracy"],
        final["loss"],
        test["final"]["accuracy"],
        test["final"]["loss"],
        test["best"]["accuracy"],
    ]


def shown(value: float) -> str:
    """Write a figure as TensorBoard does: a float32 with five significant digits."""
    return f"{np.float32(value):#.5g}"
