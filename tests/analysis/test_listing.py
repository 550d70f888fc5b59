import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.listing import list_runs
from bnexp.document.table import Table
from bnexp.runs.run import read_run

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2026, 3, 1, 14, 10, tzinfo=ZONE)
RUNNING = {"status": "running", "pid": os.getpid(), "ended": None}


@pytest.fixture
def list_of(tmp_path: Path, write_run: Callable[..., Path]) -> Callable[..., Table]:
    def make(*runs: dict[str, Any]) -> Table:
        folders = [write_run(tmp_path / f"mlp{number}" / "seed0", **run) for number, run in enumerate(runs)]
        return list_runs([read_run(folder) for folder in folders], tmp_path, NOW)

    return make


def texts(table: Table, row: int = 0) -> dict[str, str]:
    return {column.key: table.cell(table.rows[row], column).text for column in table.columns}


def test_a_finished_run(list_of: Callable[..., Table]) -> None:
    assert texts(list_of({"accuracies": (0.5, 0.8, 0.9, 0.88), "test": 0.87})) == {
        "run": "mlp0/seed0",
        "status": "finished",
        "role": "-",
        "differs": "",
        "epochs": "4/4",
        "steps": "40/40",
        "val_loss": "0.1000",
        "val_accuracy": "88.00",
        "val_accuracy_best": "90.00",
        "test_accuracy": "87.00",
        "started": "14:00",
        "took_s": "2:05",
        "parameters": "335,114",
        "data_fingerprint": "-",
    }


def test_a_run_in_progress_tells_how_far_it_is(tmp_path: Path, list_of: Callable[..., Table]) -> None:
    folder = tmp_path / "mlp0" / "seed0"
    list_of({"meta": RUNNING, "accuracies": (0.5, 0.8)})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step":25,"epoch":2.5,"loss/train":0.1}\n{"step":26,"epo')
    shown = texts(list_runs([read_run(folder)], tmp_path, NOW))
    keys = ("status", "epochs", "steps", "val_loss", "val_accuracy", "val_accuracy_best", "test_accuracy", "took_s")
    assert [shown[key] for key in keys] == ["running", "2.5/4", "25/40", "0.3000", "80.00", "-", "-", "10:00"]


def test_a_run_that_has_logged_nothing_yet(list_of: Callable[..., Table]) -> None:
    shown = texts(list_of({"meta": RUNNING, "accuracies": ()}))
    assert [shown[key] for key in ("epochs", "steps", "val_accuracy")] == ["-", "0/40", "-"]


def test_the_newest_comes_first_and_the_unknown_last(list_of: Callable[..., Table]) -> None:
    starts = ["2026-02-28T12:00:00+00:00", None, "2026-03-01T11:00:00+00:00", "2025-03-01T11:00:00+00:00"]
    table = list_of(*({"meta": {"started": start}} for start in starts))
    assert [texts(table, row)["run"][:4] for row in range(4)] == ["mlp2", "mlp0", "mlp3", "mlp1"]
    assert [texts(table, row)["started"] for row in range(4)] == ["13:00", "02-28 14:00", "2025-03-01", "-"]


def test_a_run_listed_by_itself_has_a_name(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    folder = write_run(tmp_path / "mlp" / "seed0")
    assert texts(list_runs([read_run(folder)], folder, NOW))["run"] == "mlp/seed0"


def test_what_a_run_is_for_has_a_column_where_some_are_no_final_ones(list_of: Callable[..., Table]) -> None:
    table = list_of({}, {"meta": {"role": "tuning", "started": "2026-02-28T12:00:00+00:00"}})
    assert [texts(table, row)["role"] for row in range(2)] == ["-", "tuning"]
    assert "role" in [column.key for column in table.columns_for("people")]
    assert "role" not in [column.key for column in list_runs([], Path(), NOW).columns_for("people")]


def test_an_end_before_the_start_is_no_duration(list_of: Callable[..., Table]) -> None:
    assert texts(list_of({"meta": {"ended": "2026-02-01T12:00:00+00:00"}}))["took_s"] == "-"


def test_the_pause_between_two_sessions_is_not_counted(list_of: Callable[..., Table]) -> None:
    """Started at 12:00 for 90 s; continued at 12:05:00, and ended at 12:06:40 or running still, at 12:10."""
    again = {"ended": "2026-03-01T12:06:40+00:00", "continued": "2026-03-01T12:05:00+00:00", "earlier_s": 90}
    table = list_of({"meta": again}, {"meta": {**again, **RUNNING}})
    assert sorted(texts(table, row)["took_s"] for row in range(2)) == ["3:10", "6:30"]


@pytest.mark.parametrize("number", [1, 3])
def test_how_stopped_runs_go_on_is_said_once(tmp_path: Path, list_of: Callable[..., Table], number: int) -> None:
    list_of(*({"meta": {"status": status}} for status in ("interrupted", "failed", "interrupted")[:number]))
    folders = [tmp_path / f"mlp{index}" / "seed0" for index in range(number)]
    order = () if number == 1 else ("sorted by started, the newest first",)
    assert list_runs([read_run(folder) for folder in folders], tmp_path, NOW).notes == order
    for folder in folders:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "step10.pt").touch()
    *_, note = list_runs([read_run(folder) for folder in folders], tmp_path, NOW).notes
    many = "1 run can be resumed" if number == 1 else "3 runs can be resumed, such as the newest"
    assert note == f"{many}: bnexp resume {folders[0]}"
