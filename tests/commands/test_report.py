"""`bnexp report`: which runs it takes, what it says of their study, and where the page may lie."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import command_line
from bnexp.commands.report import report
from bnexp.config.loading import load_config
from bnexp.config.yaml_text import dump_yaml
from bnexp.errors import ConfigError

SWEEP = """\
question: Does bn < none?
base: {base}
axes: {{model.norm: [none, bn]}}
seeds: 3
claims:
  - {{claim: "bn is <ahead>", metric: accuracy/val, better: norm=bn, than: norm=none, at_least: 0.02}}
"""


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave figures out of pages: to draw them takes longer than all the rest."""
    monkeypatch.setattr("bnexp.document.page.to_svgs", lambda figures, styles: iter([""] * len(figures)))


@pytest.fixture
def study(tmp_path: Path, config_file: Path, write_run: Callable[..., Path]) -> Path:
    """Return a sweep file whose six runs lie in tmp_path/runs/study."""
    file = tmp_path / "study.yaml"
    file.write_text(SWEEP.format(base=config_file))
    for norm, accuracy in (("none", 0.8), ("bn", 0.9)):
        for seed in range(3):
            folder = tmp_path / "runs" / "study" / f"norm={norm}" / f"seed{seed}"
            meta = {"name": f"norm={norm}", "seed": seed}
            write_run(folder, meta=meta, accuracies=(0.5, accuracy + 0.02 * accuracy * seed))
            config = load_config(config_file, [f"model.norm={norm}", f"name=norm={norm}", f"seed={seed}"])
            (folder / "config.yaml").write_text(dump_yaml(config.model_dump(mode="json")))
    return file


@pytest.mark.usefixtures("undrawn")
def test_a_study_is_reported_by_its_file_and_by_its_folder(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, runs = tmp_path / "report.html", tmp_path / "runs"
    (runs / "study" / "sweep.yaml").write_text(study.read_text())
    for path in (str(study), str(runs / "study"), "study"):
        report(path, to=page, runs_dir=runs, data_dir=tmp_path)
        text = html.unescape(page.read_text()).replace("\\\n", "").replace("<code>", "`").replace("</code>", "`")
        text = " ".join(text.split())
        assert "Does bn < none?" in text
        assert "Supported:</strong> “bn is <ahead>”: the runs support it." in text
        assert "In favour of norm=bn over norm=none, by `accuracy/val:last`: +10.20 percentage points" in text
        assert "(95 % interval +9.70 to +10.70) over 3 seeds; at least 2.00 was claimed." in text
        assert "differs from norm=none in" in text  # the baseline of the claim
        assert "bnexp report again/study -o report.html" in text
        named = f"{study}" if path == str(study) else f"{runs / 'study' / 'sweep.yaml'} --name study"
        assert f"bnexp sweep {named} --runs-dir again" in text
        assert f"--runs-dir {runs} --data-dir {tmp_path} -o report.html" in text
        assert capsys.readouterr().out.startswith(f"{page}: written, ")
        assert "they were written afterwards" not in text
    assert [path.name for path in tmp_path.glob("*.html*")] == ["report.html"]
    study.write_text(study.read_text().replace("at_least: 0.02", "at_least: 0.01"))
    report(str(study), to=page, runs_dir=runs)
    assert "they were written afterwards" in page.read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_folder_whose_sweep_cannot_be_read_is_reported_without_verdicts(study: Path, tmp_path: Path) -> None:
    page, runs = tmp_path / "report.html", tmp_path / "runs"
    (runs / "study" / "sweep.yaml").write_text("base: gone.yaml\naxes: {model.norm: [none, bn]}\n")
    report("study", to=page, runs_dir=runs)
    assert "so that its claims are not judged" in page.read_text()
    assert "norm=bn" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "report.pdf"}, "-o report.pdf: expected a name that ends with .html; a browser prints the page as PDF"),
        ({"to": "taken.html"}, "-o taken.html: a file lies there that is no page"),
        ({"to": "nowhere/report.html"}, "-o nowhere/report.html: there is no folder "),
        ({"path": "othr.yaml"}, 'othr.yaml: no such file. Did you mean "other.yaml"?'),
        ({"path": "stydy"}, 'no such folder, here or in runs. Did you mean "study"?'),
        ({"path": "other.yaml"}, "no runs of it in runs/other; train them with: bnexp sweep other.yaml"),
    ],
)
def test_what_cannot_be_reported_is_refused_before_anything_is_written(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yaml").write_text(study.read_text())
    (tmp_path / "taken.html").write_text("a letter to my aunt")
    options = {"to": "report.html", **options}
    with pytest.raises(ConfigError) as refused:
        report(options.pop("path", None), to=Path(options.pop("to")), **options)
    assert message in str(refused.value)
    assert [path.name for path in tmp_path.glob("*.html")] == ["taken.html"]
    assert (tmp_path / "taken.html").read_text() == "a letter to my aunt"


def test_the_command_hands_its_options_on(study: Path, tmp_path: Path) -> None:
    options = ["--runs-dir", "runs", "--baseline", "norm=bm"]
    for place, message in (
        ("page.html", "--baseline norm=bm: no such arm"),
        ("page.pdf", "-o page.pdf: expected a name"),
    ):
        done = command_line.bnexp("report", str(study), *options, "-o", place, cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
