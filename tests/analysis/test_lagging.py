"""Where running statistics lag: what counts as more than chance, and who is told."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.analysis.lagging import chance, lag_in, lag_of
from bnexp.commands.compare import compare
from bnexp.commands.train import train

LAG, WORSE = "running statistics lag behind the weights", "recomputed statistics do worse than the running ones"
PLACES = [(part, which) for part in ("val", "test") for which in ("final", "best")]


def figures(running: float, recomputed: float, only_running: int, only_recomputed: int) -> dict[str, float]:
    counts = {"val_accuracy_only_running": only_running, "val_accuracy_only_recomputed": only_recomputed}
    return {"val_accuracy": running, "val_accuracy_recomputed": recomputed, **counts}


def by_chance(only_one: int, only_other: int) -> float:
    """Return the probability that a fair coin gives so unequal counts: McNemar's test, exact."""
    n, k = only_one + only_other, min(only_one, only_other)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def test_chance_is_never_less_than_that_of_a_fair_coin_and_hardly_more() -> None:
    for total in (1, 5, 20, 100, 500):
        for only_one in range(total + 1):
            exact, found = by_chance(only_one, total - only_one), chance(only_one, total - only_one)
            assert exact < 1e-12 or exact > 0.2 or exact <= found
            assert exact < 1e-3 or found < 3 * exact
    assert chance(0, 0) == 1


def test_runs_that_share_their_examples_raise_no_false_alarms() -> None:
    """Which statistics an example favours is drawn once for all seeds: in none are the statistics really different."""
    draw, trials, seeds, examples = np.random.default_rng(0), 2000, 5, 300
    told = pooled = 0
    for _ in range(trials):
        favours_running = draw.random(examples) < 0.5
        differs = draw.random((seeds, examples)) < 0.3
        runs = []
        for row in differs:
            one, other = int((row & favours_running).sum()), int((row & ~favours_running).sum())
            runs.append(figures(0.5 + one / examples, 0.5 + other / examples, one, other))
        told += lag_of(runs) is not None
        names = ("val_accuracy_only_running", "val_accuracy_only_recomputed")
        pooled += chance(*(sum(run[name] for run in runs) for name in names)) < 0.01
    assert told / trials < 0.01
    assert pooled / trials > 0.04  # what adding the counts up would do: it takes 300 examples for 1500


def recomputed(accuracy: float, only_running: int, only_recomputed: int, **places: Any) -> dict[str, Any]:
    """Return changes to a summary: the same score with recomputed statistics at each place."""
    counts = {"only_running": only_running, "only_recomputed": only_recomputed}
    score = {"loss": 1.0, "accuracy": accuracy, "examples": 1000, **counts}
    return {f"recomputed.{part}.{which}": score for part, which in PLACES} | places


def notes_on(write_run: Callable[..., Path], tmp_path: Path, *summaries: dict[str, Any]) -> list[str]:
    from bnexp.analysis.arms import gather_arms
    from bnexp.analysis.compare import compare_arms
    from bnexp.runs.run import read_run

    folders = [
        write_run(tmp_path / f"arm{number}" / "seed0", summary=summary, config={"name": f"arm{number}"})
        for number, summary in enumerate(summaries)
    ]
    return [note for note in compare_arms(gather_arms(map(read_run, folders))).notes if "recomputed" in note]


def test_the_arm_and_both_figures_are_named(write_run: Callable[..., Path], tmp_path: Path) -> None:
    equal = recomputed(0.87, 30, 20)
    lags = recomputed(0.95, 10, 80)
    only_test = equal | {"recomputed.test.final": lags["recomputed.test.final"]}
    worse = recomputed(0.80, 90, 10)
    assert notes_on(write_run, tmp_path, {}, lags, equal, only_test, worse) == [
        f"arm1: {LAG}: 88.00 % with running, 95.00 % with recomputed ones (val % final)",
        f"arm3: {LAG}: 90.00 % with running, 95.00 % with recomputed ones (test %)",
        f"arm4: {WORSE}: 88.00 % with running, 80.00 % with recomputed ones (val % final)",
    ]


def test_a_score_that_is_not_finite_tells_nothing() -> None:
    summary = {"final": {"accuracy": 0.5}, "recomputed": {"val": {"final": {"accuracy": math.nan, "only_running": 90}}}}
    assert lag_in(summary) is None
    assert lag_in({"final": None, "recomputed": None}) is None


CNN = """\
data: {dataset: synthetic, batch_size: 20, synthetic: {classes: 4, shape: [1, 6, 6], size: 1600, noise: 0.1}}
model: {arch: cnn, stages: [[4]], block: conv -> norm -> act, activation: relu, pool: max}
optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
training: {steps: 60}
"""


def test_a_small_cnn_after_a_few_steps_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With running averages that hardly began, beside an arm that has none."""
    path = tmp_path / "cnn.yaml"
    path.write_text(CNN)
    for name, norm in (("slow", "bn(momentum=0.01)"), ("groups", "gn(groups=2)")):
        train([path], overrides=[f"model.norm={norm}"], name=name, runs_dir=tmp_path, quiet=True, device="cpu")
        said = capsys.readouterr().out
        assert ("% with recomputed ones (val % final)" in said) == (name == "slow")
    compare(["slow", "groups"], runs_dir=tmp_path, output="json")
    table = json.load(io.StringIO(capsys.readouterr().out))
    (note,) = [note for note in table["notes"] if "recomputed" in note]
    rows = {row["name"]: row for row in table["rows"]}
    running, over = (rows["slow"][f"val_accuracy{kind}"]["mean"] for kind in ("", "_recomputed"))
    assert running < over - 0.05
    figures = f"{100 * running:.2f} % with running, {100 * over:.2f} % with recomputed ones (val % final)"
    assert note == f"slow: {LAG}: {figures}"
    assert rows["groups"]["val_accuracy_recomputed"]["n"] == 0


def test_averaged_weights_are_told_with_both_statistics(write_run: Callable[..., Path], tmp_path: Path) -> None:
    from bnexp.analysis.arms import gather_arms
    from bnexp.analysis.compare import compare_arms
    from bnexp.runs.run import read_run

    folders = []
    for arm, seed, places in [
        ("bn", 0, {"test": 0.70, "test_recomputed": 0.92}),
        ("bn", 1, {"test": 0.72, "test_recomputed": 0.94}),
        ("ln", 0, {"test": 0.91}),
        ("off", 0, {}),
    ]:
        summary: dict[str, Any] = {
            f"ema.final.{place}": {"loss": 1.0, "accuracy": value} for place, value in places.items()
        }
        summary |= {"recomputed.test.final": {"loss": 1.0, "accuracy": 0.91 + 0.02 * seed}} if arm == "bn" else {}
        config = {"name": arm, "seed": seed, "training.ema": 0.99 if places else None}
        folders.append(write_run(tmp_path / arm / f"seed{seed}", summary=summary, config=config))
    table = compare_arms(gather_arms(map(read_run, folders)))
    assert [note for note in table.notes if "averaged" in note] == [
        "bn: averaged weights: test 93.00 %, the last weights 92.00 % with recomputed statistics; 71.00 % and 90.00 % "
        "with running ones",
        "ln: averaged weights: test 91.00 %, the last weights 90.00 %",
    ]
    means = [row["test_accuracy_ema_recomputed"].sample for row in table.rows]
    assert [mean and mean.mean for mean in means] == [pytest.approx(0.93), None, None]
    assert "test_accuracy_ema" in [column.key for column in table.columns]
    plain = compare_arms(gather_arms(map(read_run, folders[3:])))
    assert "test_accuracy_ema" not in [column.key for column in plain.columns]


def test_a_seed_that_goes_the_other_way_takes_the_note_back() -> None:
    ahead, behind = figures(0.3, 0.45, 5, 65), figures(0.41, 0.38, 30, 18)
    assert lag_of([ahead, ahead]) is not None
    assert lag_of([ahead, ahead, behind]) is None
    assert lag_of([ahead, ahead, figures(0.4, 0.4, 3, 3)]) is not None
