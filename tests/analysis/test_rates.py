"""Each arm at its own best learning rate: chosen on validation, judged on test, with the range that works."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.arms import gather_arms
from bnexp.analysis.rates import rate_axes, rate_table
from bnexp.document.table import Table
from bnexp.runs.run import read_run

DIVERGED = {"divergence": {"step": 12, "epoch": 1.2, "layer": "block1.linear"}, "test": None}
Make = Callable[..., Table]


@pytest.fixture
def table_of(tmp_path: Path, write_run: Callable[..., Path]) -> Make:
    """Make the table of arms: of each, by rate, (validation, test) of every seed; None for one that diverged."""

    def make(arms: dict[str, dict[float, list[tuple[float, float] | None]]]) -> Table | None:
        folders = []
        for name, rates in arms.items():
            for rate, seeds in rates.items():
                for seed, scores in enumerate(seeds):
                    arm = f"norm={name},lr={rate:g}"
                    config = {"name": arm, "seed": seed, "optimizer.lr": rate, "model.block": f"linear -> {name}"}
                    place = tmp_path / arm / f"seed{seed}"
                    if scores is None:
                        meta = {"status": "diverged"}
                        folders.append(write_run(place, config=config, meta=meta, summary=DIVERGED, accuracies=(0.1,)))
                    else:
                        folders.append(write_run(place, config=config, accuracies=(scores[0],), test=scores[1]))
        return rate_table(gather_arms(map(read_run, folders)))

    return make


def row(table: Table, name: str) -> dict[str, Any]:
    (found,) = [row for row in table.rows if row["name"].text == name]
    return {key: cell.order for key, cell in found.items()}


def test_the_best_rate_is_chosen_on_validation_and_judged_on_test(table_of: Make) -> None:
    rates = {0.01: [(0.5, 0.99)], 0.1: [(0.9, 0.7)], 1.0: [(0.85, 0.8)], 10.0: [None]}
    table = table_of({"bn": rates, "none": {**rates, 1.0: [None]}})
    bn, none = row(table, "norm=bn"), row(table, "norm=none")
    assert (bn["best_lr"], bn["val_accuracy"], bn["test_accuracy"]) == (0.1, 0.9, 0.7)
    # 0.81 is 90 % of 0.9: 0.1 and 1 work, a decade
    assert (bn["works_from"], bn["works_to"], bn["decades"], bn["open_end"]) == (0.1, 1, pytest.approx(1), None)
    assert (none["works_from"], none["works_to"], none["decades"]) == (0.1, 0.1, 0)
    assert [table.rows[at]["diverged"].text for at in (0, 1)] == ["1 of 1 at 10", "1 of 1 at 1, 1 of 1 at 10"]
    assert [one["n"] for one in bn["rates"]] == [1, 1, 1, 0]
    assert "may lie beyond" not in " ".join(table.notes)


def test_a_seed_that_diverged_is_worse_than_any_accuracy(table_of: Make) -> None:
    table = table_of({"bn": {0.1: [(0.8, 0.8), (0.8, 0.8)], 1.0: [(0.95, 0.95), None]}})
    bn = row(table, "norm=bn")
    assert (bn["best_lr"], bn["n"], bn["works_to"]) == (0.1, 2, 0.1)
    assert table.rows[0]["diverged"].text == "1 of 2 at 1"


def test_what_counts_as_working_is_counted_from_chance(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    counts = {"class_counts": {"train": [10] * 10, "val": [1] * 10, "test": [1] * 10}}

    def axis(*accuracies: float) -> tuple[float, ...]:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        folders = [
            write_run(place / f"lr{rate}" / "seed0", config={"optimizer.lr": rate}, meta=counts, accuracies=(own,))
            for rate, own in zip((0.1, 1, 10), accuracies, strict=True)
        ]
        (found,) = rate_axes(gather_arms(map(read_run, folders)))
        return tuple(rate.lr for rate in found.working)

    assert axis(0.81, 0.9, 0.83) == (1, 10)  # 0.1 + 90 % of 0.8 is 0.82
    assert axis(0.1, 0.12, 0.11) == (1,)
    assert axis(0.1, 0.1, 0.09) == ()


def test_an_end_that_still_works_is_said(table_of: Make) -> None:
    table = table_of({"bn": {0.1: [(0.85, 0.8)], 1.0: [(0.9, 0.9)]}, "none": {0.1: [(0.9, 0.9)], 1.0: [(0.2, 0.2)]}})
    assert [cells["decades"].text for cells in table.rows] == ["≥ 1.00", "≥ 0.00"]
    assert [cells["open_end"].value for cells in table.rows] == ["both", "smallest"]
    said = "\n".join(table.notes)
    assert "the best rate is the largest tried, and a better one may lie beyond: norm=bn" in said
    assert "the best rate is the smallest tried, and a better one may lie beyond: norm=none" in said


def test_a_range_has_no_gap(table_of: Make) -> None:
    table = table_of({"bn": {0.01: [(0.85, 0.8)], 0.1: [(0.3, 0.3)], 1.0: [(0.9, 0.9)], 10.0: [(0.88, 0.9)]}})
    assert (row(table, "norm=bn")["works_from"], row(table, "norm=bn")["works_to"]) == (1, 10)


def test_an_arm_that_diverged_everywhere_has_no_best_rate_and_stands_last(table_of: Make) -> None:
    table = table_of({"none": {0.1: [None], 1.0: [None]}, "bn": {0.1: [(0.2, 0.2)], 1.0: [(0.1, 0.1)]}})
    assert [cells["name"].text for cells in table.rows] == ["norm=bn", "norm=none"]
    assert not {"best_lr", "decades", "val_accuracy"} & table.rows[1].keys()


def test_arms_tried_at_other_rates_and_runs_in_progress_are_said(
    table_of: Make, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    table = table_of({"bn": {0.1: [(0.8, 0.8)], 1.0: [(0.9, 0.9)]}, "none": {0.1: [(0.8, 0.8)], 2.0: [(0.7, 0.7)]}})
    assert "not tried at the same rates" in " ".join(table.notes)
    folders = [write_run(tmp_path / f"lr{rate}" / "seed0", config={"optimizer.lr": rate}) for rate in (0.1, 1)]
    folders.append(write_run(tmp_path / "lr2" / "seed0", config={"optimizer.lr": 2}, meta={"status": "interrupted"}))
    table = rate_table(gather_arms(map(read_run, folders)))
    assert "not all runs have come to their end, and the best rate may change: mlp at 2" in table.notes


def test_without_several_rates_there_is_no_table(
    table_of: Make, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    assert table_of({"bn": {0.1: [(0.8, 0.8)]}, "none": {1.0: [(0.9, 0.9)]}}) is None
    same = [write_run(tmp_path / name / "seed0", config={"name": name, "optimizer.lr": 0.1}) for name in "ab"]
    other = [write_run(tmp_path / f"{name}2" / "seed0", config={"name": name, "optimizer.lr": 0.2}) for name in "ab"]
    axes = rate_axes(gather_arms(map(read_run, [*same, *other])))
    assert [axis.name for axis in axes] == ["a", "b"]
