"""`bnexp export`: rows of runs and of what they logged, in the forms that other programs read; one name a column."""

import csv
import io
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import bnexp
from bnexp.analysis import run_rows
from bnexp.analysis.run_rows import CURVES, Curves, read_metrics
from bnexp.cli import app
from bnexp.commands.export import export
from bnexp.errors import ConfigError
from bnexp.runs.columns import Columns
from bnexp.runs.find import find_runs
from bnexp.runs.run import FRACTIONS, NUMBERS, Run, read_run
from records import write_run

GUIDE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
MORE = {"skipped_steps": 0, "time.examples_per_s": 900.0}
DIVERGED = {"status": "diverged", "divergence": {"step": 12, "layer": "=head"}}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two arms of one name, of two seeds each; one run diverged, and one was repeated."""
    monkeypatch.chdir(tmp_path)
    for lr in (0.1, 0.3):
        for seed in range(2):
            config = {"seed": seed, "optimizer.lr": lr}
            ended = (
                {"meta": {"status": "diverged"}, "summary": DIVERGED} if (lr, seed) == (0.3, 1) else {"summary": MORE}
            )
            write_run(Path(f"runs/mlp/{lr}/seed{seed}"), config=config, accuracies=(0.5, 0.8), **ended)
    write_run(Path("runs/mlp/0.1/seed1-2"), config={"seed": 1}, meta={"started": "2026-03-02T12:00:00+00:00"})
    return Path("runs")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.usefixtures("runs")
def test_a_row_per_run_says_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    export([])
    rows = {row["run"]: row for row in rows_of(capsys.readouterr().out)}
    first, last = rows["runs/mlp/0.1/seed0"], rows["runs/mlp/0.3/seed1"]
    assert len(rows) == 5
    assert [first[key] for key in ("name", "arm", "seed", "status")] == ["mlp", "mlp (lr 0.1)", "0", "finished"]
    assert [first[key] for key in ("model.hidden", "optimizer.lr", "data.dataset")] == ["[256, 256]", "0.1", "mnist5k"]
    summary = json.loads(Path("runs/mlp/0.1/seed0/summary.json").read_text())
    places = {
        "val_accuracy": ("final", "accuracy"),
        "test_loss": ("test", "final", "loss"),
        "total_s": ("time", "total_s"),
    }
    for name, place in places.items():
        value: Any = summary
        for key in place:
            value = value[key]
        assert float(first[name]) == value
    assert (float(first["took_s"]), first["started"]) == (125.0, "2026-03-01T12:00:00+00:00")
    assert [last[key] for key in ("status", "diverged_step", "diverged_layer")] == ["diverged", "12", "'=head"]
    assert rows["runs/mlp/0.1/seed1-2"]["arm"] == rows["runs/mlp/0.1/seed1"]["arm"] == "mlp (lr 0.1)"


@pytest.mark.usefixtures("runs")
def test_a_column_has_one_name_wherever_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def columns_of(*arguments: str) -> set[str]:
        done = CliRunner().invoke(app, [*arguments, "--format", "csv"])
        assert done.exit_code == 0, done.output
        return set(next(csv.reader([done.stdout.splitlines()[0]])))

    exported, compared = columns_of("export"), columns_of("compare")
    assert exported == set(bnexp.load_runs().runs.columns)
    assert columns_of("ls") - {"differs"} <= exported  # from its neighbours in that table
    bare = {re.sub(r"_(mean|std|n)$", "", name) for name in compared}
    assert (
        bare - {"n", "diverged", "scored_on"} <= exported | FRACTIONS.keys() | NUMBERS.keys()
    )  # the first are of arms
    assert compared == set(bnexp.compare().arms.columns)
    for column in sorted(bare & exported):
        assert CliRunner().invoke(app, ["compare", "--sort", column]).exit_code == 0


def test_curves_are_the_rows_that_were_logged(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "mlp/0.1/seed0/metrics.jsonl").write_text(
        '{"step":3,"epoch":0.5,"loss/train":null}\n{"step":4,"x/y":1e-9}\n{"st'
    )
    export(["mlp/0.1"], conditions=["seed=0"], curves=True)
    assert capsys.readouterr().out.splitlines() == [
        ",".join(CURVES),
        "runs/mlp/0.1/seed0,mlp,0,3,0.5,loss/train,",
        "runs/mlp/0.1/seed0,mlp,0,4,,x/y,1e-09",
    ]
    export([], curves=True, form="json")
    document = json.loads(capsys.readouterr().out)
    expected = {
        (path.parent.as_posix(), row["step"], name, value)
        for path in runs.glob("**/metrics.jsonl")
        for row in map(json.loads, filter(lambda line: line.endswith("}"), path.read_text().splitlines()))
        for name, value in row.items()
        if name not in ("step", "epoch")
    }
    assert {tuple(row[key] for key in ("run", "step", "metric", "value")) for row in document["rows"]} == expected
    assert len(document["rows"]) == len(expected)
    assert {row["arm"] for row in document["rows"]} == {"mlp (lr 0.1)", "mlp (lr 0.3)"}
    assert document["notes"] == []


def test_one_run_is_read_at_a_time_and_a_damaged_file_is_a_note(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "mlp/0.3/seed0/metrics.jsonl").write_text('{"step":1,"loss/train":\n{"step":2,"loss/train":0.5}\n')
    asked = list[str]()

    def spied(run: Run, names: Sequence[str]) -> tuple[Columns, str | None]:
        asked.append(run.folder.as_posix())
        return read_metrics(run, names)

    monkeypatch.setattr(run_rows, "read_metrics", spied)
    curves = Curves([read_run(folder) for folder in find_runs([], runs)]).of_each_run()
    for count, rows in enumerate(curves, start=1):
        assert {row[0] for row in rows} == {asked[-1]}
        assert len(asked) == count
    assert len(asked) == 5
    export([], curves=True, to=Path("all.csv"))
    said = capsys.readouterr().err
    assert "all.csv: 5 runs, csv" in said
    assert "0.3/seed0/metrics.jsonl: 1 row cannot be read" in said


def test_what_cannot_be_written_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow, which is not installed; to install it: pip install pyarrow"):
        export([], to=Path("x.parquet"))
    with pytest.raises(
        ConfigError, match=r"--output x\.cvs: .*\.csv, \.parquet, \.json, or --format\. Did you mean \"csv\""
    ):
        export([], to=Path("x.cvs"))
    with pytest.raises(ConfigError, match=r"--where seed=7: no run has seed=7"):
        export([], conditions=["seed=7"])
    assert [path.name for path in Path().iterdir()] == [runs.name]


def test_parquet_keeps_types_and_values(runs: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    import pandas as pd

    export([], to=Path("runs.parquet"))
    export([], to=Path("curves.parquet"), curves=True)
    read, expected = pd.read_parquet("runs.parquet"), bnexp.load_runs().runs
    assert read["test_accuracy"].equals(expected["test_accuracy"])
    assert read["seed"].tolist() == expected["seed"].tolist()
    assert read["diverged_step"].dropna().tolist() == [12]
    assert read["model.hidden"].tolist() == ["[256, 256]"] * 5
    curves, logged = pd.read_parquet("curves.parquet"), bnexp.load_runs().metrics
    assert list(curves.columns) == list(CURVES)
    pd.testing.assert_frame_equal(curves[["step", "epoch", "value"]], logged[["step", "epoch", "value"]])
    with pytest.raises(ConfigError, match=r"expected -o FILE\.parquet"):
        export([], form="parquet")


@pytest.mark.usefixtures("runs")
def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^(bnexp .*)$", GUIDE, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        if "parquet" not in command:
            done = CliRunner().invoke(app, shlex.split(command)[1:])
            assert done.exit_code == 0, done.output
    export([])
    names = capsys.readouterr().out.splitlines()[0].split(",")
    explained = [
        name for line in re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE) for name in re.findall("`([^`]+)`", line)
    ]
    missing = [name for name in explained if name not in (*names, *CURVES) and not re.search(r"[A-Z.]", name)]
    assert not missing
