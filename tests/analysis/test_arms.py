from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.analysis.arms import Arm, differing_keys, gather_arms
from bnexp.runs.run import read_run


@pytest.fixture
def arms_of(tmp_path: Path, write_run: Callable[..., Path]) -> Callable[..., list[Arm]]:
    def gather(*runs: dict[str, object]) -> list[Arm]:
        return gather_arms(
            [read_run(write_run(tmp_path / str(number) / "seed0", **run)) for number, run in enumerate(runs)]
        )

    return gather


LATER = {"started": "2026-03-02T12:00:00+00:00"}
AT_12 = {"divergence": {"step": 12, "epoch": 1.2, "layer": "block1.linear"}, "test": None}


def test_an_arm_is_a_config_without_its_seed(arms_of: Callable[..., list[Arm]]) -> None:
    arms = arms_of({}, {"config": {"seed": 1}}, {"config": {"name": "other"}}, {"config": {"optimizer.lr": 0.2}})
    assert [len(arm.finished) for arm in arms] == [2, 1, 1]
    assert [arm.name for arm in arms] == ["mlp", "other", "mlp"]


def test_statistics_over_parts_of_a_batch_make_another_arm(arms_of: Callable[..., list[Arm]]) -> None:
    whole, parts = {"meta": {"processes": {"count": 2, "parts": 1}}}, {"meta": {"processes": {"count": 2, "parts": 2}}}
    arms = arms_of({}, {**whole, "config": {"seed": 1}}, parts)
    assert [len(arm.finished) for arm in arms] == [2, 1]
    assert differing_keys(arms) == ["batch.processes"]


@pytest.mark.parametrize("network", [{}, {"network": {"layout": "a", "function": "a"}}])
def test_runs_that_served_to_tune_are_never_pooled_with_final_ones(
    arms_of: Callable[..., list[Arm]], network: dict[str, object]
) -> None:
    tuning = {"config": {"seed": 10_000}, "meta": {"role": "tuning", **network}}
    arms = arms_of({"meta": network}, tuning, {"config": {"seed": 1}, "meta": network})
    assert [[run.seed for run in arm.runs] for arm in arms] == [[0, 1], [10_000]]


def test_of_one_seed_the_newest_complete_run_counts(arms_of: Callable[..., list[Arm]]) -> None:
    (arm,) = arms_of({"meta": LATER, "test": 0.7}, {"test": 0.8}, {"config": {"seed": 1}, "test": 0.9})
    assert [run.figures["test_accuracy"] for run in arm.finished] == [0.7, 0.9]
    assert len(arm.left_out) == 1


def test_a_newer_run_that_is_not_usable_leaves_the_older(arms_of: Callable[..., list[Arm]]) -> None:
    nothing = {"final": None, "best": None, "test": None}
    (arm,) = arms_of({"test": 0.8}, {"meta": LATER, "summary": nothing}, {"meta": {**LATER, "status": "failed"}})
    assert [run.figures["test_accuracy"] for run in arm.finished] == [0.8]
    assert (len(arm.left_out), arm.status) == (0, "1 finished, 1 failed, 1 damaged")


def test_a_rerun_that_diverged_replaces_the_older(arms_of: Callable[..., list[Arm]]) -> None:
    (arm,) = arms_of({}, {"meta": {**LATER, "status": "diverged"}, "summary": AT_12})
    assert (len(arm.finished), len(arm.diverged), len(arm.left_out)) == (0, 1, 1)


def test_status_of_one_diverged_run(arms_of: Callable[..., list[Arm]]) -> None:
    (arm,) = arms_of({"meta": {"status": "diverged"}, "summary": AT_12})
    assert arm.status == "diverged at step 12 in block1.linear"


def test_status_counts_and_names_the_first_divergence(arms_of: Callable[..., list[Arm]]) -> None:
    (arm,) = arms_of(
        {
            "config": {"seed": 0},
            "meta": {"status": "diverged"},
            "summary": {"divergence": {"step": 30, "layer": "head"}},
        },
        {"config": {"seed": 1}, "meta": {"status": "diverged"}, "summary": AT_12},
        {"config": {"seed": 2}},
        {"config": {"seed": 3}, "meta": {"status": "interrupted"}},
    )
    assert arm.status == "1 finished, 2 diverged, first at step 12 in block1.linear, 1 interrupted"


def test_runs_without_a_config_stand_for_themselves(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    folders = [write_run(tmp_path / "mlp" / f"seed{seed}", config={"seed": seed}) for seed in range(3)]
    for folder in folders[1:]:
        (folder / "config.yaml").unlink()
    assert [len(arm.runs) for arm in gather_arms(map(read_run, folders))] == [1, 1, 1]


def test_differing_keys(arms_of: Callable[..., list[Arm]]) -> None:
    arms = arms_of({}, {"config": {"name": "b", "optimizer.lr": 0.2}}, {"config": {"data.limit": 100}})
    assert differing_keys(arms) == ["optimizer.lr", "data.limit"]
    assert differing_keys(arms[:1]) == []


def test_true_and_one_differ(arms_of: Callable[..., list[Arm]]) -> None:
    assert differing_keys(arms_of({"config": {"model.bias": True}}, {"config": {"model.bias": 1}})) == ["model.bias"]


def test_what_has_no_influence_makes_no_other_arm(arms_of: Callable[..., list[Arm]]) -> None:
    """Probes and checkpoints change no figure: runs that differ in them are runs of one arm."""
    (arm,) = arms_of(
        {"config": {"checkpoints.every_epochs": 1.0, "probes.gradients.every": 10}},
        {"config": {"checkpoints.every_epochs": 5.0, "seed": 1}},
        {"config": {"probes": None, "checkpoints": {}, "seed": 2}},
        {"config": {"training": {"steps": 40, "log_every": 2}, "data.eval_batch_size": 64, "seed": 3}},
    )
    assert len(arm.finished) == 4
    assert arm.config is not None
    assert arm.config["training.epochs"] == 4  # 40 steps, by the recorded 10 an epoch


def test_what_has_no_influence_does_not_differ(arms_of: Callable[..., list[Arm]]) -> None:
    arms = arms_of(
        {"config": {"optimizer.lr": 0.2, "checkpoints.every_epochs": 5.0}},
        {"config": {"probes.gradients.every": 10}},
        {"config": {"probes_of_another_kind": 1}},
    )
    assert differing_keys(arms) == ["optimizer.lr", "probes_of_another_kind"]
