import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bnexp.runs.process import this_process
from bnexp.runs.run import Record, RecordedDivergence, read_run

Write = Callable[..., Path]


@pytest.fixture
def record(tmp_path: Path) -> Callable[[str], Record]:
    def write(text: str) -> Record:
        (tmp_path / "meta.json").write_text(text)
        return Record(tmp_path / "meta.json")

    return write


def test_a_finished_run(tmp_path: Path, write_run: Write) -> None:
    run = read_run(write_run(tmp_path / "mlp" / "seed3-2", config={"seed": 3}, accuracies=(0.5, 0.9, 0.8), test=0.85))
    assert (run.name, run.seed, run.repeat, run.status, run.problems) == ("mlp", 3, 2, "finished", ())
    assert run.config is not None
    assert run.config["seed"] == 3
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
        "commit": "a" * 40,
    }


def test_a_diverged_run_keeps_step_and_layer(tmp_path: Path, write_run: Write) -> None:
    where = {"step": 12, "epoch": 1.2, "layer": "block1.linear", "quantity": "activation"}
    folder = write_run(tmp_path / "seed0", meta={"status": "diverged"}, summary={"divergence": where, "test": None})
    run = read_run(folder)
    assert (run.status, run.divergence, run.problems) == ("diverged", RecordedDivergence(12, "block1.linear"), ())
    assert str(run.divergence) == "step 12 in block1.linear"
    assert "test_accuracy" not in run.figures


def test_the_summary_is_believed_before_meta(tmp_path: Path, write_run: Write) -> None:
    """A process killed between the two leaves a summary and a meta.json that still says running."""
    folder = write_run(tmp_path / "seed0")
    meta = folder / "meta.json"
    meta.write_text(meta.read_text().replace('"finished"', '"running"'))
    assert read_run(folder).status == "finished"


def test_running_with_and_without_its_process(tmp_path: Path, write_run: Write) -> None:
    here = {"status": "running", **ended_process()}
    alive = read_run(write_run(tmp_path / "seed0", meta={"status": "running", "pid": os.getpid()}))
    dead = read_run(write_run(tmp_path / "seed1", meta=here))
    elsewhere = read_run(write_run(tmp_path / "seed2", meta=here | {"host": "another machine"}))
    assert elsewhere.status == "running"
    assert (alive.status, alive.problems) == ("running", ())
    assert dead.status == "dead"
    assert f"process {here['pid']} is gone: it was killed" in dead.problems[0]


@pytest.mark.skipif(os.name != "posix", reason="nothing is certain elsewhere")
def test_a_process_number_used_again_is_not_the_run(tmp_path: Path, write_run: Write) -> None:
    running = {"status": "running", **this_process()}
    earlier = {**running, "process_started": "another boot:1:1"}
    assert read_run(write_run(tmp_path / "seed0", meta=running)).status == "running"
    assert read_run(write_run(tmp_path / "seed1", meta=earlier)).status == "dead"


def test_a_dead_run_tells_how_it_goes_on_or_begins_anew(tmp_path: Path, write_run: Write) -> None:
    folder = write_run(tmp_path / "my runs" / "seed0", meta={"status": "running", **ended_process()})
    assert "no checkpoint is there yet, it can begin anew: bnexp resume" in read_run(folder).problems[0]
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.pt").touch()
    assert "begin anew" in read_run(folder).problems[0], "weights alone are not where a run stood"
    (folder / "checkpoints" / "step20.pt").touch()
    run = read_run(folder)
    assert run.can_resume
    assert run.problems[0].endswith(f"it can be resumed after step 20: bnexp resume '{folder}'")


@pytest.mark.parametrize(
    ("status", "goes_on"), [("interrupted", True), ("failed", True), ("running", False), ("finished", False)]
)
def test_what_came_to_no_end_and_does_not_run_can_go_on(
    tmp_path: Path, write_run: Write, status: str, goes_on: bool
) -> None:
    folder = write_run(tmp_path / "seed0", meta={"status": status})
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "step20.pt").touch()
    assert read_run(folder).can_resume == goes_on


def ended_process() -> dict[str, object]:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return {"host": platform.node(), "pid": process.pid}


def test_sessions(tmp_path: Path, write_run: Write) -> None:
    once = read_run(write_run(tmp_path / "seed0"))
    assert (once.continued, once.earlier_s) == (None, 0.0)
    meta = {"continued": "2026-03-01T12:01:00+00:00", "earlier_s": 30.5}
    again = read_run(write_run(tmp_path / "seed1", meta=meta))
    assert (again.continued, again.earlier_s) == (datetime(2026, 3, 1, 12, 1, tzinfo=UTC), 30.5)
    assert once.problems == again.problems == ()


@pytest.mark.parametrize("seconds", [-1.0, 1e300, "long", True, [1]])
def test_seconds_that_make_no_sense_are_named(tmp_path: Path, write_run: Write, seconds: object) -> None:
    run = read_run(write_run(tmp_path / "seed0", meta={"earlier_s": seconds}))
    assert run.earlier_s == 0
    assert ["meta.json: earlier_s is" in problem for problem in run.problems] == [True]


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


@pytest.mark.parametrize(("key", "value"), [("seed", "zero"), ("seed", True), ("seed", [1]), ("name", 5)])
def test_a_seed_or_name_of_the_wrong_kind_is_named_and_taken_from_elsewhere(
    tmp_path: Path, write_run: Write, key: str, value: object
) -> None:
    folder = write_run(tmp_path / "mlp" / "seed4", config={"seed": 4, key: value})
    run = read_run(folder)
    assert (run.name, run.seed) == ("mlp", 4)
    assert [f"{folder / 'config.yaml'}: {key} is" in problem for problem in run.problems] == [True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "expected keys and values"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_record_that_cannot_be_read_says_so(record: Callable[[str], Record], text: str, said: str) -> None:
    found = record(text)
    assert found.text("status") is None
    assert found.exists
    assert [said in problem and str(found.path) in problem for problem in found.problems] == [True]


def test_values_of_the_wrong_kind_are_refused_with_their_place(record: Callable[[str], Record]) -> None:
    found = record('{"a": {"b": "x"}, "c": 1.5, "d": true, "e": NaN, "f": 1e999, "g": -1}')
    assert found.number("a", "b") is None
    assert found.fraction("c") is None
    assert found.count("d") is None
    assert found.number("e") is None
    assert found.number("f") is None
    assert found.count("g") is None
    assert found.fraction("g") is None
    assert found.number("c", "deeper") is None
    assert found.number("c") == 1.5
    places = [problem.split(": ")[1].split()[0] for problem in found.problems]
    assert places == ["a.b", "c", "d", "f", "g", "g", "c"]


def test_a_record_is_read_up_to_a_limit(record: Callable[[str], Record]) -> None:
    found = record(" " * 10_000_000 + "{}")
    assert found.problems == [f"{found.path}: cannot be read: 10,000,002 bytes, expected at most 10,000,000"]
