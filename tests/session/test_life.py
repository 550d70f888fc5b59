"""A run from start to end: its records, and what is left when it ends badly."""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from bnexp.blueprint import draw
from bnexp.config.loading import load_config
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.runs.checkpoints import newest_checkpoints
from bnexp.runs.identity import OFTEN_VARIED
from bnexp.session.display import Display
from bnexp.session.life import RunResult, start
from bnexp.session.terms import Terms, show_nothing
from bnexp.training import room
from bnexp.training.build import build
from bnexp.training.clock import Clock
from bnexp.training.loop import score_of
from command_line import program
from written_rows import CLOCKED

MakeConfig = Callable[..., Config]


def finished(config: Config, runs_dir: Path, **options: Any) -> RunResult:
    return start(draw(config, runs_dir), Terms(runs_dir=runs_dir, data_dir=runs_dir, device="cpu", **options))


def record(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not strict JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_folder_holds_what_the_design_says(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    result = finished(config, tmp_path, argv=["bnexp", "train", "small.yaml"])
    assert result.folder == tmp_path / "small" / "seed0"
    names = sorted(path.name for path in result.folder.iterdir())
    assert [name for name in names if not name.startswith("events.out.tfevents.")] == [
        ".lock",
        "checkpoints",
        "config.json",
        "config.yaml",
        "log.txt",
        "meta.json",
        "metrics.jsonl",
        "summary.json",
    ]
    assert len(names) == 9
    assert [path.name for path in newest_checkpoints(result.folder)] == ["step12.pt", "step6.pt"]
    assert load_config(result.folder / "config.yaml") == config
    meta = record(result.folder, "meta.json")
    assert (meta["status"], meta["argv"], meta["device"]) == ("finished", ["bnexp", "train", "small.yaml"], "cpu")
    assert meta["plan"]["total_steps"] == 12
    assert meta["parameters"] == result.summary["parameters"]
    assert set(meta["network"]) == {"layout", "function"}
    assert meta["started"] <= meta["ended"]
    assert record(result.folder, "summary.json") == json.loads(json.dumps(result.summary))
    for name, sealed in (("summary.json", meta["summary_sha256"]), ("metrics.jsonl", meta["metrics"]["sha256"])):
        assert hashlib.sha256((result.folder / name).read_bytes()).hexdigest() == sealed


def test_the_summary_agrees_with_rows_and_network(make_config: MakeConfig, tmp_path: Path) -> None:
    result = finished(make_config(training={"epochs": 4}), tmp_path)
    evaluated = [row for row in rows_of(result.folder) if "accuracy/val" in row]
    summary = result.summary
    best = max(evaluated, key=lambda row: row["accuracy/val"])
    assert summary["final"] == {key: evaluated[-1][name] for key, name in NAMES.items()}
    assert summary["best"] == {key: best[name] for key, name in NAMES.items()}
    assert summary["parameters"] == 16 * 12 + 2 * 12 + 12 * 8 + 2 * 8 + 8 * 4 + 4
    time = summary["time"]
    assert time["training_s"] + time["evaluation_s"] + time["checkpoint_s"] == pytest.approx(time["total_s"])


NAMES = {"step": "step", "epoch": "epoch", "loss": "loss/val", "accuracy": "accuracy/val"}


def test_the_test_set_is_scored_with_final_and_best_weights(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(optimizer={"lr": 3.0}, training={"epochs": 6}, data={"synthetic": {"size": 200, "noise": 1.0}})
    result = finished(config, tmp_path)
    assert result.summary["best"]["step"] < result.summary["steps"], (
        "the recipe should be one whose best is not its last"
    )
    rebuilt = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    rebuilt.network.load_state_dict(result.network.state_dict())
    again = score_of(rebuilt, rebuilt.dataset.test)
    assert result.summary["test"]["final"]["accuracy"] == again.accuracy
    assert result.summary["test"]["best"] != result.summary["test"]["final"]


def test_a_second_run_gets_a_folder_of_its_own_and_the_same_rows(make_config: MakeConfig, tmp_path: Path) -> None:
    first, second = (finished(make_config(), tmp_path) for _ in range(2))
    assert second.folder.name == "seed0-2"

    def fixed(folder: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if not k.startswith(CLOCKED)} for row in rows_of(folder)]

    assert fixed(first.folder) == fixed(second.folder)
    mine, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_tensorboard_shows_the_rows_and_the_hyperparameters(make_config: MakeConfig, tmp_path: Path) -> None:
    result = finished(make_config(), tmp_path)
    board = EventAccumulator(str(result.folder))
    board.Reload()
    rows = rows_of(result.folder)
    for name in ("loss/train", "loss/val", "gradient_norm/total", "activation_std/block1.relu"):
        points = {event.step: event.value for event in board.Scalars(name)}
        assert points == {row["step"]: pytest.approx(row[name], rel=1e-6) for row in rows if name in row}
    assert board.Scalars("accuracy/test")[0].value == pytest.approx(result.summary["test"]["final"]["accuracy"])
    assert "activation/block1.relu" in board.Tags()["histograms"]
    assert set(board.summary_metadata) >= {"_hparams_/experiment", "_hparams_/session_start_info"}


def test_the_table_of_hyperparameters_starts_with_what_arms_differ_in(make_config: MakeConfig, tmp_path: Path) -> None:
    result = finished(make_config(), tmp_path)
    board = EventAccumulator(str(result.folder))
    board.Reload()
    described = board.summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    columns = metadata.parse_experiment_plugin_data(described).hparam_infos
    assert {column.name for column in columns if column.differs} == set(OFTEN_VARIED)
    assert len(OFTEN_VARIED) == 5  # more than these the page does not show unasked
    sections = {column.name.split(".")[0] for column in columns}
    assert sections == {"seed", "data", "model", "init", "optimizer", "schedule", "training"}


def test_a_diverged_run_is_a_result(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(optimizer={"lr": 1e30}, model={"norm": "none"})
    result = finished(config, tmp_path)
    assert record(result.folder, "meta.json")["status"] == "diverged"
    summary = record(result.folder, "summary.json")
    assert summary["divergence"]["step"] == summary["steps"] + 1
    assert summary["divergence"]["layer"].startswith(("block", "head", "loss"))
    assert summary["test"] is None
    assert rows_of(result.folder)[-1]["loss/train"] is None


def test_the_network_comes_back_in_inference_mode(make_config: MakeConfig, tmp_path: Path) -> None:
    result = finished(make_config(), tmp_path)
    x = torch.randn(3, 1, 4, 4)
    torch.testing.assert_close(result.network(x)[:1], result.network(x[:1]))


def test_the_test_scores_are_in_the_rows_once(make_config: MakeConfig, tmp_path: Path) -> None:
    result = finished(make_config(), tmp_path)
    (row,) = [row for row in rows_of(result.folder) if "accuracy/test" in row]
    assert row == rows_of(result.folder)[-1]
    assert row["step"] == result.summary["steps"]
    assert row["accuracy/test"] == result.summary["test"]["final"]["accuracy"]
    assert row["loss/test_best"] == result.summary["test"]["best"]["loss"]


def test_too_little_memory_is_one_message(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = make_config(model={"hidden": [10**5, 10**5, 10**5, 10**5]})
    with pytest.raises(ConfigError, match=r"training 30,002,000,000 weights.* takes about 447\.1 GiB of memory"):
        finished(large, tmp_path)
    monkeypatch.setattr(room, "free_bytes", lambda device: None)  # a system that does not tell
    with pytest.raises(BnexpError, match=r"out of memory with data\.batch_size 16"):
        finished(large, tmp_path)
    assert not (tmp_path / "small").exists()


def test_nothing_is_left_when_the_config_cannot_be(make_config: MakeConfig, tmp_path: Path) -> None:
    for config in (
        make_config(data={"batch_size": 1000}),
        make_config(training={"precision": "fp16"}),
        make_config(data={"dataset": "mnist", "synthetic": None, "download": False}),
    ):
        with pytest.raises(ConfigError):
            finished(config, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


class Stop(Display):
    """Stops the run at a step with an error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def step(self, step: int, clock: Clock) -> None:
        if step == 7:
            raise self.error


def stopping(error: BaseException) -> Callable[[str, Plan], Display]:
    return lambda name, plan: Stop(error)


def test_an_interruption_is_recorded_and_the_rows_are_whole(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="seed0"):
        finished(make_config(), tmp_path, show=stopping(KeyboardInterrupt()))
    folder = tmp_path / "small" / "seed0"
    assert record(folder, "meta.json")["status"] == "interrupted"
    assert not (folder / "summary.json").exists()
    assert [row["step"] for row in rows_of(folder)] == [1, 4, 6]


def test_a_failure_is_recorded_with_its_reason(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        finished(make_config(), tmp_path, show=stopping(ZeroDivisionError("a bug")))
    meta = record(tmp_path / "small" / "seed0", "meta.json")
    assert (meta["status"], meta["error"]) == ("failed", "ZeroDivisionError: a bug")


def test_a_full_disk_is_one_message(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(BnexpError, match="No space left on device"):
        finished(make_config(), tmp_path, show=stopping(OSError(28, "No space left on device")))
    assert record(tmp_path / "small" / "seed0", "meta.json")["status"] == "failed"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the list of open files")
@pytest.mark.parametrize("failing", ["EventFile.add", "TensorBoardWriter.hyperparameters", "show"])
def test_where_a_writer_cannot_be_opened_no_file_stays_open(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    if failing != "show":
        monkeypatch.setattr(f"bnexp.session.board.{failing}", fail)
    with pytest.raises(BnexpError, match="No space left on device") as caught:
        finished(make_config(), tmp_path, show=fail if failing == "show" else show_nothing)
    opened = {os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()}
    assert caught.value.__context__, "its frames still hold what they opened"
    assert not [name for name in opened if name.startswith(str(tmp_path))]


@pytest.mark.long
def test_ctrl_c_in_a_real_process(config_file: Path, tmp_path: Path) -> None:
    command = [program(), "train", str(config_file), "--runs-dir", str(tmp_path / "runs")]
    command += ["--set", "training.epochs=100000", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("small seed0")  # it trains
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    folder = tmp_path / "runs" / "small" / "seed0"
    assert record(folder, "meta.json")["status"] == "interrupted"
    assert rows_of(folder)
