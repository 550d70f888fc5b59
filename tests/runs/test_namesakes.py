"""Runs of one name and of several strategies are told apart by the keys that differ."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.runs.find import find_runs, place_of_runs
from bnexp.runs.namesakes import differences, others_of_its_name
from bnexp.runs.run import read_run

WriteRun = Callable[..., Path]


def test_arms_of_one_name_are_told_apart_and_seeds_are_not(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "d" / "seed0")
    write_run(tmp_path / "d" / "seed0-2", config={"model.block": "linear -> bn -> relu"})
    write_run(tmp_path / "d" / "seed1", config={"seed": 1})
    write_run(tmp_path / "alone" / "seed0", config={"optimizer.lr": 0.5})
    told = differences([read_run(folder) for folder in find_runs([], tmp_path)])
    assert {folder.name: text for folder, text in told.items()} == {
        "seed0": "block=linear -> relu",
        "seed0-2": "block=linear -> bn -> relu",
        "seed1": "block=linear -> relu",
    }


def test_keys_of_one_last_word_are_written_whole(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "d" / "seed0", config={"optimizer.name": "sgd", "schedule.name": "constant"})
    write_run(tmp_path / "d" / "seed0-2", config={"optimizer.name": "adam", "schedule.name": "cosine"})
    told = differences([read_run(folder) for folder in find_runs([], tmp_path)])
    assert told[tmp_path / "d" / "seed0-2"] == "optimizer.name=adam, schedule.name=cosine"


def test_a_new_run_is_told_which_other_arm_has_its_name(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    config = make_config()
    folder = tmp_path / config.name / "seed0"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    (folder / "config.yaml").write_text(dump_config(config))
    assert others_of_its_name(config, 10, tmp_path) == []
    other = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"lr": 0.7}), "seed": 5})
    [note] = others_of_its_name(other, 10, tmp_path)
    assert note.startswith(f"{folder} has lr=")
    assert "this run has lr=0.7" in note
    assert "--name" in note
    named, study = tmp_path / config.name, tmp_path / "study" / config.name
    study.mkdir(parents=True)
    named.rename(study / "arm")
    [note] = others_of_its_name(other, 10, tmp_path / "study")  # an arm of a study of this name has another name
    assert note.startswith(f"{study} also holds runs of arm: ")


@pytest.mark.parametrize(("inside", "found"), [(".", 2), ("a", 1), ("a/seed0", 1)])
def test_runs_are_found_from_inside_their_folder(
    inside: str, found: int, tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name / "seed0")
    monkeypatch.chdir(tmp_path / "runs" / inside)
    assert len(find_runs([], Path("runs"))) == found
    monkeypatch.chdir(tmp_path)
    assert place_of_runs(Path("runs")) == Path("runs")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert place_of_runs(Path("runs")) == Path("runs")
