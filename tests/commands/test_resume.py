"""`bnexp resume`, and `bnexp train --resume`."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.commands.resume import resume
from bnexp.commands.train import train
from bnexp.config.loading import load
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.runs.resuming import other_config
from bnexp.session import display as display_module
from bnexp.session.display import Display
from bnexp.training.clock import Clock


class StopsAt(Display):
    def __init__(self, number: int) -> None:
        self.number = number

    def step(self, step: int, clock: Clock) -> None:
        if step == self.number:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupted(config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that trains the small config until a step."""

    def interrupt(step: int, folder: str = "small/seed0", **options: object) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(display_module, "display_for", lambda name, plan: StopsAt(step))
            with pytest.raises(Interrupted):
                train([config_file], runs_dir=tmp_path / "runs", device="cpu", **options)
        return tmp_path / "runs" / folder

    return interrupt


def meta(folder: Path) -> dict[str, object]:
    return json.loads((folder / "meta.json").read_text())


def test_a_run_goes_on_and_says_what_came_out(
    interrupted: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted(5)
    resume("small/seed0", runs_dir=tmp_path / "runs")
    out = capsys.readouterr().out
    assert "finished after 12 steps" in out
    assert "epoch 2.0/2  step 12/12" in out
    assert meta(folder)["status"] == "finished"
    assert meta(folder)["continued_after_step"] == 5


def test_with_another_length_a_run_is_made_longer_where_it_can_be(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    train([config_file], runs_dir=runs, device="cpu")
    train([config_file], runs_dir=runs, device="cpu", name="spread", overrides=["schedule.name=cosine"])
    resume("small/seed0", overrides=["training.epochs=3"], runs_dir=runs)
    assert "finished after 18 steps" in capsys.readouterr().out
    for run, overrides, said in (
        ("small/seed0", ["training.epochs=1"], "1 epochs is no longer than 3 epochs"),
        ("small/seed0", ["training.epochs=4", "data.eval_batch_size=7"], "the length of a run is set alone"),
        ("spread/seed0", ["training.epochs=3"], r"schedule cosine spreads.* A new run: bnexp train .*epochs=3"),
    ):
        with pytest.raises(ConfigError, match=said):
            resume(run, overrides=overrides, runs_dir=runs)
    longer = load(config_file, ["training.epochs=5"]).config
    assert f"bnexp resume {runs}/small/seed0" in (other_config(longer, runs) or "")
    longer = load(config_file, ["training.epochs=5", "schedule.name=cosine"], name="spread").config
    assert "it is not made longer: schedule cosine" in (other_config(longer, runs) or "")


def test_a_run_that_has_come_to_its_end_is_left_as_it_is(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")[0].folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    resume(str(folder))
    assert "finished already, nothing is left to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    resume(str(folder), from_start=True, quiet=True)
    assert "finished after 12 steps" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_a_warning(
    interrupted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted(8)
    (folder / "checkpoints" / "step8.pt").write_bytes(b"")
    resume(str(folder), quiet=True)
    captured = capsys.readouterr()
    assert "warning: " in captured.err
    assert "step8.pt" in captured.err
    assert meta(folder)["continued_after_step"] == 6


def test_train_resume_continues_the_newest_unfinished_run_of_the_config(
    interrupted: Callable[..., Path], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = interrupted(4)
    os.utime(first / "meta.json")
    record = meta(first)
    record["started"] = "2020-01-01T00:00:00+00:00"
    (first / "meta.json").write_text(json.dumps(record))
    second = interrupted(7, "small/seed0-2")
    other_seed = interrupted(9, "small/seed1", seed=1)
    runs_dir = tmp_path / "runs"

    (result,) = train([config_file], runs_dir=runs_dir, quiet=True, resume=True)
    assert result.folder == second
    (result,) = train([config_file], runs_dir=runs_dir, quiet=True, resume=True)
    assert result.folder == first
    capsys.readouterr()
    assert train([config_file], runs_dir=runs_dir, quiet=True, resume=True) == []
    assert "already finished at" in capsys.readouterr().out
    assert meta(other_seed)["status"] == "interrupted"


def test_train_resume_begins_where_nothing_of_the_config_is(
    interrupted: Callable[..., Path], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted(4)
    (result,) = train(
        [config_file],
        overrides=["optimizer.lr=0.2"],
        runs_dir=tmp_path / "runs",
        quiet=True,
        device="cpu",
        resume=True,
    )
    assert result.folder.name == "seed0-2"
    said = f"warning: {folder} did not finish, but has another config: optimizer.lr is 0.1, here 0.2; a new run begins"
    assert said in capsys.readouterr().err


def test_when_checkpoints_are_written_makes_no_other_config(
    interrupted: Callable[..., Path], config_file: Path, tmp_path: Path
) -> None:
    folder = interrupted(4)
    (result,) = train(
        [config_file], overrides=["checkpoints.every_epochs=5"], runs_dir=tmp_path / "runs", quiet=True, resume=True
    )
    assert result.folder == folder


def test_a_run_that_is_not_there_or_not_alone_is_answered(interrupted: Callable[..., Path], tmp_path: Path) -> None:
    interrupted(4)
    interrupted(4, "small/seed0-2")
    with pytest.raises(ConfigError, match="no such folder"):
        resume("smal", runs_dir=tmp_path / "runs")
    with pytest.raises(ConfigError, match="2 runs lie there; expected one"):
        resume("small", runs_dir=tmp_path / "runs")


def test_a_device_that_is_gone_is_answered(interrupted: Callable[..., Path]) -> None:
    folder = interrupted(4)
    record = meta(folder)
    record["device"] = "cuda:7"
    (folder / "meta.json").write_text(json.dumps(record))
    with pytest.raises(BnexpError, match=r"--device cuda(.|\n)*expected cpu or auto"):
        resume(str(folder), quiet=True)
    assert meta(folder)["status"] == "interrupted"
    resume(str(folder), device="cpu", quiet=True)
    assert meta(folder)["status"] == "finished"
