"""A continued run is the uninterrupted one, and what stands in the way of continuing is said."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.probes.registry import PROBES
from bnexp.runs.checkpoints import load_checkpoint, newest_checkpoints, save_checkpoint
from bnexp.runs.seal import load_stored
from bnexp.session import life
from bnexp.session.display import Display
from bnexp.session.executor import Complete, run_task
from bnexp.session.life import RunResult, start
from bnexp.session.resume import resume
from bnexp.session.terms import Terms
from bnexp.training.clock import Clock
from written_rows import rows_of

MakeConfig = Callable[..., Config]


class StopAt(Display):
    """Does something after a step, such as to stop the run."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.number, self.act = number, act

    def step(self, step: int, clock: Clock) -> None:
        if step == self.number:
            self.act()


def ask_to_stop(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def fail() -> None:
    raise ZeroDivisionError("a crash")


def trained(config: Config, place: Path) -> RunResult:
    return start(draw(config, place), Terms(runs_dir=place, data_dir=place, device="cpu"))


def stopped(config: Config, place: Path, step: int, act: Callable[[], None] = ask_to_stop) -> Path:
    with pytest.raises((Interrupted, ZeroDivisionError)):
        start(
            draw(config, place),
            Terms(runs_dir=place, data_dir=place, device="cpu", show=lambda name, plan: StopAt(step, act)),
        )
    return place / "small" / "seed0"


def record(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def assert_same(continued: RunResult, whole: RunResult) -> None:
    """Hold rows, figures, weights and the last checkpoint against each other, bit for bit."""
    assert rows_of(continued.folder) == rows_of(whole.folder)
    figures = [
        json.dumps({key: value for key, value in run.summary.items() if key not in ("time", "peak_mib")})
        for run in (continued, whole)
    ]
    assert figures[0] == figures[1]
    ours, theirs = (
        {**dict(run.network.named_parameters()), **dict(run.network.named_buffers())} for run in (continued, whole)
    )
    assert ours.keys() == theirs.keys()
    assert all(bits(value) == bits(theirs[name]) for name, value in ours.items())


def bits(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor, in which nan equals itself."""
    return tensor.detach().numpy().tobytes()


RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw, cosine": {"optimizer": {"name": "adamw", "lr": 0.01}, "schedule": {"name": "cosine", "warmup_epochs": 1}},
    "dropout and noise": {"model": {"block": "linear -> norm -> act -> dropout(p=0.3)", "norm": "noisy_bn"}},
    "bf16": {"training": {"precision": "bf16"}},
    "augmented, clipped": {"data": {"augment": "crop_flip"}, "training": {"grad_clip": 0.1}},
    "batch_renorm": {"model": {"norm": "batch_renorm"}},
    "frozen": {"model": {"norm": "bn(frozen=both)"}},
    "accumulated": {"training": {"accumulate": 4, "epochs": 6}, "data": {"augment": "crop_flip"}},
    "averaged": {"training": {"ema": 0.9}, "optimizer": {"lr": 0.5}},
    "left out": {"training": {"on_divergence": "skip_step"}, "optimizer": {"lr": 1e19}, "model": {"norm": "none"}},
    "all the same": {"training": {"on_divergence": "continue"}, "optimizer": {"lr": 1e19}, "model": {"norm": "none"}},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_continued_run_is_the_uninterrupted_one(make_config: MakeConfig, tmp_path: Path, recipe: str) -> None:
    config = make_config(**RECIPES[recipe])
    whole = trained(config, tmp_path / "whole")
    for step in (1, 4, 7, 12):
        folder = stopped(config, tmp_path / f"stopped{step}", step)
        assert record(folder, "meta.json")["status"] == "interrupted"
        assert newest_checkpoints(folder)[0].name == f"step{step}.pt"
        continued = resume(folder, Terms(data_dir=tmp_path))
        assert record(folder, "meta.json")["status"] == continued.summary["status"]
        assert_same(continued, whole)


def test_a_run_can_stop_and_go_on_at_every_step(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(model={"block": "linear -> norm -> act -> dropout(p=0.2)"})
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 1)
    for step in range(2, 13):
        with pytest.raises(Interrupted):
            resume(folder, Terms(data_dir=tmp_path, show=lambda name, plan, step=step: StopAt(step, ask_to_stop)))
    assert_same(resume(folder, Terms(data_dir=tmp_path)), whole)
    assert len(record(folder, "meta.json")["sessions"]) == 12


def test_probes_go_on_too(make_config: MakeConfig, tmp_path: Path) -> None:
    quick = {
        "evaluation_modes": {"every": 5, "examples": 2, "recomputed_over": 20},
        "coupling": {"every": 5, "examples": 1, "draws": 2},
        "covariate_shift": {"every": 5, "examples": 16, "units": 4},
        "landscape": {"every": 5, "points": 2},
        "cost": {"every": 5, "repeats": 1},
    }
    config = make_config(probes={name: quick.get(name, {"every": 5}) for name in PROBES})
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 8)
    meta = record(folder, "meta.json")
    (folder / "meta.json").write_text(json.dumps({**meta, "role": "tuning"}))
    assert_same(resume(folder, Terms(data_dir=tmp_path)), whole)
    assert record(folder, "meta.json")["role"] == "tuning"  # it stays what it is for
    assert any(name.startswith("input_shift/") for name in rows_of(folder)[-3])


def test_after_a_crash_the_rows_past_the_checkpoint_are_cut(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(training={"log_every": 1})
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 9, fail)
    assert (newest_checkpoints(folder)[0].name, len(rows_of(folder))) == ("step6.pt", 9)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 10, "loss')  # a torn row
    assert_same(resume(folder, Terms(data_dir=tmp_path)), whole)


def test_tensorboard_shows_each_step_once(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(training={"log_every": 1})
    folder = stopped(config, tmp_path, 9, fail)
    resume(folder, Terms(data_dir=tmp_path))
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == list(range(1, 13))
    rows = {row["step"]: row for row in rows_of(folder) if "loss/train" in row}
    for event in events.Scalars("loss/train"):
        assert event.value == pytest.approx(rows[event.step]["loss/train"], rel=1e-6)


def killed_before(monkeypatch: pytest.MonkeyPatch, name: str, calls: int, config: Config, place: Path) -> Path:
    """End a run at a call of `session.life`, as `kill -9` does, but for its lock."""

    class Killed(BaseException):
        pass

    called, left = getattr(life, name), [calls]

    def kill(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return called(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(life, name, kill)
        with pytest.raises(Killed):
            trained(config, place)
    return place / "small" / "seed0"


def test_tensorboard_shows_the_scores_of_the_test_set_once(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    whole = trained(config, tmp_path / "whole")
    folder = killed_before(monkeypatch, "write_json", 0, config, tmp_path / "stopped")
    assert not (folder / "summary.json").exists()
    assert "accuracy/test" in rows_of(folder)[-1]
    assert_same(resume(folder, Terms(data_dir=tmp_path)), whole)
    ours, theirs = (EventAccumulator(str(place)).Reload() for place in (folder, whole.folder))
    assert ours.Tags()["scalars"] == theirs.Tags()["scalars"]
    for tag in theirs.Tags()["scalars"]:
        steps = [[event.step for event in events.Scalars(tag)] for events in (ours, theirs)]
        assert steps[0] == steps[1], tag


def test_a_process_killed_behind_its_last_checkpoint_leaves_two_in_the_end(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = killed_before(monkeypatch, "scores_at_end", 0, make_config(), tmp_path)
    assert [path.name for path in newest_checkpoints(folder)] == ["step12.pt", "step6.pt"]
    resume(folder, Terms(data_dir=tmp_path))
    assert [path.name for path in newest_checkpoints(folder)] == ["step12.pt", "step6.pt"]


def test_a_run_whose_end_meta_json_lacks_is_completed_where_it_is_asked_for_again(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    folder = killed_before(monkeypatch, "summary_of", 0, config, tmp_path)
    resume(folder, Terms(data_dir=tmp_path))
    (folder / "meta.json").write_text(json.dumps({**record(folder, "meta.json"), "status": "running", "ended": None}))
    terms = Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu", resume=True)
    assert run_task(draw(config, tmp_path), terms) == Complete(folder, "finished")
    assert record(folder, "meta.json")["status"] == "finished"
    assert record(folder, "meta.json")["ended"] is not None


def test_another_size_of_batches_in_evaluation_may_be_taken_up(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(model={"norm": "ln"})
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 8)
    told: list[str] = []
    smaller = make_config(model={"norm": "ln"}, data={"eval_batch_size": 3}, checkpoints={"every_epochs": 1})
    continued = resume(folder, Terms(data_dir=tmp_path, warn=told.append), config=smaller)
    assert "data.eval_batch_size is 3 from here on, 1,024 before: scores are the same up to rounding" in told[0]
    assert continued.summary["test"]["final"] == pytest.approx(whole.summary["test"]["final"], rel=1e-5)
    for name, value in whole.network.named_parameters():
        assert bits(value) == bits(dict(continued.network.named_parameters())[name])
    assert load_stored(folder)[0].data.eval_batch_size == 3
    other = make_config(model={"norm": "ln"}, optimizer={"lr": 0.5})
    with pytest.raises(
        ConfigError, match=r"lr cannot become 0.5: .* only data.eval_batch_size.* --set optimizer.lr=0.5$"
    ):
        resume(stopped(config, tmp_path / "again", 8), Terms(data_dir=tmp_path), config=other)


def test_a_checkpoint_is_written_between_epochs_when_they_are_long(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(checkpoints={"every_epochs": 100, "every_minutes": 1e-9})
    whole = trained(config.model_copy(update={"checkpoints": make_config().checkpoints}), tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 9, fail)
    assert newest_checkpoints(folder)[0].name == "step8.pt"
    assert_same(resume(folder, Terms(data_dir=tmp_path)), whole)


def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_used(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config()
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 8)
    newest, before = newest_checkpoints(folder)
    newest.write_bytes(newest.read_bytes()[:-1])
    told: list[str] = []
    continued = resume(folder, Terms(data_dir=tmp_path, warn=told.append))
    assert_same(continued, whole)
    assert [newest.name in words and "damaged" in words for words in told] == [True]
    assert before.name == "step6.pt"
    assert record(folder, "meta.json")["continued_after_step"] == 6
    assert [path.name for path in newest_checkpoints(folder)] == ["step12.pt", "step6.pt"]


def test_without_a_whole_checkpoint_the_run_can_begin_anew(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 8)
    for path in newest_checkpoints(folder):
        path.write_bytes(b"nothing")
    rows = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(BnexpError, match=r"step8.pt(.|\n)*step6.pt(.|\n)*--from-start"):
        resume(folder, Terms(data_dir=tmp_path))
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(BnexpError, match=r"no checkpoint is there any more(.|\n)*--from-start"):
        resume(folder, Terms(data_dir=tmp_path))
    assert (folder / "metrics.jsonl").read_bytes() == rows
    assert_same(resume(folder, Terms(data_dir=tmp_path), from_start=True), whole)
    events = EventAccumulator(str(folder)).Reload()
    assert len(events.Scalars("loss/train")) == len({event.step for event in events.Scalars("loss/train")})


def test_a_run_that_stopped_before_its_first_checkpoint_begins_anew(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    whole = trained(config, tmp_path / "whole")
    folder = stopped(config, tmp_path / "stopped", 3)
    shutil.rmtree(folder / "checkpoints")
    (folder / "metrics.jsonl").write_bytes(b"")
    assert_same(resume(folder, Terms(data_dir=tmp_path)), whole)


def test_a_run_killed_between_its_end_and_its_summary_is_completed(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    whole = trained(config, tmp_path / "whole")
    other = trained(config, tmp_path / "stopped")
    (other.folder / "summary.json").unlink()
    (other.folder / "checkpoints" / ".best.pt.1.tmp").write_bytes(b"half")
    continued = resume(other.folder, Terms(data_dir=tmp_path))
    assert_same(continued, whole)
    assert not list(other.folder.rglob("*.tmp"))


def test_a_diverged_run_killed_before_its_summary_stays_diverged(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(optimizer={"lr": 1e19}, model={"norm": "none"})
    whole = trained(config, tmp_path / "whole")
    assert whole.summary["status"] == "diverged"
    other = trained(config, tmp_path / "stopped")
    (other.folder / "summary.json").unlink()
    assert_same(resume(other.folder, Terms(data_dir=tmp_path)), whole)


def test_another_config_data_or_rows_are_refused_and_nothing_is_cut(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = stopped(make_config(), tmp_path, 8)
    config, rows = (folder / "config.yaml").read_text(), (folder / "metrics.jsonl").read_bytes()

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def refused(words: str) -> None:
        before = files()
        with pytest.raises(BnexpError, match=words):
            resume(folder, Terms(data_dir=tmp_path))
        assert files() == before

    (folder / "config.yaml").write_text(config.replace("lr: 0.1", "lr: 0.2"))
    refused(r"config.yaml: optimizer.lr is 0.2, but the run began with 0.1")
    rarer = config.replace("checkpoints:\n  every_epochs: 1.0", "checkpoints:\n  every_epochs: 3.0")
    (folder / "config.yaml").write_text(rarer)
    assert rarer != config
    (folder / "metrics.jsonl").write_bytes(rows.replace(b'"step":1', b'"step":2', 1))
    refused(r"metrics.jsonl: its first \d+ rows are no longer those(.|\n)*--from-start")
    (folder / "metrics.jsonl").write_bytes(rows[: len(rows) // 2])
    refused(r"metrics.jsonl: its first \d+ rows are no longer those(.|\n)*--from-start")
    (folder / "metrics.jsonl").unlink()
    refused(r"metrics.jsonl")
    (folder / "metrics.jsonl").write_bytes(rows)
    resume(folder, Terms(data_dir=tmp_path))  # when checkpoints are written may change


def test_other_examples_are_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    import numpy as np

    generator = np.random.default_rng(0)
    arrays = {
        **{f"x_{part}": generator.integers(0, 256, (count, 4, 4), dtype=np.uint8) for part, count in SIZES.items()},
        **{f"y_{part}": np.arange(count) % 4 for part, count in SIZES.items()},
    }
    np.savez(tmp_path / "own.npz", **arrays)
    config = make_config(data={"dataset": "npz", "path": "own.npz", "synthetic": None})
    folder = stopped(config, tmp_path, 8)
    arrays["x_train"][3, 2, 1] ^= 1
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(BnexpError, match="the dataset npz is not the one that the run began with"):
        resume(folder, Terms(data_dir=tmp_path))


SIZES = {"train": 100, "test": 20}


def test_a_run_that_is_being_trained_is_not_continued(make_config: MakeConfig, tmp_path: Path) -> None:
    said: list[str] = []

    def resume_meanwhile() -> None:
        with pytest.raises(BnexpError, match="is training this run right now") as error:
            resume(tmp_path / "small" / "seed0", Terms(data_dir=tmp_path))
        said.append(str(error.value))

    start(
        draw(make_config(), tmp_path),
        Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu", show=lambda name, plan: StopAt(5, resume_meanwhile)),
    )
    assert f"process {os.getpid()}" in said[0]


def test_a_folder_that_is_no_run_is_answered(tmp_path: Path) -> None:
    with pytest.raises(BnexpError, match="no such folder"):
        resume(tmp_path / "nothing", Terms())
    with pytest.raises(ConfigError, match=r"config.yaml: no such file"):
        resume(tmp_path, Terms())


def test_time_is_summed_over_the_sessions(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = stopped(make_config(), tmp_path, 8)
    continued = resume(folder, Terms(data_dir=tmp_path))
    meta, time = record(folder, "meta.json"), continued.summary["time"]
    assert 0 < meta["earlier_s"] < time["total_s"]
    assert time["training_s"] + time["evaluation_s"] + time["checkpoint_s"] == pytest.approx(time["total_s"])


def test_another_machine_is_told(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = stopped(make_config(), tmp_path, 8)
    meta = record(folder, "meta.json")
    meta["versions"]["torch"], meta["threads"] = "2.0", 64
    (folder / "meta.json").write_text(json.dumps(meta))
    told: list[str] = []
    resume(folder, Terms(data_dir=tmp_path, warn=told.append))
    assert "threads 64 -> " in told[0]
    assert "torch 2.0 -> " in told[0]
    assert "bit" in told[0]


def test_a_run_that_another_process_has_brought_to_its_end_is_left_as_it_is(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    folder = trained(make_config(), tmp_path).folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(BnexpError, match="has come to its end, nothing is left to do"):
        resume(folder, Terms(data_dir=tmp_path))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_summary_without_figures_is_written_anew(make_config: MakeConfig, tmp_path: Path) -> None:
    whole = trained(make_config(), tmp_path / "whole")
    other = trained(make_config(), tmp_path / "damaged")
    (other.folder / "summary.json").write_text('{"status": "finished"}')
    assert_same(resume(other.folder, Terms(data_dir=tmp_path)), whole)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("progress", "skipped"), "x", "progress.skipped: found x, expected int"),
        (("progress", "last", "score"), [], r"progress.last.score: found \[\], expected keys and values"),
        (("optimizer", "state", 0, "momentum_buffer"), torch.zeros(3), "optimizer.state.0.momentum_buffer: found"),
        (("step",), 7, "step: found 7, expected that in the name of the file"),
        (("device",), "x", "device: found x, expected one of"),
    ],
)
def test_a_checkpoint_that_holds_something_else_is_refused_by_its_place(
    make_config: MakeConfig, tmp_path: Path, place: tuple[str | int, ...], value: object, words: str
) -> None:
    folder = stopped(make_config(optimizer={"momentum": 0.9}), tmp_path, 8)
    path = newest_checkpoints(folder)[0]
    state: Any = load_checkpoint(path)
    above = state
    for key in place[:-1]:
        above = above[key]
    above[place[-1]] = value
    save_checkpoint(path, state)
    told: list[str] = []
    resume(folder, Terms(data_dir=tmp_path, warn=told.append))
    assert re.search(rf"step8.pt: no checkpoint of this run(.|\n)*{words}", "\n".join(told))
    assert record(folder, "meta.json")["continued_after_step"] == 6, "the one before is used"


def test_a_device_that_makes_no_sense_is_chosen_anew(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = stopped(make_config(), tmp_path, 8)
    meta = record(folder, "meta.json") | {"device": "cpv"}
    (folder / "meta.json").write_text(json.dumps(meta))
    resume(folder, Terms(data_dir=tmp_path))
