"""What is said at the end of a training."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.analysis.arms import gather_arms
from bnexp.analysis.compare import compare_arms
from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.runs.run import read_run
from bnexp.session.life import start
from bnexp.session.report import report
from bnexp.session.terms import Terms

MakeConfig = Callable[..., Config]


def said(config: Config, place: Path) -> list[str]:
    return report(start(draw(config, place), Terms(runs_dir=place, data_dir=place, device="cpu"))).splitlines()


def test_a_finished_run_gives_its_scores_and_its_folder(make_config: MakeConfig, tmp_path: Path) -> None:
    lines = said(make_config(), tmp_path)
    assert lines[0].startswith("finished after 12 steps (2 epochs) in 0:0")
    assert [line.split()[0] for line in lines[1:]] == ["training", "validation", "test", "folder"]
    assert lines[-1].endswith(str(tmp_path / "small" / "seed0"))


def test_what_statistics_and_what_gradients_are_of_is_told_apart(make_config: MakeConfig, tmp_path: Path) -> None:
    lines = said(make_config(training={"accumulate": 4}), tmp_path)
    assert lines[0].startswith("finished after 4 steps (2 epochs)")
    assert lines[1].split(maxsplit=1) == ["batches", "statistics of 16 examples, gradients of 64"]


def test_averaged_weights_have_their_scores_with_both_statistics(make_config: MakeConfig, tmp_path: Path) -> None:
    lines = said(make_config(training={"ema": 0.9}), tmp_path)
    (line,) = [line.strip() for line in lines if line.startswith("  averaged ")]
    means = r"test [\d.]+ %, the last weights [\d.]+ % with recomputed statistics"
    assert re.fullmatch(rf"averaged +{means}; [\d.]+ % and [\d.]+ % with running ones", line)


def test_a_diverged_run_says_where_and_which_statistics_are_spoiled(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(optimizer={"lr": 1e19}, model={"block": "linear -> act -> norm", "hidden": [8] * 6})
    lines = said(config, tmp_path)
    assert lines[0].startswith("diverged after")
    (where,) = [line for line in lines if "not finite, first in" in line]
    (poisoned,) = [line for line in lines if "running_" in line]
    assert "at step 2:" in where
    assert "block1.bn.running" in poisoned
    assert " more" in poisoned, "only the first few are named"


def test_skipped_steps_are_counted(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(
        optimizer={"lr": 1e19}, model={"norm": "none"}, training={"on_divergence": "skip_step", "epochs": 20}
    )
    lines = said(config, tmp_path)
    assert any(line.strip().startswith("skipped ") and "51 steps" in line for line in lines)


def test_unequal_classes_are_scored_one_by_one_in_every_record(make_config: MakeConfig, tmp_path: Path) -> None:
    labels = {"train": [0] * 70 + [1] * 20 + [2] * 10, "test": [0] * 30 + [1] * 6 + [2] * 4}
    generator = np.random.default_rng(0)
    arrays = {f"x_{part}": generator.integers(0, 256, (len(y), 4, 4), dtype=np.uint8) for part, y in labels.items()}
    np.savez(tmp_path / "own.npz", **arrays, **{f"y_{part}": y for part, y in labels.items()})
    config = make_config(data={"dataset": "npz", "path": "own.npz", "synthetic": None, "val_fraction": 0.2})
    result = start(draw(config, tmp_path), Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu"))

    recorded = json.loads((result.folder / "meta.json").read_text())
    assert recorded["class_counts"] == {"train": [56, 16, 8], "val": [14, 4, 2], "test": [30, 6, 4]}
    test = result.summary["test"]["final"]
    written = (result.folder / "metrics.jsonl").read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in written]
    evaluated = [row["balanced_accuracy/val"] for row in rows if "accuracy/val" in row]
    assert evaluated[-1] == result.summary["final"]["balanced_accuracy"]
    assert rows[-1]["balanced_accuracy/test"] == test["balanced_accuracy"]
    (line,) = [line for line in report(result).splitlines() if line.strip().startswith("balanced")]
    assert f"validation {evaluated[-1]:.2%}   test {test['balanced_accuracy']:.2%}" in line

    table = compare_arms(gather_arms([read_run(result.folder)]))
    (column,) = [column for column in table.columns if column.key == "test_balanced_accuracy"]
    assert table.cell(table.rows[0], column).sample.mean == pytest.approx(test["balanced_accuracy"], rel=1e-12)
