"""A metric is taken at a point of a run: by hand from rows, and by what the notation says."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.points import MetricPoint, direction, logged_metrics, parse_point, parse_points, values_at
from bnexp.errors import ConfigError
from bnexp.runs.run import Run

ROWS: list[dict[str, Any]] = [
    {"step": 10, "epoch": 1.0, "loss/train": 2.0, "accuracy/val": 0.5},
    {"step": 15, "epoch": 1.5, "loss/train": 1.0},
    {"step": 20, "epoch": 2.0, "loss/train": 0.5, "accuracy/val": 0.9},
    {"step": 40, "epoch": 4.0, "loss/train": 0.7, "accuracy/val": 0.8},
    {"step": 40, "epoch": 4.0, "accuracy/test": 0.7, "accuracy/test_best": 0.75},
]


def made(folder: Path, status: str = "finished", rows: list[dict[str, Any]] = ROWS, **figures: float) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(folder, "arm", 0, 1, None, status, figures=figures)


def taken(run: Run, text: str) -> float | None:
    (point,) = parse_points(text)
    values, problems = values_at([run], [point])
    assert not problems
    return values[point][run.folder]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss/train", 0.7),
        ("loss/train:best", 0.5),
        ("loss/train:max", 2.0),
        ("loss/train:mean", (2.0 + 1.0 + 0.5 + 0.7) / 4),
        ("loss/train:auc", (1.5 * 0.5 + 0.75 * 0.5 + 0.6 * 2) / 3),
        ("accuracy/val:best", 0.9),
        ("accuracy/val:@15", 0.5),
        ("accuracy/val:@step40", 0.8),
        ("accuracy/val:@epoch 3", 0.9),
        ("accuracy/val:@step5", None),
        ("accuracy/val:@step41", None),
        ("accuracy/val:to(0.85)", 2.0),
        ("loss/train:to(1)", 1.5),
        ("accuracy/val:to(0.95)", math.inf),
        ("accuracy/test", 0.7),
        ("accuracy/test:best", 0.75),
        ("gradient_norm/total:max", None),
    ],
)
def test_points_are_what_the_rows_say_by_hand(tmp_path: Path, text: str, expected: float | None) -> None:
    found = taken(made(tmp_path / "seed0", steps=40, epochs=4), text)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-15))


def test_a_row_that_was_written_twice_counts_as_it_was_last_written(tmp_path: Path) -> None:
    rows = [*ROWS[:3], {"step": 15, "epoch": 1.5, "loss/train": 3.0}, ROWS[3]]
    assert taken(made(tmp_path / "seed0", rows=rows), "loss/train:mean") == pytest.approx((2 + 3 + 0.5 + 0.7) / 4)


def test_a_run_in_progress_has_no_value_of_what_is_to_come(tmp_path: Path) -> None:
    run = made(tmp_path / "seed0", "running")
    assert taken(run, "accuracy/val:to(0.95)") is None
    assert taken(run, "accuracy/test") is None  # of a former end
    assert taken(run, "accuracy/val:@step40") == 0.8


def test_a_value_that_was_not_finite_is_no_earlier_one(tmp_path: Path) -> None:
    run = made(tmp_path / "seed0", rows=[*ROWS, {"step": 50, "epoch": 5.0, "loss/train": None}])
    for text in ("loss/train", "loss/train:@step50"):
        assert math.isnan(taken(run, text) or 0)
    assert taken(run, "loss/train:@step45") == 0.7
    assert taken(run, "loss/train:max") == 2.0


def test_a_figure_of_the_summary_needs_no_rows_and_they_need_no_summary(tmp_path: Path) -> None:
    run = made(tmp_path / "seed0", val_accuracy=0.8, val_accuracy_best=0.9)
    points = parse_points("accuracy/val, accuracy/val:best")
    from_rows, _ = values_at([replace(run, figures={})], points)
    (run.folder / "metrics.jsonl").unlink()
    assert values_at([run], points) == (from_rows, [])
    assert values_at([run], parse_points("loss/val"))[1] == [f"{run.folder}/metrics.jsonl: missing"]


def test_rows_that_were_edited_are_named(tmp_path: Path) -> None:
    run = replace(made(tmp_path / "seed0"), rows_seal={"size": 3})
    (problem,) = values_at([run], parse_points("loss/train"))[1]
    assert "the run wrote 3" in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accuracy", "expected a metric and a point, such as accuracy/val:best"),
        ("accuracy/val:bst", 'Did you mean "best"?'),
        ("gradient_norm/total:best", "expected gradient_norm/total:min or gradient_norm/total:max"),
        ("acuracy/val:best", 'acuracy/val:max. Did you mean "accuracy"?'),
        ("accuracy/val:to(95)", "accuracy/val:to(0.95)"),
        ("loss/train:to(x)", "loss/train:to(0.1)"),
        ("gradient_norm/total:to(1)", "better side"),
        ("accuracy/test:max", "accuracy/test:best"),
        ("loss/val:@step1.5", "@step500"),
        ("loss/val, , loss/train", "expected a metric"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_points(text)
    assert said in str(caught.value)


def test_a_point_knows_its_better_side_and_writes_its_values() -> None:
    assert [direction(name) for name in ("accuracy/val_ema", "loss/train", "gamma_mean/head")] == ["up", "down", None]
    assert parse_point("loss/val:to(0.12345678)").goal == 0.12345678
    target = parse_point("accuracy/val:to(0.950)")
    assert (target, target.direction, target.text(math.inf)) == (
        MetricPoint("accuracy/val", "to(0.95)"),
        "down",
        "never",
    )
    assert (MetricPoint("accuracy/val").header, MetricPoint("accuracy/val").text(0.9512)) == (
        "accuracy/val:last %",
        "95.12",
    )
    assert parse_points(" loss/val ,loss/val:last") == (MetricPoint("loss/val"),)


def test_logged_metrics_are_those_of_the_rows(tmp_path: Path) -> None:
    assert logged_metrics(made(tmp_path / "seed0")) == [
        "loss/train",
        "accuracy/val",
        "accuracy/test",
        "accuracy/test_best",
    ]
