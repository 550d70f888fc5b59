import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bnexp.analysis.runs import Divergence, read_run

Write = Callable[..., Path]


def test_a_finished_run(tmp_path: Path, write_run: Write) -> None:
    run = read_run(write_run(tmp_path / "mlp" / "seed3-2", config={"seed": 3}, accuracies=(0.5, 0.9, 0.8), test=0.85))
    assert (run.name, run.seed, run.repeat, run.status, run.problems) == ("mlp", 3, 2, "finished", ())
    assert run.config is not None
    assert "seed" not in run.config
    assert run.config["model.hidden"] == [256, 256]
    assert run.started == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (run.total_steps, run.steps_per_epoch) == (40, 10)
    figures = {"val_accuracy": 0.8, "val_accuracy_best": 0.9, "best_epoch": 2.0, "test_accuracy": 0.85, "step_ms": 1.5}
    assert figures.items() <= run.figures.items()
    assert run.environment == {
        "device": "a processor",
        "precision": "fp32",
        "threads": "2",
        "torch": "2.9.0",
        "bnexp": "0.1.0",
    }


def test_a_diverged_run_keeps_step_and_layer(tmp_path: Path, write_run: Write) -> None:
    where = {"step": 12, "epoch": 1.2, "layer": "block1.linear", "quantity": "activation"}
    folder = write_run(tmp_path / "seed0", meta={"status": "diverged"}, summary={"divergence": where, "test": None})
    run = read_run(folder)
    assert (run.status, run.divergence, run.problems) == ("diverged", Divergence(12, "block1.linear"), ())
    assert str(run.divergence) == "step 12 in block1.linear"
    assert "test_accuracy" not in run.figures


def test_the_summary_is_believed_before_meta(tmp_path: Path, write_run: Write) -> None:
    """A process killed between the two leaves a summary and a meta.json that still says running."""
    folder = write_run(tmp_path / "seed0")
    meta = folder / "meta.json"
    meta.write_text(meta.read_text().replace('"finished"', '"running"'))
    assert read_run(folder).status == "finished"


def test_running_with_and_without_its_process(tmp_path: Path, write_run: Write) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive = read_run(write_run(tmp_path / "seed0", meta={"status": "running", "pid": os.getpid()}))
    here = {"status": "running", "pid": gone.pid, "host": platform.node()}
    lost = read_run(write_run(tmp_path / "seed1", meta=here))
    elsewhere = read_run(write_run(tmp_path / "seed2", meta=here | {"host": "another machine"}))
    assert elsewhere.status == "running"
    assert (alive.status, alive.problems) == ("running", ())
    assert lost.status == "lost"
    assert f"no process {gone.pid} is here" in lost.problems[0]


@pytest.mark.parametrize("pid", [2**40, 0, -1, "x", None, True])
def test_an_impossible_process_number_is_no_proof(tmp_path: Path, write_run: Write, pid: object) -> None:
    assert read_run(write_run(tmp_path / "seed0", meta={"status": "running", "pid": pid})).status == "running"


def test_finished_without_a_summary_is_damaged_and_named(tmp_path: Path, write_run: Write) -> None:
    folder = write_run(tmp_path / "seed0")
    (folder / "summary.json").unlink()
    run = read_run(folder)
    assert run.status == "damaged"
    assert run.problems == (f"{folder / 'summary.json'}: missing, although meta.json says finished",)


def test_a_summary_without_accuracy_is_damaged_and_named(tmp_path: Path, write_run: Write) -> None:
    folder = write_run(tmp_path / "seed0", summary={"final": None, "best": None, "test": None})
    run = read_run(folder)
    assert (run.status, run.problems) == ("damaged", (f"{folder / 'summary.json'}: holds no accuracy",))


def test_an_empty_folder_tells_what_its_name_tells(tmp_path: Path) -> None:
    folder = tmp_path / "mlp" / "seed4-2"
    folder.mkdir(parents=True)
    run = read_run(folder)
    assert (run.name, run.seed, run.repeat, run.status, run.config) == ("mlp", 4, 2, "unknown", None)
    assert [name in " ".join(run.problems) for name in ("config.yaml", "meta.json")] == [True, True]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "fine"}, "unknown status 'fine'"),
        ({"status": 5}, "status is 5"),
        ({"started": "yesterday"}, "started is 'yesterday'"),
        ({"started": "0001-01-01T00:00:00+00:00"}, "started is '0001"),
        ({"plan": 3}, "plan is 3"),
        ({"versions": []}, "versions is []"),
    ],
)
def test_a_wrong_value_is_named_and_the_rest_is_kept(
    tmp_path: Path, write_run: Write, change: dict[str, object], said: str
) -> None:
    folder = write_run(tmp_path / "seed0", meta={**change, "status": change.get("status", "interrupted")})
    run = read_run(folder)
    assert run.name == "mlp"
    assert [str(folder / "meta.json") in problem and said in problem for problem in run.problems] == [True]
