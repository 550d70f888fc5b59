"""Arms are paired by seed; runs that diverged are results with the worst rank, and what lacks a value is said."""

import math
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.pairing import Outcomes, Stated, outcomes, pair, stated_value
from bnexp.analysis.points import MetricPoint, parse_point
from bnexp.runs.data import RunData
from bnexp.runs.run import Run

POINT = MetricPoint("accuracy/val")
CHANCE = Stated(0.1, "chance")


def made(seed: int | None, status: str = "finished", name: str = "bn", **more: Any) -> Run:
    return Run(
        Path(f"{name}/seed{seed}-{more.get('repeat', 1)}"), name, seed, more.pop("repeat", 1), None, status, **more
    )


def of(runs: list[Run], values: list[float | None], missing: tuple[int, ...] = ()) -> Outcomes:
    by_folder = {run.folder: value for run, value in zip(runs, values, strict=True)}
    return outcomes("bn", runs, POINT, by_folder, CHANCE, missing)


def test_pairs_are_the_seeds_that_both_have_whatever_their_order() -> None:
    first = of([made(2), made(0), made(1)], [0.92, 0.90, 0.91])
    second = outcomes("none", [made(1), made(2), made(5)], POINT, {made(s).folder: 0.01 * s for s in (1, 2, 5)}, CHANCE)
    pairing = pair(first, second)
    assert pairing.seeds == (1, 2)
    assert pairing.differences("up") == pytest.approx([0.90, 0.90])
    assert pairing.differences("down") == pytest.approx([-0.90, -0.90])
    assert pairing.notes == ["bn: seed 0 not paired, none has none", "none: seed 5 not paired, bn has none"]


def test_a_diverged_seed_counts_as_stated_also_where_it_had_a_better_value_before() -> None:
    found = of([made(0), made(1, "diverged"), made(2, "diverged")], [0.9, 0.95, None])
    assert found.values == {0: 0.9, 1: 0.1, 2: 0.1}
    assert found.notes == ["bn: 2 of 3 diverged (seeds 1, 2; worst rank, counted as 0.1, chance)"]


def test_a_value_that_is_not_finite_counts_as_diverged() -> None:
    found = of([made(0), made(1), made(2), made(3, "diverged")], [0.9, math.nan, 1e308, None])
    assert (found.diverged, found.infinite) == ((1, 2, 3), (1, 2))
    assert found.notes == [
        "bn: 1 of 4 diverged (seed 3; worst rank, counted as 0.1, chance)",
        "bn: 2 of 4 not finite there (seeds 1, 2; worst rank, counted as 0.1, chance)",
    ]


def test_what_is_not_complete_is_left_out_and_said() -> None:
    runs = [made(0), made(1, "running"), made(2, "failed"), made(3), made(None)]
    found = of(runs, [0.9, 0.8, 0.8, None, 0.7], missing=(4, 5))
    assert found.values == {0: 0.9}
    assert found.notes == [
        "bn: seeds 4, 5 not run yet",
        "bn: seed 1 running",
        "bn: seed 2 failed",
        "bn: seed 3 without accuracy/val:last",
    ]


def test_of_several_runs_of_a_seed_the_newest_complete_one_counts() -> None:
    runs = [made(0, repeat=3, status="running"), made(0, repeat=2), made(0, "diverged")]
    found = of(runs, [0.5, 0.9, None])
    assert (found.values, found.diverged, found.absent) == ({0: 0.9}, (), {})


def test_a_diverged_run_counts_as_chance_or_as_the_worst_of_the_finished() -> None:
    data = RunData(examples={"train": (5,) * 10})
    runs = [made(0, data=data), made(1, data=data), made(2, "diverged", data=data)]

    def stated(point: str, better: Any, values: list[float | None]) -> tuple[float, str]:
        by_folder = {run.folder: value for run, value in zip(runs, values, strict=True)}
        found = stated_value(parse_point(point), better, runs, by_folder)
        return found.value, found.why

    assert stated("accuracy/val", "up", [0.9, 0.8, 0.05]) == (0.1, "chance")
    assert stated("accuracy/val", "up", [0.9, 0.08, 0.05]) == (0.08, "the worst of the finished runs")
    assert stated("loss/val", "down", [0.5, 0.6, 1e30]) == (math.log(10), "chance")
    assert stated("gradient_norm/total", "down", [5.0, 7.0, 1e30]) == (7.0, "the worst of the finished runs")
    assert stated("gradient_norm/total", "up", [None, None, 1.0])[0] == 0.0


def test_a_goal_that_was_never_reached_counts_as_the_longest_training() -> None:
    point = parse_point("accuracy/val:to(0.9)")
    runs = [made(0, figures={"epochs": 3.0}), made(1, figures={"epochs": 3.0}), made(2, "diverged")]
    values = {run.folder: value for run, value in zip(runs, [3.0, math.inf, 1.0], strict=True)}
    stated = stated_value(point, "down", runs, values)
    assert (stated.value, stated.why) == (3.0, "the longest training")
    found = outcomes("bn", runs, point, values, stated)
    assert (found.values, found.never, found.diverged) == ({0: 3.0, 1: 3.0, 2: 3.0}, (1,), (2,))
