"""What is left of a sweep follows from the disk: runs are known by what they are, whatever they are called."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.errors import ConfigError
from bnexp.runs.process import this_process
from bnexp.sweep import outlook
from bnexp.sweep.plan import PlannedRun, Planner, SweepPlan, SweepTasks
from bnexp.sweep.tuning import Choice
from bnexp.sweep.work import Ended, Task
from effort import calls_of
from planned_runs import store

PlanOf = Callable[..., SweepPlan]
NORMS = {"model.norm": ["none", "bn"]}
RATES = {"optimizer.lr": [0.01, 0.1]}


def keys(runs: list[PlannedRun] | tuple[PlannedRun, ...]) -> list[str]:
    return [run.key for run in runs]


def task_of(run: PlannedRun) -> Task:
    return Task(run.key, run.blueprint, run.folder, run.mode or "start", role=run.role)


def test_a_fresh_sweep_has_all_its_runs_to_do_seed_by_seed(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(axes=NORMS)
    assert keys(plan.runs) == ["norm=none/seed0", "norm=bn/seed0", "norm=none/seed1", "norm=bn/seed1"]
    assert {run.status for run in plan.runs} == {"missing"}
    assert plan.runs[1].folder == tmp_path / "runs" / "study" / "norm=bn" / "seed0"
    assert plan.runs[3].blueprint.config.seed == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("status", "mode"),
    [("finished", None), ("diverged", None), ("failed", "resume"), ("interrupted", "resume"), ("running", None)],
)
def test_what_is_left_follows_from_the_status(plan_of: PlanOf, status: str, mode: str | None) -> None:
    store(plan_of(axes=NORMS).runs[0], status, **this_process())
    run = plan_of(axes=NORMS).runs[0]
    assert (run.status, run.mode) == (status, mode)


def test_a_run_whose_process_is_gone_is_dead_and_continues(plan_of: PlanOf) -> None:
    store(plan_of(axes=NORMS).runs[0], "running", **{**this_process(), "pid": 2**31 - 1})
    run = plan_of(axes=NORMS).runs[0]
    assert (run.status, run.mode) == ("dead", "resume")


def test_a_new_value_or_seed_adds_its_own_runs_only(plan_of: PlanOf) -> None:
    for run in plan_of(axes=NORMS).runs:
        store(run)
    more = plan_of(axes={"model.norm": ["none", "bn", "ln"]}, seeds=3)
    assert keys(more.to_do) == ["norm=ln/seed0", "norm=ln/seed1", "norm=none/seed2", "norm=bn/seed2", "norm=ln/seed2"]


def test_runs_are_known_when_an_axis_is_added_and_keep_their_names(plan_of: PlanOf) -> None:
    for run in plan_of(axes=NORMS).runs:
        store(run)
    more = plan_of(axes={**RATES, **NORMS})  # the rate of the base is 0.1; the order of axes means nothing
    assert {run.key: run.status for run in more.runs if run.seed == 0} == {
        "norm=none,lr=0.01/seed0": "missing",
        "norm=none/seed0": "finished",
        "norm=bn,lr=0.01/seed0": "missing",
        "norm=bn/seed0": "finished",
    }
    assert more.runs[1].blueprint.config.name == "norm=none"


def test_another_way_to_write_a_network_is_no_other_run(plan_of: PlanOf) -> None:
    for run in plan_of(axes=NORMS).runs:
        store(run)
    unfilled = {"model.norm": None, "model.activation": None}
    written = plan_of(axes={"model.block": ["linear -> relu", "linear -> bn -> relu"]}, fixed=unfilled)
    assert keys(written.runs) == ["norm=none/seed0", "norm=bn/seed0", "norm=none/seed1", "norm=bn/seed1"]
    assert written.to_do == []


def ended(run: PlannedRun, status: str = "finished", checkpoints: tuple[int, ...] = (6, 12)) -> None:
    """Leave the records of a run that came to its end, of two epochs of 6 steps, with its last checkpoints."""
    store(run, status, plan={"total_steps": run.blueprint.plan.total_steps})
    (run.folder / "checkpoints").mkdir()
    for step in checkpoints:
        (run.folder / "checkpoints" / f"step{step}.pt").touch()


def test_a_run_that_ended_earlier_is_made_longer(plan_of: PlanOf) -> None:
    first, other, *_ = plan_of(axes=NORMS).runs
    ended(first)
    ended(other, "diverged")
    longer = plan_of("training.epochs=4", axes={**NORMS, "optimizer.lr": [0.1, 0.2]})  # the folder keeps its name
    assert {run.key: (run.status, run.mode) for run in longer.runs if run.seed == 0} == {
        "norm=none/seed0": ("shorter", "lengthen"),
        "norm=bn/seed0": ("shorter", "lengthen"),
        "norm=none,lr=0.2/seed0": ("missing", "start"),
        "norm=bn,lr=0.2/seed0": ("missing", "start"),
    }
    assert (longer.runs[0].folder, longer.notes) == (first.folder, {})
    assert [run.status for run in plan_of("training.epochs=1", axes=NORMS).runs[:2]] == ["missing", "missing"]
    steps = plan_of("training.epochs=null", "training.steps=13", axes=NORMS)
    assert steps.runs[0].mode == "lengthen"


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_stopped_before_its_shorter_end_is_made_longer(plan_of: PlanOf, status: str) -> None:
    first, other, *_ = plan_of(axes=NORMS).runs
    ended(first, status, checkpoints=(5,))
    ended(other, status, checkpoints=())
    assert plan_of(axes=NORMS).runs[0].mode == "resume"
    longer = plan_of("training.epochs=4", axes=NORMS).runs
    assert [(run.status, run.mode) for run in longer[:2]] == [("shorter", "lengthen"), ("missing", "start")]
    assert [run.note is None for run in longer[:2]] == [True, False]
    assert plan_of("training.epochs=4", "schedule.name=cosine", axes=NORMS).runs[0].mode == "start"


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ({"schedule.name": "cosine"}, "schedule cosine spreads over the whole training"),
        ({"schedule.name": "onecycle"}, "schedule onecycle spreads over the whole training"),
        ({"schedule.name": "step", "schedule.milestones": [1], "schedule.warmup_epochs": 1}, None),
    ],
)
def test_why_a_run_is_not_made_longer_is_said(plan_of: PlanOf, schedule: dict[str, object], why: str | None) -> None:
    for run in plan_of(axes=NORMS, fixed=schedule).runs:
        ended(run)
    plan = plan_of("training.epochs=4", axes=NORMS, fixed=schedule)
    if why is None:
        assert ({run.mode for run in plan.runs}, plan.notes) == ({"lengthen"}, {})
        return
    assert keys(plan.to_do)[:2] == ["norm=none/seed0-2", "norm=bn/seed0-2"]
    ((note, arms),) = plan.notes.items()
    assert f"runs of 12 steps are not made longer, to 24: {why}" in note
    assert "--name NAME" in note
    assert arms == ["norm=none", "norm=bn"]


def test_a_run_without_a_checkpoint_of_the_longer_training_is_not_made_longer(plan_of: PlanOf) -> None:
    first, other, *_ = plan_of("training.log_every=5", axes=NORMS).runs
    ended(first, checkpoints=(12,))  # whose row after step 12 the longer one does not write
    ended(other, checkpoints=(6, 12))
    plan = plan_of("training.log_every=5", "training.epochs=4", axes=NORMS)
    assert [run.mode for run in plan.runs[:2]] == ["start", "lengthen"]
    assert "no checkpoint is left" in next(iter(plan.notes))


def test_arms_of_several_lengths_are_arms(plan_of: PlanOf) -> None:
    lengths = {"training.epochs": [2, 4]}
    for run in plan_of(axes=lengths).runs:
        if "epochs=2" in run.key:
            ended(run)
    assert [run.mode for run in plan_of(axes=lengths).runs] == [None, "start"] * 2


def test_tuning_is_done_when_its_runs_are_as_long_as_asked_for(planner_of: Callable[..., Planner]) -> None:
    asked: dict[str, object] = {"tune": RATES, "tune_seeds": 1}
    for run in planner_of(**asked).plan().tuning:
        ended(run)
    for run in planner_of(**asked).plan().runs:
        assert run.blueprint.config.optimizer.lr == 0.01
        ended(run)
    plan = planner_of("training.epochs=4", **asked).plan()
    assert ([run.mode for run in plan.tuning], plan.choices) == (["lengthen"] * 2, {})
    assert outlook.notes_of(plan) == []  # those that wait have the values of the base, and no runs beside


def test_runs_are_chosen_of_the_candidates_that_there_are_now(planner_of: Callable[..., Planner]) -> None:
    for rates in ([0.01, 0.1], [0.01, 0.1, 0.3]):
        asked = {"axes": NORMS, "tune": {"optimizer.lr": rates}, "tune_seeds": 1}
        for run in planner_of(**asked).plan().tuning:
            if run.status == "missing":  # the new rate is better for bn alone
                store(run, accuracy=0.95 if "norm=bn,lr=0.3" in run.key else 0.9 if "lr=0.01" in run.key else 0.8)
        for run in planner_of(**asked).plan().runs:
            if run.status == "missing":
                store(run, chosen={"values": {"optimizer.lr": 0.01}, "candidates": len(rates), "seeds": 1})
        own = [run for runs in planner_of(**asked).plan().runs_by_arm().values() for run in runs]
        assert {run.candidates for run in own} == {len(rates)}


def test_a_changed_base_makes_other_runs_beside_the_former(plan_of: PlanOf) -> None:
    for run in plan_of(axes=NORMS).runs:
        store(run)
    other = plan_of("training.log_every=8", "optimizer.lr=0.2", axes=NORMS)
    assert keys(other.to_do)[:2] == ["norm=none/seed0-2", "norm=bn/seed0-2"]


def test_all_mistakes_of_all_arms_come_at_once(plan_of: PlanOf) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(axes={"model.block": ["linear -> gn(groups=5) -> relu", "linear -> gn(groups=7) -> relu", "linear"]})
    assert "groups=5" in str(refused.value)
    assert "groups=7" in str(refused.value)


def test_data_of_an_arm_that_are_not_there_are_told_with_the_line_of_the_sweep_which_is_to_be_mended(
    plan_of: PlanOf,
) -> None:
    own = {"dataset": "npz", "path": "nowhere.npz"}
    with pytest.raises(ConfigError) as refused:
        plan_of(arms={"plain": {"model.norm": "bn"}, "own": {"data": own, "training.epochs": 1}})
    said = str(refused.value)
    assert re.search(r"study\.yaml:\d+: data\.path nowhere\.npz: no such file", said)
    assert "data.path: /... is absolute" in said
    assert "--set" not in said  # which would say it of all arms, and is refused beside what an arm says
    with pytest.raises(ConfigError, match=r"(?s)^--set data=\{.*--set data\.path=/"):
        plan_of("data={dataset: npz, path: nowhere.npz}")


def test_tuning_comes_first_and_the_best_on_validation_is_the_arms_own(
    planner_of: Callable[..., Planner], tmp_path: Path
) -> None:
    asked = {"axes": NORMS, "tune": RATES, "tune_seeds": 2}
    planner = planner_of(**asked)
    plan = planner.plan()
    assert keys(plan.tuning)[:2] == ["tuning/norm=none,lr=0.01/seed10000", "tuning/norm=none,lr=0.1/seed10000"]
    assert all(plan.waits(run) for run in plan.runs)
    chosen: list[Choice] = []
    tasks = SweepTasks(planner, plan, lambda choice, runs: chosen.append(choice), task_of)
    assert [task.key for task in tasks.ready()] == keys(plan.tuning)
    assert tasks.to_come == 4
    for run in plan.tuning:
        better = "lr=0.01" in run.key if "norm=bn" in run.key else "lr=0.1" in run.key
        store(run, accuracy=0.9 if better else 0.8)
        tasks.ended(Ended(run.key, "finished"))
    begun = {task.key: task.blueprint.config.optimizer.lr for task in tasks.ready()}
    assert begun == {"norm=none/seed0": 0.1, "norm=none/seed1": 0.1, "norm=bn/seed0": 0.01, "norm=bn/seed1": 0.01}
    assert [choice.arm.name for choice in chosen] == ["norm=none", "norm=bn"]
    again = planner_of(**asked).plan()  # the disk says it all
    assert {run.key: run.blueprint.config.optimizer.lr for run in again.to_do} == begun
    assert not any(again.waits(run) for run in again.runs)


def test_runs_on_the_disk_are_no_arms_own_before_its_values_are_chosen(planner_of: Callable[..., Planner]) -> None:
    for run in planner_of(axes=NORMS).plan().runs:
        store(run)
    planner = planner_of(axes=NORMS, tune=RATES, tune_seeds=1)
    plan = planner.plan()
    assert len(plan.to_do) == 4 + 4
    followed: dict[str, int] = {}
    tasks = SweepTasks(planner, plan, lambda choice, runs: followed.update({choice.arm.name: len(runs)}), task_of)
    assert tasks.to_come == 4
    for run in plan.tuning:  # the base has the rate 0.1
        store(run, accuracy=0.9 if ("lr=0.1" in run.key) == ("norm=bn" in run.key) else 0.8)
        tasks.ended(Ended(run.key, "finished"))
    assert followed == {"norm=none": 2, "norm=bn": 0}


def test_a_tuning_run_that_was_killed_before_its_meta_json_is_known_by_its_place(plan_of: PlanOf) -> None:
    asked = {"axes": NORMS, "tune": RATES, "tune_seeds": 1}
    first = plan_of(**asked).tuning[0]
    store(first, "running")
    (first.folder / "meta.json").unlink()
    again = plan_of(**asked).tuning[0]
    assert (again.folder, again.mode) == (first.folder, "resume")


def test_a_tuning_run_that_failed_leaves_its_arm_without_a_choice(planner_of: Callable[..., Planner]) -> None:
    planner = planner_of(axes=NORMS, tune=RATES, tune_seeds=1)
    plan = planner.plan()
    tasks = SweepTasks(planner, plan, lambda choice, runs: None, task_of)
    tasks.ready()
    for run in plan.tuning:
        store(run, "failed" if run.key.startswith("tuning/norm=none,lr=0.01") else "finished")
        tasks.ended(Ended(run.key, "finished"))
    assert [task.key for task in tasks.ready()] == ["norm=bn/seed0", "norm=bn/seed1"]


@pytest.mark.parametrize("tune", [None, RATES])
def test_shards_share_all_runs_between_them(planner_of: Callable[..., Planner], tune: dict[str, list[float]]) -> None:
    planner = planner_of(axes=NORMS, seeds=3, **({"tune": tune} if tune else {}))
    plan = planner.plan()
    parts = [
        [run.key for run in SweepTasks(planner, plan.part(part, 2), lambda choice, runs: None, task_of).known]
        for part in (1, 2)
    ]
    assert all(parts)
    assert sorted(parts[0] + parts[1]) == sorted(keys(plan.tuning or plan.runs))
    if tune:  # who chooses for an arm needs all its candidates
        assert {key.split("/")[1].split(",")[0] for key in parts[0]} == {"norm=none"}


def test_a_thousand_runs_are_planned_in_work_that_grows_with_their_number(plan_of: PlanOf) -> None:
    def plan(values: int) -> None:
        rates = [round(0.001 * (one + 1), 3) for one in range(values)]
        assert len(plan_of(axes={"optimizer.lr": rates}, seeds=5).runs) == 5 * values

    plan(2)  # what is worked out once
    few, many = (calls_of(lambda values=values: plan(values)) for values in (20, 200))
    assert many < 12 * few
    assert many < 2000 * 1000  # 711 a run
