"""A run that is made longer is the one that was trained so long at once, whatever happens on the way."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.runs.checkpoints import load_checkpoint, newest_checkpoints
from bnexp.runs.rows import cut_after
from bnexp.runs.run import read_run
from bnexp.session.display import Display
from bnexp.session.life import RunResult, start
from bnexp.session.report import report
from bnexp.session.resume import lengthen, resume
from bnexp.session.terms import Terms
from bnexp.training.clock import Clock
from written_rows import rows_of

MakeConfig = Callable[..., Config]
SHORT, LONG = {"epochs": 2, "steps": None}, {"epochs": 4, "steps": None}
"""Two of these epochs are 12 steps."""


def trained(config: Config, place: Path) -> RunResult:
    return start(draw(config, place), Terms(runs_dir=place, data_dir=place, device="cpu"))


def longer(folder: Path, config: Config, **terms: Any) -> RunResult:
    return lengthen(folder, Terms(data_dir=folder.parents[2], device="cpu", **terms), config)


def record(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def bits(state: Any, place: str = "") -> dict[str, Any]:
    """Return every leaf of a checkpoint but its clock and the bytes of rows, tensors as bytes."""
    if isinstance(state, torch.Tensor):
        return {place: state.numpy().tobytes()}
    if isinstance(state, dict | list | tuple):
        pairs = state.items() if isinstance(state, dict) else enumerate(state)
        inner = [bits(value, f"{place}.{key}") for key, value in pairs]
        return {key: value for part in inner for key, value in part.items()}
    return {} if place.startswith((".progress.clock", ".rows.s")) else {place: repr(state)}


def assert_same(ours: Path, theirs: Path) -> None:
    """Hold rows, figures and the last two checkpoints against each other, bit for bit."""
    assert rows_of(ours) == rows_of(theirs)
    besides = ("time", "peak_mib", "lengthened_from")
    figures = [
        {key: repr(value) for key, value in record(folder, "summary.json").items() if key not in besides}
        for folder in (ours, theirs)
    ]
    assert figures[0] == figures[1]
    assert (ours / "config.yaml").read_text() == (theirs / "config.yaml").read_text()
    assert [path.name for path in newest_checkpoints(ours)] == [path.name for path in newest_checkpoints(theirs)]
    for one, other in zip(newest_checkpoints(ours), newest_checkpoints(theirs), strict=True):
        kept, expected = bits(load_checkpoint(one)), bits(load_checkpoint(other))
        if kept.pop(".config") != expected.pop(".config"):  # of a run that diverged, the one before its last stays
            assert one != newest_checkpoints(ours)[0]
        assert kept == expected
    best = [folder / "checkpoints/best.pt" for folder in (ours, theirs) if (folder / "checkpoints/best.pt").exists()]
    assert len(best) != 1
    assert len({str(bits(load_checkpoint(path))) for path in best}) <= 1


RECIPES: dict[str, dict[str, Any]] = {
    "from its last step": {"training": {"log_every": 4}},
    "a row that is due at its last step alone": {"training": {"log_every": 5}},
    "an evaluation that is due at its last step alone": {"training": {"log_every": 4, "eval_every_epochs": 1.5}},
    "steps, milestones, warm-up": {
        "training": {"epochs": None, "steps": 10},
        "schedule": {"name": "step", "milestones": [1, 3], "warmup_epochs": 0.5},
    },
    "adamw, dropout, averages": {
        "optimizer": {"name": "adamw", "lr": 0.01},
        "model": {"block": "linear -> norm -> act -> dropout(p=0.3)"},
        "training": {"ema": 0.9},
    },
    "probes": {"probes": {"gradients": {"every": 5}, "updates": {"every_epochs": 1}}},
    "diverged": {"optimizer": {"lr": 1e19}, "model": {"norm": "none"}},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_lengthened_run_is_the_one_trained_so_long_at_once(
    make_config: MakeConfig, tmp_path: Path, recipe: str
) -> None:
    sections = RECIPES[recipe]
    short = make_config(**{**sections, "training": {**SHORT, **sections.get("training", {})}})
    long = make_config(**{**sections, "training": {**sections.get("training", {}), **LONG}})
    whole, former = trained(long, tmp_path / "whole"), trained(short, tmp_path / "former")
    ended = former.summary["steps"]
    result = longer(former.folder, long)
    assert_same(former.folder, whole.folder)
    run = read_run(former.folder)
    assert (run.status, run.problems, run.former_ends) == (whole.summary["status"], (), (ended,))
    assert run.total_steps == 24
    if recipe == "from its last step":
        assert record(former.folder, "meta.json")["continued_after_step"] == ended
    assert record(former.folder, "summary.json")["lengthened_from"] == [ended]
    assert f"scored before, after {ended:,} steps" in report(result)


class Killed(BaseException):
    """Ends a process as `kill -9` does, but for its lock."""


def killed_at(moment: int, patch: pytest.MonkeyPatch) -> None:
    """End at a change of the records on the disk, counted from 0, and at every one behind it."""
    seen = [0]

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **options: Any) -> Any:
            if not any(Path(path).name.startswith(".lock") for path in arguments if isinstance(path, Path)):
                seen[0] += 1
                if seen[0] > moment:
                    raise Killed
            return change(*arguments, **options)

        return do

    patch.setattr(os, "replace", dying(os.replace))
    patch.setattr(Path, "unlink", dying(Path.unlink))
    patch.setattr("bnexp.session.resume.cut_after", dying(cut_after))


def test_killed_at_any_change_of_the_disk_the_same_command_makes_it_the_longer_one(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two changes the folder is the run that had ended, or the longer one on its way; never anything else."""
    short, long = make_config(training={**SHORT, "log_every": 5}), make_config(training={**LONG, "log_every": 5})
    whole = trained(long, tmp_path / "whole")
    former = trained(short, tmp_path / "former").folder
    states = list[str]()
    for moment in range(8):
        folder = tmp_path / str(moment) / "small" / "seed0"
        shutil.copytree(former, folder)
        with monkeypatch.context() as patch:
            killed_at(moment, patch)
            with pytest.raises(Killed):
                longer(folder, long)
        run = read_run(folder)
        states.append(run.status)
        assert run.config is not None
        if run.status == "finished":
            assert (run.config["training.epochs"], run.figures["steps"], run.former_ends) == (2, 12, ())
        else:
            assert (run.config["training.epochs"], run.figures, run.former_ends) == (4, {}, (12,))
        longer(folder, long)
        assert_same(folder, whole.folder)
        assert record(folder, "summary.json")["lengthened_from"] == [12]
    assert states == ["finished"] * 2 + ["running"] * 6


class Stops(Display):
    def __init__(self, at: int) -> None:
        self._at = at

    def step(self, step: int, clock: Clock) -> None:
        if step == self._at:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_lengthened_run_that_was_interrupted_is_resumed_as_any_other(make_config: MakeConfig, tmp_path: Path) -> None:
    short, long = make_config(training={**SHORT, "log_every": 5}), make_config(training={**LONG, "log_every": 5})
    whole, folder = trained(long, tmp_path / "whole"), trained(short, tmp_path / "former").folder

    with pytest.raises(Interrupted):
        longer(folder, long, show=lambda name, plan: Stops(9))
    assert read_run(folder).status == "interrupted"
    resume(folder, Terms(data_dir=tmp_path))
    assert_same(folder, whole.folder)
    again = make_config(training={"epochs": None, "steps": 30, "log_every": 5})
    longer(folder, again)  # and once more
    assert_same(folder, trained(again, tmp_path / "at once").folder)
    assert read_run(folder).former_ends == (12, 24)


def test_a_run_that_was_interrupted_before_its_shorter_end_becomes_the_longer_one(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    long = make_config(training={**LONG, "log_every": 5})
    whole = trained(long, tmp_path / "whole")

    short = draw(make_config(training={**SHORT, "log_every": 5}), tmp_path)
    folder = tmp_path / "former" / "small" / "seed0"
    with pytest.raises(Interrupted):
        start(short, Terms(data_dir=tmp_path, device="cpu", show=lambda name, plan: Stops(9)), folder)
    with pytest.raises(Interrupted):
        longer(folder, long, show=lambda name, plan: Stops(11))
    longer(folder, long)
    assert_same(folder, whole.folder)
    run = read_run(folder)
    assert (run.status, run.total_steps, run.former_ends, run.problems) == ("finished", 24, (), ())
    assert "lengthened_from" not in record(folder, "summary.json")


def test_what_a_run_cannot_become_is_refused_and_changes_nothing(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = trained(make_config(), tmp_path).folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for sections, message in (
        ({"training": LONG, "optimizer": {"lr": 0.2}}, "optimizer.lr is another"),
        ({"training": {"epochs": 1}}, "1 epochs is no longer than 2 epochs"),
        ({}, "2 epochs is no longer than 2 epochs"),
        ({"training": LONG, "model": {"norm": "ln"}}, "another network"),
    ):
        with pytest.raises(ConfigError, match=message):
            longer(folder, make_config(**sections))
    spread = trained(make_config(schedule={"name": "cosine"}), tmp_path / "cosine").folder
    with pytest.raises(ConfigError, match=r"schedule cosine spreads.* A new run: bnexp train .* --set"):
        longer(spread, make_config(schedule={"name": "cosine"}, training=LONG))
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_a_checkpoint_that_the_longer_training_comes_through_a_run_stays_as_it_is(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    folder = trained(make_config(training={"log_every": 5}), tmp_path).folder
    (folder / "checkpoints/step6.pt").unlink()
    with pytest.raises(BnexpError, match="no checkpoint is left from which the longer training goes on"):
        longer(folder, make_config(training={**LONG, "log_every": 5}))
    assert read_run(folder).status == "finished"


def test_a_longer_config_in_the_file_of_a_run_that_was_not_lengthened_is_refused(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    folder = trained(make_config(), tmp_path).folder
    for name in ("summary.json", "config.json", "meta.json"):  # as of an earlier version, without a seal
        (folder / name).unlink()
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("epochs: 2", "epochs: 4"))
    with pytest.raises(BnexpError, match=r"training\.epochs is 4, but the run began with 2"):
        resume(folder, Terms(data_dir=tmp_path))
