"""The report of runs: its numbers can be found again by hand, and it says what limits them."""

import json
import re
import statistics
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.report import Study, report_on
from bnexp.document.page import to_html
from bnexp.document.table import Table
from bnexp.document.values import Part, Text
from bnexp.errors import ConfigError
from bnexp.runs.run import read_run

EVIL = "<script>alert('x')</script> & \"$x$\" ‮"
WriteRun = Callable[..., Path]


@pytest.fixture
def study(write_run: WriteRun, tmp_path: Path) -> list[Path]:
    """Return two arms with two seeds each."""
    folders = []
    for norm, shift in (("none", 0.0), ("bn", 0.05)):
        for seed in (0, 1):
            config = {"name": norm, "seed": seed, "model.norm": norm, "model.block": "linear -> norm -> relu"}
            accuracies = (0.5 + shift, 0.8 + shift - 0.01 * seed, 0.9 + shift, 0.88 + shift + 0.02 * seed)
            run = write_run(
                tmp_path / norm / f"seed{seed}", config=config, meta={"name": norm, "seed": seed}, accuracies=accuracies
            )
            folders.append(run)
    return folders


def report(folders: list[Path], study: Study | None = None, **options: Any) -> list[Part]:
    return report_on([read_run(folder) for folder in folders], study or Study("study"), **options)


def table(parts: list[Part], key: str) -> Table:
    """Return the first table with a column of this key."""
    return next(part for part in parts if isinstance(part, Table) and key in [column.key for column in part.columns])


def leads(parts: list[Part]) -> dict[str, str]:
    return {part.lead: part.text for part in parts if isinstance(part, Text) and part.lead}


class Page(HTMLParser):
    """Collects the tags of a page, its text without that of its script, and what its figures answer with."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text, self.plots = "", list[dict[str, Any]]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.plots += [json.loads(value or "") for key, value in attrs if key == "data-plot"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.text += data


def accuracies_in(folder: Path) -> dict[float, float]:
    """Return the validation accuracies of a run by epoch, read with plain Python."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {row["epoch"]: row["accuracy/val"] for row in rows if "accuracy/val" in row}


def test_numbers_are_found_again_in_the_rows_of_the_runs(study: list[Path]) -> None:
    parts = report(study)
    reached, of_runs = table(parts, "val_accuracy"), table(parts, "folder")
    for name in ("none", "bn"):
        own = [accuracies_in(folder)[4.0] for folder in study if folder.parent.name == name]
        cell = next(row["val_accuracy"] for row in reached.rows if row["name"].value == name)
        assert cell.text == f"{100 * statistics.fmean(own):.2f} ± {100 * statistics.stdev(own):.2f}"
    for row, folder in zip(of_runs.rows, study, strict=True):
        assert row["folder"].value == str(folder)
        assert row["val_accuracy"].text == f"{100 * accuracies_in(folder)[4.0]:.2f}"
    page = Page(to_html(parts))
    (frame,) = next(plot for plot in page.plots if plot["title"] == "Validation accuracy over the epochs")["frames"]
    for series in frame["series"]:
        own_runs = [accuracies_in(folder) for folder in study if folder.parent.name == series["name"]]
        means = [100 * statistics.fmean(run[epoch] for run in own_runs) for epoch in series["x"]]
        assert [text.partition(" ")[0] for text in series["texts"]] == [f"{mean:.2f}" for mean in means]
        assert series["heads"] == [f"epoch {epoch}" for epoch in (1, 2, 3, 4)]


def test_arms_are_told_by_what_differs_from_the_baseline(study: list[Path]) -> None:
    for options, base, other in (({}, "none", "bn"), ({"baseline": "bn"}, "bn", "none")):
        differences = table(report(study, **options), "config")
        assert differences.columns[1].header == f"differs from {base} in"
        assert [(row["arm"].text, row["config"].text) for row in differences.rows] == [
            (base, f"the baseline: model.norm = {base}"),
            (other, f"model.norm = {other}"),
        ]
    with pytest.raises(ConfigError, match=r"--baseline ban: no such arm. Did you mean \"bn\"\?"):
        report(study, baseline="ban")


def test_what_anybody_wrote_is_text(write_run: WriteRun, tmp_path: Path) -> None:
    config = {"name": EVIL, "model.block": EVIL}
    folder = write_run(tmp_path / "<img src=x>" / "seed0", config=config, meta={"name": EVIL, "device_name": EVIL})
    study = Study(EVIL, EVIL, f"{EVIL}.yaml", EVIL, EVIL, on_claims=[EVIL], unjudged=EVIL, notes=[EVIL])
    page = Page(to_html(report([folder], study), EVIL))
    assert page.tags.count("script") == 1
    assert not {"img", "b", "i"} & set(page.tags)
    assert page.text.count("<script>alert('x')</script>") >= 8
    assert "‮" not in page.text
    assert all(EVIL[:20] in series["name"] for plot in page.plots for f in plot["frames"] for series in f["series"])


def test_runs_of_every_state_are_in_the_report_and_said(study: list[Path], write_run: WriteRun, tmp_path: Path) -> None:
    diverged = write_run(
        tmp_path / "bn" / "seed2",
        config={"name": "bn", "seed": 2, "model.norm": "bn", "model.block": "linear -> norm -> relu"},
        meta={"name": "bn", "seed": 2, "status": "diverged"},
        summary={"divergence": {"step": 12, "layer": "block1.linear"}},
    )
    stopped = write_run(tmp_path / "ln" / "seed0", config={"name": "ln"}, meta={"name": "ln", "status": "interrupted"})
    broken = write_run(tmp_path / "gn" / "seed0", config={"name": "gn", "model.norm": "gn"}, meta={"name": "gn"})
    (broken / "metrics.jsonl").write_text('{"step": 1, "epoch": 0.1, "accuracy/val": oops}\n')
    (broken / "config.yaml").write_text("{")
    parts = report([*study, diverged, stopped, broken])
    assert leads(parts)["Not complete"].startswith("1 interrupted, of 7 runs")
    assert leads(parts)["Diverged"].startswith("1 of 3 in bn")
    assert "judges nothing" in leads(parts)["No verdict"]
    reached, differences, of_runs = (table(parts, key) for key in ("val_accuracy", "config", "folder"))
    assert {row["status"].text for row in of_runs.rows} >= {"diverged at step 12 in block1.linear", "interrupted"}
    assert "its config cannot be read" in [row["config"].text for row in differences.rows]
    assert any("metrics.jsonl" in note for note in reached.notes)
    assert any("n = 1" in note for note in reached.notes)
    page = to_html(parts)
    assert "1 of 3 diverged" in page
    assert "<h2>Figures</h2>" in page
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers)) > 1


def test_runs_without_anything_to_draw_or_to_reproduce_have_a_report(write_run: WriteRun, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "mlp" / "seed0", meta={"status": "running"}, accuracies=())
    (folder / "config.yaml").unlink()
    page = Page(to_html(report([folder])))
    assert "nothing yet that is drawn" in page.text
    assert page.plots == []
    assert re.search(r"bnexp report --runs-dir again -o report\.html", page.text)
