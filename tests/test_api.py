"""`import bnexp`: functions that do what the commands do, and what they return."""

import json
import math
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bnexp
from bnexp.commands.train import train as train_command
from bnexp.config.loading import load_config
from bnexp.config.schema import Config
from bnexp.session import life

pytestmark = pytest.mark.filterwarnings("ignore::bnexp.BnexpWarning")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def figures_of(folder: Path) -> list[dict[str, Any]]:
    timed = ("step_ms/", "measuring_share/", "examples_per_s/", "peak_memory_mib/")
    return [{name: value for name, value in row.items() if not name.startswith(timed)} for row in rows_of(folder)]


def test_a_file_its_values_and_a_config_are_one_and_the_same(
    config_file: Path, make_config: Callable[..., Config]
) -> None:
    own = bnexp.load_config(config_file, overrides={"model.norm": "ln", "optimizer.lr": np.float64(0.2)}, seed=3)
    assert own == load_config(config_file, ["model.norm=ln", "optimizer.lr=0.2"], seed=3)
    values = json.loads(own.model_dump_json(exclude_none=True))
    assert bnexp.load_config(values) == bnexp.load_config(own) == own
    hidden = {"model": {**values["model"], "hidden": (np.int64(5), 4)}}
    assert bnexp.load_config({**values, **hidden}).model.hidden == (5, 4)  # type: ignore[union-attr]
    assert bnexp.load_config(own, overrides={"optimizer.momentum": None}) == own
    assert "norm: ln" in own._repr_html_()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.norm": "bnn"}, r'overrides\["model.norm"\]: model\.norm: unknown norm "bnn"\. Did you mean "bn"'),
        ({"optimizer.lrr": 1}, r'overrides\["optimizer.lrr"\].*Did you mean "lr"'),
        ({"optimizer.lr": {1, 2}}, r'overrides\["optimizer.lr"\]: found a set; expected numbers'),
        ({"base": "x.yaml"}, r'overrides\["base"\]: expected a key'),
        ({"model..norm": "ln"}, "expected a key"),
        (["model.norm=ln"], r"^overrides: expected values by their key"),
    ],
)
def test_a_mistake_is_told_as_on_the_command_line(
    config_file: Path, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(bnexp.ConfigError, match=message):
        bnexp.load_config(config_file, overrides=overrides)


def test_values_need_a_name_and_a_training_a_seed(make_config: Callable[..., Config]) -> None:
    values = make_config().model_dump(mode="json", exclude_none=True)
    del values["name"]
    with pytest.raises(bnexp.ConfigError, match=r"^config: no name; expected one"):
        bnexp.load_config(values)
    assert bnexp.load_config(values, overrides={"name": "own"}).name == "own"
    with pytest.raises(bnexp.ConfigError, match="seed: none given"):
        bnexp.train(make_config(), seed=[])
    with pytest.raises(bnexp.ConfigError, match="seed: one stands twice"):
        bnexp.train(make_config(), seed=np.array([1, 1]))


def test_a_training_is_that_of_the_command_and_says_nothing(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    run = bnexp.train(config_file, overrides={"model.norm": "ln"}, seed=1, runs_dir=tmp_path / "runs", device="cpu")
    assert capsys.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert not torch.are_deterministic_algorithms_enabled()
    (other,) = train_command([config_file], overrides=["model.norm=ln"], seed=1, runs_dir=tmp_path, device="cpu")
    assert figures_of(run.folder) == figures_of(other.folder)
    assert run.folder == tmp_path / "runs" / "small" / "seed1"
    assert (run.name, run.seed, run.status, run.config and run.config["model.norm"]) == ("small", 1, "finished", "ln")
    assert run.figures["test_accuracy"] == other.summary["test"]["final"]["accuracy"]
    assert "finished" in repr(run)
    assert "<table" in run._repr_html_()
    again = bnexp.train(config_file, overrides={"model.norm": "ln"}, seed=1, runs_dir=tmp_path / "runs", resume=True)
    assert again == run
    with pytest.warns(bnexp.BnexpWarning, match=rf"already finished at {run.folder}, again=True to repeat"):
        assert bnexp.train(config_file, overrides={"model.norm": "ln"}, seed=1, runs_dir=tmp_path / "runs") == run
    with pytest.raises(bnexp.ConfigError, match=r"^again=True begins a new run"):
        bnexp.train(config_file, runs_dir=tmp_path / "runs", again=True, resume=True)


def test_progress_prints_a_line_per_evaluation_and_warnings_can_be_errors(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", bnexp.BnexpWarning)
        with pytest.raises(bnexp.BnexpWarning, match="12 steps of bn"):
            bnexp.train(config_file, runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    with pytest.warns(bnexp.BnexpWarning) as told:
        runs = bnexp.train(config_file, seed=(4,), runs_dir=tmp_path / "runs", progress=True)
    assert {warning.filename for warning in told} == {__file__}
    assert capsys.readouterr().out.count("val accuracy") == 2
    assert [run.seed for run in runs] == [4]


def test_an_interrupt_is_a_keyboard_interrupt_and_the_run_is_resumed(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = life.train

    def interrupted(*words: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        train(*words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(life, "train", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"interrupted.*bnexp resume"):
            bnexp.train(config_file, runs_dir=tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (stopped,) = bnexp.load_runs(tmp_path)
    assert stopped.status == "interrupted"
    assert bnexp.train(config_file, runs_dir=tmp_path, resume=True).status == "finished"
    assert len(bnexp.load_runs(tmp_path)) == 1


def test_a_second_thread_trains_after_the_first(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, inside, most = life.train, list[int](), list[int]()

    def counted(*words: Any, **options: Any) -> None:
        inside.append(1)
        most.append(len(inside))
        train(*words, **options)
        inside.pop()

    monkeypatch.setattr(life, "train", counted)
    calls = [lambda seed=seed: bnexp.train(config_file, seed=seed, runs_dir=tmp_path) for seed in range(2)]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1]
    assert list(bnexp.load_runs(tmp_path).runs["status"]) == ["finished"] * 2


def test_one_of_several_processes_is_told_what_trains_in_several(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "x"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(bnexp.ConfigError, match="torchrun"):
        bnexp.train(config_file)


def test_both_tables_hold_what_the_records_do(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    write_run(tmp_path / "a" / "seed0", config={"model.block": "linear -> bn -> relu"})
    write_run(tmp_path / "b" / "seed1", config={"name": "b", "seed": 1, "probes.x": 2}, accuracies=(0.5, None))
    broken = write_run(tmp_path / "c" / "seed0", meta={"status": "interrupted"})
    (broken / "metrics.jsonl").write_text('{"step":1,"loss/train":0.5,"wei\\"rd":2}\n{"step":2,"loss/train":\n{"ste')
    (broken / "config.yaml").write_text("[")
    runs = bnexp.load_runs(tmp_path)
    with pytest.warns(bnexp.BnexpWarning, match="1 row cannot be read"):
        logged = runs.metrics
    frame = runs.runs.set_index("run")
    first = frame.loc[(tmp_path / "a" / "seed0").as_posix()]
    assert (first["model.hidden"], first["optimizer.lr"], first["test_accuracy"]) == ((256, 256), 0.1, 0.9)
    assert frame["seed"].tolist() == [0, 1, 0]
    assert math.isnan(frame["probes.x"].iloc[0])
    assert math.isnan(frame["test_accuracy"].iloc[2])
    assert any("config.yaml" in problem for problem in runs.problems)
    expected = {
        (run.folder.as_posix(), row["step"], name): value
        for run in runs[:2]
        for row in rows_of(run.folder)
        for name, value in row.items()
        if name not in ("step", "epoch")
    } | {(broken.as_posix(), 1, "loss/train"): 0.5, (broken.as_posix(), 1, 'wei"rd'): 2}
    found = {(row.run, row.step, row.metric): row.value for row in logged.itertuples()}
    assert found.keys() == expected.keys()
    assert len(found) == len(logged)
    assert all(math.isnan(found[key]) if value is None else found[key] == value for key, value in expected.items())
    assert len(runs[0].metrics) == sum(key[0].endswith("a/seed0") for key in expected)


def test_metrics_are_chosen_by_name_or_pattern(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    write_run(tmp_path / "a" / "seed0")
    chosen = bnexp.load_runs(tmp_path, metrics=["loss/*", "time/step_ms"]).metrics
    assert set(chosen["metric"]) == {"loss/train", "loss/val", "time/step_ms"}
    with pytest.raises(bnexp.ConfigError, match=r"no run has logged loss/trian\. Did you mean \"loss/train\""):
        _ = bnexp.load_runs(tmp_path, metrics="loss/trian").metrics
    with pytest.raises(bnexp.ConfigError, match="no such folder"):
        bnexp.load_runs(tmp_path / "b")


def test_a_comparison_takes_runs_or_paths_and_gives_the_numbers_of_csv(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    for arm, lr in (("slow", 0.1), ("fast", 0.2)):
        for seed in range(2):
            config = {"name": arm, "seed": seed, "optimizer.lr": lr}
            write_run(tmp_path / arm / f"seed{seed}", config=config, accuracies=(0.5, lr + seed / 10))
    by_path = bnexp.compare(tmp_path / "*", sort="name")
    runs = bnexp.load_runs(tmp_path)
    assert by_path.arms.equals(bnexp.compare([*runs], sort="name").arms)
    assert by_path.arms["val_accuracy_mean"].tolist() == pytest.approx([0.25, 0.15])
    assert by_path.rates is not None
    assert by_path.rates["best_lr"].tolist() == [0.2]
    assert by_path.notes
    assert "<script" not in by_path._repr_html_()
    with pytest.raises(bnexp.ConfigError, match="--target 95"):
        bnexp.compare(runs, target=95)
    with pytest.raises(bnexp.ConfigError, match=r"^no runs given: the list is empty"):
        bnexp.compare([run for run in runs if run.status == "diverged"])


def test_a_figure_says_what_it_leaves_out_and_takes_the_options_of_its_kind(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    write_run(tmp_path / "runs" / "<b>" / "seed0", config={"name": "a"}, accuracies=(0.5, 0.9))
    figure = bnexp.plot(tmp_path / "runs")
    assert figure.save(tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "<b>" not in figure._repr_html_()
    with pytest.raises(bnexp.ConfigError, match=r"expected a name that ends with"):
        figure.save(tmp_path / "x.gif")
    with pytest.raises(bnexp.ConfigError, match=r"--size wide: no such size.*column, page, slide"):
        figure.save(tmp_path / "x.svg", size="wide")  # type: ignore[arg-type]
    with pytest.raises(bnexp.ConfigError, match=r"--baseline a: --kind curves takes none"):
        bnexp.plot(tmp_path / "runs", baseline="a")
    with pytest.raises(bnexp.ConfigError, match=r'--kind curve: no such kind\. Did you mean "curves"'):
        bnexp.plot(tmp_path / "runs", "curve")  # type: ignore[arg-type]


def test_a_name_that_is_not_offered_is_none() -> None:
    with pytest.raises(AttributeError, match="'trian'"):
        _ = bnexp.trian  # type: ignore[attr-defined]
    assert all(getattr(bnexp, name).__doc__ for name in bnexp.__all__)
    assert (Path(bnexp.__file__).parent / "py.typed").is_file()
