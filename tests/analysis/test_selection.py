"""Which runs a comparison is of: conditions on their configs, and arms pooled by a key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.arms import gather_arms
from bnexp.analysis.compare import compare_runs
from bnexp.analysis.selection import where
from bnexp.document.table import Table
from bnexp.errors import ConfigError
from bnexp.runs.run import Run, read_run

Write = Callable[..., Path]


@pytest.fixture
def runs(tmp_path: Path, write_run: Write) -> list[Run]:
    """Two norms at two rates with two seeds each; bn is 0.1 better, the larger rate 0.2, seed 1 0.02."""
    folders = []
    for norm, gain in (("none", 0.0), ("bn", 0.1)):
        for rate, more in ((0.1, 0.0), (1, 0.2)):
            for seed in (0, 1):
                name = f"norm={norm},lr={rate}"
                values = {"name": name, "seed": seed, "model.norm": norm, "optimizer.lr": rate}
                accuracies = (0.5 + gain + more + 0.02 * seed,)
                folders.append(write_run(tmp_path / name / f"seed{seed}", config=values, accuracies=accuracies))
    return [read_run(folder) for folder in folders]


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        (["model.norm=bn"], 4),
        (["norm=bn,none"], 8),
        (["norm=bn", "optimizer.lr=1.0"], 2),
        (["lr=1e-1"], 4),
        (["model.hidden=[256,256]"], 8),
        (["model.block=linear -> relu"], 8),
        (["seed=1", "name=norm=bn,lr=0.1"], 1),
        ([], 8),
    ],
)
def test_runs_are_chosen_by_keys_of_their_configs(runs: list[Run], conditions: list[str], kept: int) -> None:
    chosen, notes = where(runs, conditions)
    assert len(chosen) == kept
    assert notes == []


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (["modl.norm=bn"], r'no run has a key modl\.norm in its config\. Did you mean "model\.norm"'),
        (["nrom=bn"], 'Did you mean "norm"'),
        (["model.norm=ln"], r"no run has model\.norm=ln\. Values here: bn \(4 runs\), none \(4 runs\)"),
        (["lr=0.1", "norm=bn,ln"], r"no run with lr=0\.1 has model\.norm=ln\. Values here: bn \(2 runs\), none"),
        (["model.norm"], "expected KEY=VALUE"),
        (["model.norm="], "no run has model.norm="),
    ],
)
def test_a_condition_that_leaves_nothing_is_refused_by_name(runs: list[Run], conditions: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        where(runs, conditions)


def test_an_ending_that_several_keys_share_is_refused(runs: list[Run]) -> None:
    twice = [Run(Path("a"), "a", 0, 1, {"model.name": 1, "schedule.kind": 2, "data.kind": 3}, "finished")]
    with pytest.raises(ConfigError, match=r"2 keys end in kind: schedule\.kind, data\.kind"):
        where(twice, ["kind=2"])


def test_a_run_whose_config_cannot_be_read_is_left_out_and_named(runs: list[Run]) -> None:
    unread = Run(Path("runs/broken/seed0"), "broken", 0, 1, None, "finished")
    chosen, notes = where([*runs, unread], ["norm=bn"])
    assert (len(chosen), notes) == (4, ["1 run left out whose config cannot be read: runs/broken/seed0"])
    assert len(where([*runs, unread], [])[0]) == 9


def rows_of(table: Table, *keys: str) -> list[list[Any]]:
    return [[row[key].order for key in keys] for row in table.rows]


def test_pooled_arms_have_a_value_a_seed(runs: list[Run]) -> None:
    (table,) = compare_runs(runs, group_by=["norm"])
    # of bn: seed 0 has (0.6 + 0.8) / 2, seed 1 0.02 more
    assert rows_of(table, "name", "model.norm", "n") == [["norm=bn", "bn", 2], ["norm=none", "none", 2]]
    sample = table.rows[0]["val_accuracy"].sample
    assert sample is not None
    assert (sample.mean, sample.std, sample.n) == (pytest.approx(0.71), pytest.approx(0.02 / 2**0.5), 2)
    assert "optimizer.lr" not in [column.key for column in table.columns]
    assert "a row pools 2 of 4 arms; n counts seeds" in table.notes[1]


def test_a_seed_that_did_not_finish_in_all_pooled_arms_enters_no_mean(runs: list[Run], write_run: Write) -> None:
    place = runs[0].folder.parent.parent / "norm=bn,lr=1" / "seed2"
    values = {"name": "norm=bn,lr=1", "seed": 2, "model.norm": "bn", "optimizer.lr": 1}
    more = read_run(write_run(place, config=values, meta={"status": "diverged"}))
    (table,) = compare_runs([*runs, more], group_by=["model.norm"])
    status = "4 finished, 1 diverged at an unknown step"
    assert rows_of(table, "name", "n", "diverged", "status")[0] == ["norm=bn", 2, 1, status]
    assert "diverged: norm=bn 1 of 5" in "\n".join(table.notes)


def test_a_key_in_which_pooled_arms_differ_shows_all_its_values(runs: list[Run]) -> None:
    kept = [run for run in runs if run.name != "norm=none,lr=1"]
    (table,) = compare_runs(kept, group_by=["norm"], sort="name")
    assert rows_of(table, "model.norm", "optimizer.lr") == [["bn", "0.1 | 1"], ["none", 0.1]]
    assert "a row pools 1 to 2 of 3 arms" in table.notes[1]


def test_arms_that_cannot_be_read_stay_apart(runs: list[Run]) -> None:
    unread = [Run(Path(f"broken/seed{seed}"), "broken", 0, 1, None, "finished") for seed in (0, 1)]
    (table,) = compare_runs([*runs, *unread], group_by=["norm"])
    assert sorted(row["name"].text for row in table.rows) == ["broken", "broken", "norm=bn", "norm=none"]
    assert len(gather_arms(unread)) == 2
