"""`bnexp ls`: one line a run, also of runs in progress and of damaged ones."""

import contextlib
import io
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bnexp.commands.ls import ls
from bnexp.document.show import Output
from bnexp.errors import ConfigError
from records import write_run

NOW = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
RUNNING = {"status": "running", "pid": os.getpid(), "ended": None, "started": "2026-03-01T12:05:00+00:00"}


def printed(folder: Path, output: Output = "table", **filters: Sequence[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        ls(folder, now=NOW, output=output, **filters)
    return out.getvalue()


def listed(folder: Path, **filters: Sequence[str]) -> list[str]:
    rows = json.loads(printed(folder, "json", **filters))["rows"]
    return [Path(row["run"]).relative_to(folder).as_posix() for row in rows]


def test_one_line_a_run_the_newest_first(tmp_path: Path) -> None:
    write_run(tmp_path / "plain" / "seed0")
    write_run(tmp_path / "bn" / "seed0", meta=RUNNING, accuracies=(0.5, 0.8))
    header, *lines, note = printed(tmp_path).splitlines()
    assert note == "note: sorted by started, the newest first"
    assert header.split()[:4] == ["run", "status", "epoch", "step"]
    assert [line.split()[:4] for line in lines] == [
        ["bn/seed0", "running", "2/4", "20/40"],
        ["plain/seed0", "finished", "4/4", "40/40"],
    ]
    assert lines[0].split()[-2:] == ["12:05", "5:00"]


def test_a_run_whose_rows_end_in_damage_is_listed_and_the_file_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "bn" / "seed0", meta=RUNNING)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{\n")
    out = printed(tmp_path)
    assert "40/40" in out
    assert f"note: {folder / 'metrics.jsonl'}: rows near the end cannot be read" in out


def test_json(tmp_path: Path) -> None:
    write_run(tmp_path / "plain" / "seed0", test=0.9)
    (row,) = json.loads(printed(tmp_path, "json"))["rows"]
    assert (row["run"], row["test_accuracy"], row["took_s"]) == ((tmp_path / "plain/seed0").as_posix(), 0.9, 125.0)


def test_filters_choose_by_status_and_by_the_config(tmp_path: Path) -> None:
    for name, status, rate in (("a", "finished", 0.1), ("b", "failed", 0.1), ("c", "interrupted", 1)):
        write_run(tmp_path / name / "seed0", config={"name": name, "optimizer.lr": rate}, meta={"status": status})
    assert listed(tmp_path, statuses=["failed"]) == ["b/seed0"]
    assert sorted(listed(tmp_path, statuses=["failed", "interrupted"])) == ["b/seed0", "c/seed0"]
    assert sorted(listed(tmp_path, conditions=["optimizer.lr=0.1"])) == ["a/seed0", "b/seed0"]
    assert listed(tmp_path, statuses=["failed"], conditions=["lr=0.1"]) == ["b/seed0"]
    assert listed(tmp_path, statuses=["running"]) == []
    note = "note: no run with status failed; there are: 1 interrupted"
    assert note in printed(tmp_path, statuses=["failed"], conditions=["lr=1"]).splitlines()
    with pytest.raises(ConfigError, match=r'--status finish: no such status\. Did you mean "finished"'):
        ls(tmp_path, statuses=["finish"])
    with pytest.raises(ConfigError, match=r"--where lr=2: no run has optimizer\.lr=2\. Values here: 0\.1 \(2 runs\)"):
        ls(tmp_path, conditions=["lr=2"])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError) as error:
        ls(tmp_path / "run")
    assert f'Did you mean "{tmp_path / "runs"}"' in str(error.value)


def test_a_folder_without_runs_tells_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bnexp train demo"):
        ls(tmp_path)
