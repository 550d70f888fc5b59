"""Columns of any metric with their interval, and differences to a baseline paired by seed, found again by hand."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from scipy import stats

from bnexp.analysis.compare import compare_runs
from bnexp.document.table import Cell, Table
from bnexp.errors import ConfigError
from bnexp.runs.run import read_run

Write = Callable[..., Path]
DIVERGED = {"divergence": {"step": 12, "epoch": 1.2, "layer": "block1.linear"}, "test": None}
ACCURACIES = {
    "none": [(0.5, 0.71, 0.70), (0.5, 0.69, 0.72), (0.4, 0.74, 0.74), (0.6, 0.70, 0.66)],
    "bn": [(0.7, 0.80, 0.79), (0.6, 0.81, 0.83), (0.9, 0.79, 0.72), (0.5, 0.84, 0.85)],
}
T_3 = 3.1824463052837078
"""The 97.5 % quantile of Student's t distribution of 3 degrees."""


@pytest.fixture
def folders(tmp_path: Path, write_run: Write) -> list[Path]:
    """Two arms of four seeds."""
    return [
        write_run(tmp_path / name / f"seed{seed}", config={"name": name, "seed": seed}, accuracies=own, test=own[-1])
        for name, seeds in ACCURACIES.items()
        for seed, own in enumerate(seeds)
    ]


def tables(folders: list[Path], **options: Any) -> list[Table]:
    return compare_runs(map(read_run, folders), **options)


def cells(table: Table, name: str) -> dict[str, Cell]:
    (found,) = [row for row in table.rows if row["name"].text == name]
    return dict(found)


def by_hand(folder: Path, metric: str) -> list[float]:
    """Read a metric from metrics.jsonl with nothing but Python."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row[metric] for row in rows if row.get(metric) is not None]


def test_what_a_step_of_a_stack_is_stands_where_times_stand(tmp_path: Path, write_run: Write) -> None:
    folder = write_run(tmp_path / "seed0", meta={"stacked": 2})
    rows = [{**json.loads(row), "step_ms/train": 2.5} for row in (folder / "metrics.jsonl").read_text().splitlines()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for columns, told in ((None, True), ("loss/val:last", False), ("loss/val:last, step_ms/train:last", True)):
        (table,) = tables([folder], columns=columns)
        assert any(note.startswith("stacked seeds") for note in table.notes) == told


def test_every_number_is_found_again_from_the_rows(folders: list[Path]) -> None:
    table, differences = tables(folders, columns="accuracy/val:best, loss/val:last", baseline="none")
    best = {folder: max(by_hand(folder, "accuracy/val")) for folder in folders}
    of_bn, of_none = ([best[folder] for folder in folders if folder.parent.name == name] for name in ("bn", "none"))
    cell = cells(table, "bn")["accuracy/val:best"]
    half = T_3 * stdev(of_bn) / 2
    assert cell.sample is not None
    assert [cell.sample.mean, cell.sample.n] == [pytest.approx(fmean(of_bn), abs=1e-12), 4]
    assert [cell.more["low"], cell.more["high"]] == pytest.approx([fmean(of_bn) - half, fmean(of_bn) + half], abs=1e-12)
    assert (
        cell.text == f"{100 * fmean(of_bn):.2f} [{100 * (fmean(of_bn) - half):.2f}, {100 * (fmean(of_bn) + half):.2f}]"
    )
    pairs = [one - other for one, other in zip(of_bn, of_none, strict=True)]
    compared = cells(table, "bn")["accuracy/val:best_difference"].more
    half = T_3 * stdev(pairs) / 2
    assert [compared["low"], compared["high"]] == pytest.approx([fmean(pairs) - half, fmean(pairs) + half], abs=1e-12)
    signs = itertools.product((1, -1), repeat=4)
    flipped = [abs(sum(s * d for s, d in zip(sign, pairs, strict=True))) for sign in signs]
    p = sum(one >= abs(sum(pairs)) - 1e-12 for one in flipped) / 16
    # of two differences, that in the loss is 0 for every seed, and its p is 1
    assert (compared["p"], compared["p_corrected"], compared["won"]) == (p, min(1.0, 2 * p), 4)
    by_metric = {row["metric"].text: row for row in differences.rows}
    assert by_metric["accuracy/val:best %"]["won"].text == "4 of 4"
    assert by_metric["loss/val:last"]["won"].text == "0 of 4"
    assert by_metric["loss/val:last"]["p"].value == 1.0
    assert cells(table, "none").keys().isdisjoint({"accuracy/val:best_difference"})


def test_the_interval_is_that_of_scipy(folders: list[Path]) -> None:
    (table,) = tables(folders, columns="accuracy/val")
    values = [own[-1] for own in ACCURACIES["none"]]
    more = cells(table, "none")["accuracy/val:last"].more
    expected = stats.t.interval(0.95, 3, loc=fmean(values), scale=stats.sem(values))
    assert [more["low"], more["high"]] == pytest.approx(expected, abs=1e-12)


def test_holm_corrects_for_all_differences_of_a_table(folders: list[Path], tmp_path: Path, write_run: Write) -> None:
    for seed in range(4):
        own = (0.5, 0.6, 0.6 + 0.1 * (seed % 2))
        folders.append(write_run(tmp_path / "ln" / f"seed{seed}", config={"name": "ln", "seed": seed}, accuracies=own))
    table, _ = tables(folders, columns="accuracy/val", baseline="none")
    p, corrected = (
        {name: cells(table, name)["accuracy/val:last_difference"].more[which] for name in ("bn", "ln")}
        for which in ("p", "p_corrected")
    )
    small, large = sorted(p, key=lambda name: p[name] or 0)
    assert corrected[small] == min(1, 2 * (p[small] or 0))
    assert corrected[large] == max(corrected[small] or 0, p[large] or 0)


def test_a_seed_that_diverged_counts_in_the_difference_and_not_in_the_mean(
    folders: list[Path], tmp_path: Path, write_run: Write
) -> None:
    config = {"name": "bn", "seed": 4}
    folders.append(write_run(tmp_path / "bn" / "seed4", config=config, meta={"status": "diverged"}, summary=DIVERGED))
    folders.append(write_run(tmp_path / "none" / "seed4", config={"name": "none", "seed": 4}, accuracies=(0.9,)))
    table, differences = tables(folders, columns="accuracy/val", baseline="none")
    bn = cells(table, "bn")
    assert bn["accuracy/val:last"].order == pytest.approx(fmean(own[-1] for own in ACCURACIES["bn"]), abs=1e-12)
    assert (bn["n"].value, bn["diverged"].value) == (4, 1)
    compared = bn["accuracy/val:last_difference"]
    assert compared.sample is not None
    worst = min(own[-1] for seeds in ACCURACIES.values() for own in seeds)
    pairs = [a[-1] - b[-1] for a, b in zip(ACCURACIES["bn"], ACCURACIES["none"], strict=True)] + [worst - 0.9]
    assert (compared.sample.mean, compared.sample.n) == (pytest.approx(fmean(pairs), abs=1e-12), 5)
    assert compared.more["won"] == sum(pair > 0 for pair in pairs)
    assert any("bn: 1 of 5 diverged (seed 4; worst rank, counted as 0.66" in note for note in differences.notes)
    assert "diverged: bn 1 of 5" in "\n".join(table.notes)


def test_only_seeds_of_both_are_paired_and_others_are_named(folders: list[Path]) -> None:
    del folders[5]  # seed 1 of bn
    table, differences = tables(folders, columns="accuracy/val", baseline="none")
    assert cells(table, "bn")["accuracy/val:last_difference"].sample.n == 3  # type: ignore[union-attr]
    assert "none: seed 1 not paired, bn has none" in differences.notes


def test_what_differs_by_rounding_alone_is_equal_and_won_by_nobody(tmp_path: Path, write_run: Write) -> None:
    folders = [
        write_run(tmp_path / name / f"seed{seed}", config={"name": name, "seed": seed}, accuracies=(value,))
        for name, value in (("a", 0.1 + 0.2), ("b", 0.3))
        for seed in range(3)
    ]
    _, differences = tables(folders, columns="accuracy/val", baseline="a")
    row = differences.rows[0]
    assert [row[key].text for key in ("difference", "won", "p")] == ["0.00 [0.00, 0.00]", "0 of 3", "1.000"]


def test_arms_scored_on_other_examples_are_not_compared(folders: list[Path], tmp_path: Path, write_run: Write) -> None:
    config = {"name": "fashion", "data.dataset": "fashion_mnist"}
    folders.append(write_run(tmp_path / "fashion" / "seed0", config=config))
    table, differences = tables(folders, columns="accuracy/val", baseline="none")
    assert [row["name"].text for row in differences.rows] == ["bn"]
    assert "not compared, since scored on other examples: fashion" in differences.notes
    assert "accuracy/val:last_difference" not in cells(table, "fashion")


def test_one_seed_has_no_interval_and_no_p(folders: list[Path]) -> None:
    table, differences = tables([folders[0], folders[4]], columns="accuracy/val", baseline="none")
    assert cells(table, "bn")["accuracy/val:last"].text == "79.00"
    assert (differences.rows[0]["difference"].text, differences.rows[0]["p"].text) == ("+9.00", "-")
    assert "fewer than 3 pairs decide nothing" in differences.notes


def test_few_seeds_cannot_give_a_small_p(folders: list[Path]) -> None:
    _, differences = tables(folders, baseline="none")
    assert "4 pairs give no p below 0.125, whatever they are: look at the intervals" in differences.notes
    assert differences.title == "difference to none in accuracy/test:last %, paired by seed"


def test_a_goal_that_some_seeds_never_reach(folders: list[Path]) -> None:
    table, differences = tables(folders, columns="accuracy/val:to(0.8)", baseline="bn")
    assert cells(table, "none")["accuracy/val:to(0.8)"].text == "never"
    assert cells(table, "bn")["accuracy/val:to(0.8)"].text == "1.75 [0.95, 2.55]"  # epochs 2, 2, 1, 2
    assert "none: 4 of 4 never came there" in "\n".join(differences.notes)


def test_without_a_better_side_diverged_seeds_are_left_out_and_nothing_is_won(
    folders: list[Path], tmp_path: Path, write_run: Write
) -> None:
    config = {"name": "bn", "seed": 4}
    folders.append(write_run(tmp_path / "bn" / "seed4", config=config, meta={"status": "diverged"}, summary=DIVERGED))
    folders.append(write_run(tmp_path / "none" / "seed4", config={"name": "none", "seed": 4}))
    _, differences = tables(folders, columns="time/step_ms:max", baseline="none")
    assert "bn: seed 4 diverged, and left out: neither side of the metric is worse" in differences.notes
    assert cells(differences, "bn")["won"].text == "4 pairs"
    assert not any("counted as" in note for note in differences.notes)


def test_an_unfinished_arm_shows_what_it_has_in_parentheses(
    folders: list[Path], tmp_path: Path, write_run: Write
) -> None:
    meta = {"status": "interrupted"}
    folders.append(write_run(tmp_path / "ln" / "seed0", config={"name": "ln"}, meta=meta, accuracies=(0.5, 0.6)))
    table, differences = tables(folders, columns="accuracy/val:max, accuracy/test", baseline="none")
    assert (cells(table, "ln")["accuracy/val:max"].text, cells(table, "ln")["accuracy/test:last"].text) == (
        "(60.00)",
        "-",
    )
    assert [row["won"].text for row in differences.rows if row["name"].text == "ln"] == ["no pairs", "no pairs"]
    assert "ln: seed 0 interrupted" in differences.notes


def test_what_is_unknown_is_refused_by_name(folders: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r'no run has logged los/train\. Did you mean "loss/train"'):
        tables(folders, columns="los/train")
    with pytest.raises(ConfigError, match=r'--baseline non: no such arm\. Did you mean "none"'):
        tables(folders, baseline="non")


def test_a_metric_that_an_arm_lacks_is_named(folders: list[Path], tmp_path: Path) -> None:
    for seed in range(4):
        path = tmp_path / "none" / f"seed{seed}" / "metrics.jsonl"
        path.write_text(path.read_text().replace("loss/train", "loss/other"))
    (table,) = tables(folders, columns="loss/train:mean")
    assert cells(table, "none")["loss/train:mean"].text == "-"
    assert "loss/train:mean: no value in none" in table.notes


def test_arms_at_their_own_best_rates_are_compared_by_the_name_they_share(tmp_path: Path, write_run: Write) -> None:
    folders = []
    for norm, gain in (("none", 0.0), ("bn", 0.1)):
        for rate, more in ((0.1, 0.1 - gain), (1, gain)):
            for seed in range(3):
                name = f"norm={norm},lr={rate}"
                values = {"name": name, "seed": seed, "optimizer.lr": rate, "model.norm": norm}
                own = 0.5 + gain + more + 0.01 * seed
                place = tmp_path / name / f"seed{seed}"
                folders.append(write_run(place, config=values, accuracies=(own,), test=own))
    table, differences, _ = tables(folders, baseline="norm=none")
    assert differences.title.endswith("paired by seed, each arm at its own best learning rate")
    assert [row["name"].text for row in differences.rows] == ["norm=bn"]
    # bn at 1: 0.7, none at 0.1: 0.6
    assert cells(table, "norm=bn,lr=1")["accuracy/test:last_difference"].order == pytest.approx(0.1)
    assert not [
        row for row in table.rows if "accuracy/test:last_difference" in row and row["optimizer.lr"].value == 0.1
    ]


def test_pooled_arms_are_paired_by_the_mean_of_a_seed(tmp_path: Path, write_run: Write) -> None:
    folders, values = [], dict[tuple[str, int], list[float]]()
    for norm, rate, seed in itertools.product(("none", "bn"), (0.1, 1), range(3)):
        own = 0.5 + 0.1 * (norm == "bn") + 0.05 * rate + 0.02 * seed * (norm == "bn")
        values.setdefault((norm, seed), []).append(own)
        name = f"norm={norm},lr={rate}"
        config = {"name": name, "seed": seed, "optimizer.lr": rate, "model.norm": norm}
        folders.append(write_run(tmp_path / name / f"seed{seed}", config=config, accuracies=(own,)))
    table, _ = tables(folders, columns="accuracy/val", baseline="norm=none", group_by=["norm"])
    pairs = [fmean(values["bn", seed]) - fmean(values["none", seed]) for seed in range(3)]
    found = cells(table, "norm=bn")["accuracy/val:last_difference"]
    assert found.sample is not None
    assert (found.sample.mean, found.sample.n) == (pytest.approx(fmean(pairs), abs=1e-12), 3)
    assert found.more["low"] == pytest.approx(fmean(pairs) - 4.302652729749462 * stdev(pairs) / math.sqrt(3), abs=1e-12)
