"""Runs on other data are other arms, and accuracies on different examples are not set side by side without a word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.arm_rows import SCORED_ON
from bnexp.analysis.arms import gather_arms
from bnexp.analysis.compare import DEFAULT_SORT, compare_arms
from bnexp.analysis.datasets import on_changed_data
from bnexp.document.table import Table, find_column, sort_rows
from bnexp.runs.run import Run, read_run

OWN = {"data.dataset": "npz", "data.path": "d.npz"}
COUNTS = {"train": [90, 90], "val": [10, 10], "test": [40, 40]}


def data(fingerprint: str, *, test: str = "t", path: str = "/data/d.npz", counts: Any = COUNTS) -> dict[str, Any]:
    """Return what meta.json says of data; `test` tells validation part and test set apart."""
    parts = {"train": fingerprint, "val": f"v{test}", "test": test}
    return {"data_fingerprint": fingerprint, "data_parts": parts, "data_path": path, "class_counts": counts}


@pytest.fixture
def runs_of(tmp_path: Path, write_run: Callable[..., Path]) -> Callable[..., list[Run]]:
    def make(*runs: dict[str, Any]) -> list[Run]:
        return [read_run(write_run(tmp_path / str(number) / "seed0", **run)) for number, run in enumerate(runs)]

    return make


def table_of(runs: list[Run]) -> Table:
    table = compare_arms(gather_arms(runs))
    return sort_rows(table, find_column(table.columns, DEFAULT_SORT), SCORED_ON)


def column(table: Table, key: str) -> list[str]:
    return [table.cell(row, found).text for found in table.columns if found.key == key for row in table.rows]


def run_on(fingerprint: str, seed: int = 0, **options: Any) -> dict[str, Any]:
    return {"config": {**OWN, "seed": seed}, "meta": data(fingerprint, **options)}


def test_seeds_on_other_data_are_another_arm_told_with_what_differs(runs_of: Callable[..., list[Run]]) -> None:
    larger = {**COUNTS, "train": [180, 180]}
    runs = runs_of(run_on("a" * 64), run_on("b" * 64, 1, test="u", counts=larger), run_on("a" * 64, 2))
    arms = gather_arms(runs)
    assert [[run.seed for run in arm.finished] for arm in arms] == [[0, 2], [1]]
    table = compare_arms(arms)
    assert column(table, "data_fingerprint") == ["d.npz aaaaaaaa", "d.npz bbbbbbbb"]
    assert table.notes[0] == (
        "2 data sets in one table: accuracies on different examples do not compare, and arms are ordered within each. "
        "mlp (seeds 0, 2) on /data/d.npz, 180 + 20 + 80 examples, fingerprint aaaaaaaa; "
        "mlp (seed 1) on /data/d.npz, 360 + 20 + 80 examples, fingerprint bbbbbbbb"
    )
    assert list(on_changed_data(runs)) == [
        f"runs of one config on 2 data sets: {runs[0].folder}, {runs[2].folder} (/data/d.npz, 180 + 20 + 80 examples, "
        f"fingerprint aaaaaaaa); {runs[1].folder} (/data/d.npz, 360 + 20 + 80 examples, fingerprint bbbbbbbb)"
    ]


def test_the_same_data_elsewhere_are_the_same_data(runs_of: Callable[..., list[Run]]) -> None:
    moved = {"config": {**OWN, "seed": 1, "data.path": "/mnt/copy.npz"}, "meta": data("a", path="/mnt/copy.npz")}
    runs = runs_of(run_on("a"), moved)
    (arm,) = gather_arms(runs)
    assert len(arm.finished) == 2
    assert "data sets" not in " ".join(compare_arms([arm]).notes)
    assert list(on_changed_data(runs)) == []


def test_other_training_images_with_the_same_test_are_arms_that_compare(runs_of: Callable[..., list[Run]]) -> None:
    table = table_of(runs_of(run_on("a"), run_on("b")))
    assert column(table, "data_fingerprint") == ["d.npz a", "d.npz b"]
    assert table.notes[1] == (
        "mlp learned from different examples, which makes 2 arms: /data/d.npz, 180 + 20 + 80 examples, fingerprint a: "
        "(seed 0); /data/d.npz, 180 + 20 + 80 examples, fingerprint b: (seed 0)"
    )


def test_a_limit_in_the_config_is_no_change_of_the_data(runs_of: Callable[..., list[Run]]) -> None:
    limited = run_on("b")
    limited["config"]["data.limit"] = 50
    table = table_of(runs_of(run_on("a"), limited))
    assert not [note for note in table.notes if "different examples" in note]


def test_order_and_curves_do_not_run_over_different_data(runs_of: Callable[..., list[Run]]) -> None:
    def on(dataset: str, name: str, accuracies: tuple[float, ...]) -> dict[str, Any]:
        meta = {**data(dataset, test=dataset), "data_path": None}
        return {"config": {"name": name, "data.dataset": dataset}, "meta": meta, "accuracies": accuracies}

    hard, easy = ((0.1, 0.3), (0.1, 0.2)), ((0.5, 0.9), (0.5, 0.8))
    table = table_of(
        runs_of(
            on("cifar10", "hard2", hard[1]),
            on("mnist", "easy2", easy[1]),
            on("cifar10", "hard1", hard[0]),
            on("mnist", "easy1", easy[0]),
        )
    )
    assert column(table, "name") == ["easy1", "easy2", "hard1", "hard2"]
    assert column(table, "data_fingerprint") == ["mnist", "mnist", "cifar10", "cifar10"]
    curves = column(table, "curve")
    assert curves[0][-1] == curves[2][-1] == "█"  # the best of its own data
    said = [note for note in table.notes if note.startswith("curve")]
    assert ["rows of cifar10" in note for note in said] == [True, False]
    assert "█ is 30.00 %" in said[0]
    assert "█ is 90.00 %" in said[1]


def test_data_of_one_kind_need_no_word(runs_of: Callable[..., list[Run]]) -> None:
    table = table_of(runs_of(run_on("a"), run_on("a", 1)))
    assert [found.audience for found in table.columns if found.key in ("data_fingerprint", "scored_on")] == [
        "machines"
    ] * 2
    assert "data set" not in " ".join(table.notes)


def test_a_run_of_an_earlier_version_joins_what_agrees_with_all_it_recorded(runs_of: Callable[..., list[Run]]) -> None:
    old = {"config": {**OWN, "seed": 1}, "meta": {"class_counts": COUNTS}}
    (arm,) = gather_arms(runs_of(run_on("a"), old))
    assert len(arm.finished) == 2
    (said,) = [note for note in compare_arms([arm]).notes if "fingerprint" in note]
    assert said.startswith("1 run of an earlier version recorded no fingerprint of the data, which may have changed")


@pytest.mark.parametrize("other", ["counts", "place", "two candidates"])
def test_a_run_of_an_earlier_version_joins_nothing_else(runs_of: Callable[..., list[Run]], other: str) -> None:
    old: dict[str, Any] = {"config": {**OWN, "seed": 1}, "meta": {"class_counts": COUNTS}}
    others = [run_on("a")]
    if other == "counts":
        old["meta"] = {"class_counts": {**COUNTS, "test": [41, 39]}}
    elif other == "place":
        old["config"]["data.path"] = "cleaned/d.npz"
    else:
        others.append(run_on("b", 2))
    assert len(gather_arms(runs_of(*others, old))) == len(others) + 1


def test_earlier_runs_alone_are_grouped_as_ever(runs_of: Callable[..., list[Run]]) -> None:
    config = {"seed": 1}
    (arm,) = gather_arms(runs_of({}, {"config": config, "meta": {"class_counts": COUNTS}}, {"config": {"seed": 2}}))
    assert len(arm.runs) == 3


def test_earlier_runs_on_files_of_one_name_are_not_mixed(runs_of: Callable[..., list[Run]]) -> None:
    recorded = {"meta": {"class_counts": COUNTS}}
    paths = ("cleaned/d.npz", "d.npz", "./d.npz")
    runs = runs_of(*({"config": {**OWN, "seed": n, "data.path": path}, **recorded} for n, path in enumerate(paths)))
    assert [len(arm.runs) for arm in gather_arms(runs)] == [1, 2]


@pytest.mark.parametrize("junk", [3, [], "x", {"train": 3}, {"train": ["a"]}, {"train": [-1]}, {"val": [True]}, None])
def test_what_meta_says_of_data_may_be_anything(runs_of: Callable[..., list[Run]], junk: Any) -> None:
    keys = ("data_fingerprint", "data_parts", "data_path", "class_counts")
    runs = runs_of({"meta": dict.fromkeys(keys, junk)}, run_on("a"))
    assert len(table_of(runs).rows) == 2
    assert isinstance(list(on_changed_data(runs)), list)
