import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.arms import gather_arms
from bnexp.analysis.compare import compare_arms, compare_runs
from bnexp.document.table import Cell, Sample, Table
from bnexp.runs.run import read_run

Make = Callable[..., Table]
DIVERGED = {"divergence": {"step": 12, "epoch": 1.2, "layer": "block1.linear"}, "test": None}


@pytest.fixture
def table_of(tmp_path: Path, write_run: Callable[..., Path]) -> Make:
    def make(*runs: dict[str, Any], **options: Any) -> Table:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        folders = [write_run(place / f"mlp{number}" / "seed0", **run) for number, run in enumerate(runs)]
        return compare_arms(gather_arms(map(read_run, folders)), **options)

    return make


def cell(table: Table, key: str, row: int = 0) -> Cell:
    (column,) = [column for column in table.columns if column.key == key]
    return table.cell(table.rows[row], column)


def notes(table: Table) -> str:
    return "\n".join(table.notes)


def test_mean_and_sample_deviation_over_seeds(table_of: Make) -> None:
    table = table_of(*({"config": {"seed": seed}, "test": test} for seed, test in enumerate((0.9, 0.92, 0.94))))
    sample = cell(table, "test_accuracy").sample
    assert sample is not None
    # mean 0.92; squared deviations 0.0004 + 0 + 0.0004; half of that is 0.0004; its root 0.02
    assert (sample.mean, sample.std, sample.n) == (pytest.approx(0.92), pytest.approx(0.02), 3)
    assert cell(table, "test_accuracy").text == "92.00 ± 2.00"
    assert cell(table, "n").text == "3"
    assert "sample standard deviation" in notes(table)
    assert "one seed is no finding" not in notes(table)


def test_one_seed_shows_no_spread_and_is_no_finding(table_of: Make) -> None:
    table = table_of({"test": 0.9}, {"config": {"name": "b"}, "test": 0.8})
    assert cell(table, "test_accuracy").text == "90.00"
    assert "one seed is no finding" in notes(table)
    assert "±" not in notes(table)


CHOSEN = {"values": {"optimizer.lr": 0.1}, "candidates": 3, "seeds": 2}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (CHOSEN, "optimizer.lr: each arm has its own, the best of 3 candidates on validation"),
        (None, "optimizer.lr: not tuned alike, and part of a difference may be that: candidates of a 3, b 0"),
        ("0.1", "chosen is '0.1', expected keys and values"),  # a record may hold anything
    ],
)
def test_what_tuning_chose_is_said_and_where_arms_were_not_tuned_alike(
    table_of: Make, other: object, said: str
) -> None:
    table = table_of(
        {"config": {"name": "a"}, "meta": {"chosen": CHOSEN}}, {"config": {"name": "b"}, "meta": {"chosen": other}}
    )
    assert said in notes(table)


def test_only_differing_keys_get_columns_named_briefly_where_that_is_clear(table_of: Make) -> None:
    change = {"model.block": "linear -> bn -> relu", "schedule.name": "step", "optimizer.lr": 1, "status": "mine"}
    table = table_of({}, {"config": change})
    columns = {column.key: column.short for column in table.columns[1:5]}
    brief = {"model.block": "block", "optimizer.lr": "lr", "schedule.name": "schedule.name"}
    assert columns == {**brief, "config.status": "config.status"}
    assert [cell(table, "schedule.name", row).text for row in (0, 1)] == ["-", "step"]
    assert cell(table, "status").text == "finished"


def test_best_is_told_with_its_epoch(table_of: Make) -> None:
    table = table_of({"accuracies": (0.5, 0.9, 0.8)}, {"config": {"seed": 1}, "accuracies": (0.5, 0.6, 0.8)})
    assert cell(table, "val_accuracy").text == "80.00 ± 0.00"
    assert cell(table, "val_accuracy_best").sample == Sample(pytest.approx(0.85), pytest.approx(math.sqrt(0.005)), 2)
    assert cell(table, "best_epoch").text == f"2.5 ± {math.sqrt(0.5):.2f}"


def test_epochs_to_a_target(table_of: Make) -> None:
    table = table_of(
        {"accuracies": (0.5, 0.8, 0.9)},
        {"config": {"seed": 1}, "accuracies": (0.9, 0.1, 0.1)},
        {"config": {"seed": 2}, "accuracies": (0.1, 0.1, 0.79)},
        {"config": {"name": "never"}, "accuracies": (0.1, 0.2)},
        {"config": {"name": "hot"}, "accuracies": (0.9, None), "meta": {"status": "diverged"}, "summary": DIVERGED},
        {"config": {"name": "now"}, "accuracies": (0.1,), "meta": {"status": "running", "pid": os.getpid()}},
        target=0.8,
    )
    # epochs 2 and 1 of the two that get there: mean 1.5, deviation 0.5 * sqrt(2)
    assert cell(table, "epochs_to_target").text == "1.5 ± 0.71 (2 of 3)"
    assert [cell(table, "epochs_to_target", row).text for row in (1, 2, 3)] == [
        "never",
        "- (diverged)",
        "- (running)",
    ]
    assert "epochs to 80 % val" in [column.header for column in table.columns]


def test_a_diverged_run_is_shown_and_enters_no_mean(table_of: Make) -> None:
    table = table_of(
        {"test": 0.9},
        {"config": {"seed": 1}, "meta": {"status": "diverged"}, "summary": DIVERGED, "accuracies": (0.1,)},
        {"config": {"name": "hot"}, "meta": {"status": "diverged"}, "summary": DIVERGED, "accuracies": (0.1,)},
    )
    assert cell(table, "val_accuracy").sample == Sample(0.88, None, 1)
    assert cell(table, "status").text == "1 finished, 1 diverged at step 12 in block1.linear"
    assert cell(table, "val_accuracy", 1) == Cell()
    assert [cell(table, "diverged", row).value for row in (0, 1)] == [1, 1]
    assert "diverged: mlp 1 of 2, hot 1 of 1: the means beside them are of the seeds that did not" in notes(table)
    assert "not all run with the same seeds" in notes(table)  # hot has only one of them
    assert (cell(table, "n", 1).value, cell(table, "status", 1).text) == (0, "diverged at step 12 in block1.linear")


def test_an_unfinished_arm_shows_what_is_known(table_of: Make) -> None:
    running = {"status": "running", "pid": os.getpid()}
    table = table_of({"meta": running, "accuracies": (0.5, 0.9, 0.9, 0.8)})
    shown = [cell(table, key) for key in ("val_accuracy", "val_accuracy_best", "best_epoch", "test_accuracy")]
    assert [one.text for one in shown] == ["(80.00)", "(90.00)", "(2)", "-"]
    assert [one.sample for one in shown] == [None] * 4
    assert (cell(table, "n").value, cell(table, "status").text) == (0, "running")
    assert "in parentheses" in notes(table)


def test_an_unfinished_seed_enters_no_mean(table_of: Make) -> None:
    running = {"status": "running", "pid": os.getpid()}
    seeds = [{"config": {"seed": seed}, "test": 0.9} for seed in (0, 1)]
    table = table_of(*seeds, {"config": {"seed": 2}, "meta": running, "accuracies": (0.1,)})
    assert cell(table, "val_accuracy").sample == Sample(0.88, 0.0, 2)
    assert cell(table, "status").text == "2 finished, 1 running"
    assert "in parentheses" not in notes(table)


def test_the_order_is_said_and_its_column_shown(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    other = {"name": "b", "optimizer.lr": 1}
    folders = [write_run(tmp_path / "a" / "seed0"), write_run(tmp_path / "b" / "seed0", config=other)]
    runs = list(map(read_run, folders))
    for sort, said in (
        (None, "sorted by val % final, the highest first"),
        ("step_ms", "sorted by step ms, the lowest first"),
        ("lr", "sorted by optimizer.lr, the lowest first"),
        ("name", "sorted by arm"),
        ("peak_process_mib", "sorted by process MiB, the lowest first"),  # which people see in no other order
    ):
        table = compare_runs(runs, sort=sort)[0]
        assert table.notes[0] == said
        assert said.partition(",")[0].removeprefix("sorted by ") in [
            column.header for column in table.columns_for("people") if column.give_up is None
        ]
    assert "sorted" not in notes(compare_runs(runs[:1])[0])


def test_step_ms_goes_first(table_of: Make) -> None:
    going = [column for column in table_of({}).columns_for("people") if column.give_up is not None]
    assert min(going, key=lambda column: column.give_up or 0).key == "step_ms"


def test_a_repeat_is_no_second_sample(table_of: Make) -> None:
    table = table_of({"test": 0.8}, {"test": 0.9, "meta": {"started": "2026-03-02T12:00:00+00:00"}})
    assert cell(table, "test_accuracy").sample == Sample(0.9, None, 1)
    assert "1 repeated run left out" in notes(table)


def test_a_figure_that_some_seeds_lack_says_so(table_of: Make) -> None:
    table = table_of({"test": 0.8}, {"config": {"seed": 1}, "summary": {"test": None}})
    assert cell(table, "test_accuracy").text == "80.00 (1 of 2)"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device_name": "a GPU"}, "device a GPU (b), a processor (mlp)"),
        ({"precision": "bf16"}, "precision bf16 (b), fp32 (mlp)"),
        ({"threads": 8}, "threads 2 (mlp), 8 (b)"),
        ({"versions.torch": "2.10.0"}, "torch 2.9.0 (mlp), 2.10.0 (b)"),
        ({"bnexp_commit": "b" * 40}, f"commit {'a' * 10} (mlp), {'b' * 10} (b)"),
    ],
)
def test_differing_environments_are_told(table_of: Make, change: dict[str, Any], said: str) -> None:
    (note,) = [note for note in table_of({}, {"config": {"name": "b"}, "meta": change}).notes if "differing" in note]
    key, _, values = said.partition(" ")
    assert f": {key} " in note
    assert sorted(note.rpartition(f"{key} ")[2].split(", ")) == sorted(values.split(", "))


def test_equal_environments_are_not_told(table_of: Make) -> None:
    assert "differing" not in notes(table_of({}, {"config": {"name": "b"}}))
    both = notes(table_of({"meta": {"stacked": 8}}, {"config": {"name": "b"}, "meta": {"stacked": 5}}))
    assert "differing" not in both
    assert "stacked seeds (mlp, b): step ms is a step of the whole stack divided by its seeds" in both
    assert "stacked seeds" not in notes(table_of({"meta": {"stacked": 1}}))


def test_why_a_run_failed(table_of: Make) -> None:
    table = table_of({"meta": {"status": "failed", "error": "OutOfMemory: no room\nmore"}})
    assert "failed: OutOfMemory: no room" in notes(table)
    assert "more" not in notes(table)


def test_the_curve_and_its_scale(table_of: Make) -> None:
    # In log error, 0.3 lies ln(0.5/0.3) / ln(0.5/0.1) = 0.32 of the way from 0.5 to 0.1: 2.2 of seven steps.
    table = table_of({"accuracies": (0.5, 0.9)}, {"config": {"name": "b"}, "accuracies": (0.7, None, 0.9)})
    assert [cell(table, "curve", row).text for row in (0, 1)] == ["▁█", "▃·█"]
    # 5 ** (1 / 7) = 1.258: a step up leaves 79.5 % of the errors.
    assert "▁ is 50.00 %, █ is 90.00 %, and a step up is 21 % fewer errors" in notes(table)


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ((0.9, 0.9), "in all rows 90.00 % at every evaluation"),
        # (0.1 / 0.0999) ** (1 / 7) = 1.000143
        ((0.9, 0.9001), "█ is 90.01 %, and a step up is 0.014 % fewer errors"),
        # (0.5 / 0.0001) ** (1 / 7) = 3.376: no error at all is drawn as the least one
        (
            (0.5, 1.0),
            "and a step up is 3.38 times fewer errors; errors of less than 0.01 % are drawn as so many",
        ),
        ((0.99992, 1.0), "99.99 to 100.00 % at every evaluation: errors of less than 0.01 %"),
    ],
)
def test_the_scale_of_narrow_and_of_perfect_curves(table_of: Make, accuracies: tuple[float, ...], said: str) -> None:
    assert said in notes(table_of({"accuracies": accuracies}))


def test_without_curves_finished_runs_are_not_read(table_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("bnexp.analysis.compare.read_evaluations", refuse)
    table = table_of({"test": 0.9}, with_curves=False)
    assert cell(table, "test_accuracy").text == "90.00"


def test_a_summary_that_its_rows_contradict_is_named(table_of: Make) -> None:
    table = table_of({}, {"config": {"seed": 1}, "summary": {"final.accuracy": 0.99}})
    assert notes(table).count("one of them was changed") == 1
    assert "while summary.json has 0.99: one of them was changed" in notes(table)


def test_metrics_that_end_before_the_summary_are_named(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    folder = write_run(tmp_path / "seed0")
    path = folder / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    table = compare_arms(gather_arms([read_run(folder)]))
    assert f"{path}: last evaluation at step 30, while summary.json has one at step 40" in notes(table)


def audience_of(table: Table, key: str) -> str:
    return next(column.audience for column in table.columns if column.key == key)


def test_arms_of_one_size_tell_their_parameters_to_machines_alone(table_of: Make) -> None:
    table = table_of({}, {"config": {"name": "b"}})
    assert audience_of(table, "parameters") == "machines"
    assert cell(table, "parameters").value == 335_114


def test_arms_that_differ_in_their_parameters_say_so(table_of: Make) -> None:
    large = {"config": {"name": "ln"}, "summary": {"parameters": 645_866}}
    running = {"config": {"name": "bn"}, "meta": {"status": "running", "pid": os.getpid(), "parameters": 269_722}}
    table = table_of(large, running, {"config": {"name": "old"}, "meta": {"status": "failed"}})
    assert audience_of(table, "parameters") == "all"
    assert [cell(table, "parameters", row).text for row in range(3)] == ["645,866", "269,722", "-"]


def test_arms_that_were_trained_for_longer_are_named(table_of: Make) -> None:
    table = table_of({}, {"config": {"name": "b", "training.epochs": 2}, "accuracies": (0.5, 0.9)})
    assert "trained for different numbers of epochs: 4 (mlp), 2 (b)" in table.notes
    assert "numbers of epochs" not in notes(table_of({}, {"config": {"name": "b"}}))


def test_people_see_the_memory_of_a_run_and_on_a_gpu_that_of_the_gpu(table_of: Make) -> None:
    assert audience_of(table_of({}), "peak_device_mib") == audience_of(table_of({}), "peak_run_mib") == "machines"
    on_cpu = table_of({"summary": {"peak_mib": {"process": 4000.0, "run": 310.2, "device": None}}})
    assert cell(on_cpu, "peak_run_mib").text == "310"
    assert [audience_of(on_cpu, f"peak_{where}_mib") for where in ("run", "device")] == ["all", "machines"]
    peak = {"process": 4000.0, "run": 9.0, "device": 512.4}
    table = table_of({"config": {"name": "gpu"}, "summary": {"peak_mib": peak}})
    assert [audience_of(table, f"peak_{where}_mib") for where in ("run", "device")] == ["machines", "all"]
    assert cell(table, "peak_device_mib").text == "512"
    assert audience_of(table, "peak_process_mib") == "machines"  # of runs one after the other, it only grows


def network(layout: str, function: str = "f") -> dict[str, Any]:
    return {"network": {"layout": layout, "function": function}}


def test_a_network_written_in_two_ways_is_one_arm(table_of: Make) -> None:
    placeholder = {"model.block": "linear -> norm -> relu", "model.norm": "bn"}
    written = {"model.block": "linear -> bn -> relu", "model.bias": False, "seed": 1}
    unrecorded = {"config": {**placeholder, "seed": 2}}
    table = table_of(
        {"config": placeholder, "meta": network("a")}, {"config": written, "meta": network("a")}, unrecorded
    )
    assert cell(table, "n").text == "3"
    assert len(table.rows) == 1


def test_what_is_not_the_same_network_stays_apart(table_of: Make) -> None:
    change = {"model.block": "linear -> bn -> relu"}
    table = table_of(
        {"meta": network("a")},
        {"config": change, "meta": network("b", "g")},
        {"config": {**change, "optimizer.lr": 0.2}, "meta": network("a")},
        {"config": {"model.bias": False}},
    )
    assert len(table.rows) == 4
    assert "same" not in notes(table)


def test_arms_that_are_one_network_or_one_function_are_named(table_of: Make) -> None:
    table = table_of(
        {"config": {"name": "bn", "model.norm": "bn"}, "meta": network("a")},
        {"config": {"name": "no bias", "model.norm": "bn", "model.bias": False}, "meta": network("a")},
        {"config": {"name": "groups", "model.norm": "gn(groups=1)"}, "meta": network("b", "g")},
        {"config": {"name": "layer", "model.norm": "ln(affine=channel)"}, "meta": network("c", "g")},
    )
    assert "bn, no bias are one network in one training" in notes(table)
    assert "groups, layer compute the same function, up to rounding" in notes(table)


def test_a_note_tells_arms_of_one_name_apart_by_what_differs(table_of: Make) -> None:
    lag = {"recomputed.val.final": {"accuracy": 0.95, "examples": 1000, "only_running": 10, "only_recomputed": 80}}
    table = table_of(
        {"config": {"optimizer.lr": 0.1}, "summary": lag, "test": 0.9},
        {"config": {"optimizer.lr": 0.2}, "summary": lag, "test": 0.9},
        {"config": {"optimizer.lr": 0.2, "optimizer.weight_decay": 0.5, "training.warm": 9}, "summary": lag},
        {"config": {"name": "other", "optimizer.lr": 0.1}, "summary": lag},
    )
    lines = [note.partition(": running statistics")[0] for note in table.notes if "running statistics" in note]
    assert lines == [
        "mlp (lr 0.1, weight_decay none)",
        "mlp (lr 0.2, weight_decay none)",
        "mlp (lr 0.2, weight_decay 0.5)",
        "other",
    ]
    assert [cell(table, "name", row).text for row in range(4)] == ["mlp", "mlp", "mlp", "other"]


def test_arms_of_one_name_that_are_one_function_are_told_apart(table_of: Make) -> None:
    arms = [{"config": {"model.norm": norm}, "meta": network(norm)} for norm in ("gn(groups=1)", "ln(affine=channel)")]
    said = "mlp (norm gn(groups=1)), mlp (norm ln(affine=channel)) compute the same function"
    assert said in notes(table_of(*arms))


def test_arms_of_one_name_without_a_config_are_told_by_their_folders(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    folders = [write_run(tmp_path / place / "mlp" / "seed0", meta={"threads": n}) for n, place in enumerate("ab")]
    for folder in folders:
        (folder / "config.yaml").write_text("{")
    said = notes(compare_arms(gather_arms(map(read_run, folders))))
    assert "threads 0 (" in said
    assert all(str(folder) in said.partition("threads 0")[2].splitlines()[0] for folder in folders)
