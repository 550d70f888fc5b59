"""What a look at a run finds that another process has, had, or brought to its end."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

from bnexp.runs.folder import META, SUMMARY, write_json
from bnexp.runs.lock import run_lock
from bnexp.runs.own_lock import OWN_LOCK, holder_here
from bnexp.runs.process import this_process
from bnexp.sweep.held import ended_before, look
from bnexp.sweep.plan import PlannedRun, SweepPlan
from bnexp.sweep.running import Rules, _Progress
from bnexp.sweep.work import Ended, Event, Mode, Task
from planned_runs import store

PlanOf = Callable[..., SweepPlan]


def task_of(run: PlannedRun, mode: Mode) -> Task:
    return Task(run.key, run.blueprint, run.folder, mode)


def test_a_run_of_this_machine_is_waited_for_as_long_as_it_is_held(plan_of: PlanOf) -> None:
    run = plan_of().runs[0]
    task = task_of(run, "start")
    assert look(task) is task  # nothing is there
    store(run, "running", **this_process())
    with run_lock(run.folder):
        assert look(task) == os.getpid()
        assert [held.key for held in plan_of().held] == [run.key]
        foreign = {**json.loads((run.folder / OWN_LOCK).read_text()), "host": "another machine"}
        (run.folder / OWN_LOCK).write_text(json.dumps(foreign))
        assert look(task) == replace(task, mode="resume")  # the attempt is told who has it
        assert plan_of().held == []
    assert look(task) == replace(task, mode="resume")


def test_a_holder_that_gives_no_sign_of_life_is_not_waited_for(plan_of: PlanOf) -> None:
    run = plan_of().runs[0]
    store(run, "running", **this_process())
    with run_lock(run.folder):
        os.utime(run.folder / OWN_LOCK, (1, 1))
        assert holder_here(run.folder) is None


def test_an_end_in_another_process_is_the_end_of_a_task_as_long_as_asked_for(plan_of: PlanOf) -> None:
    run = plan_of().runs[0]
    steps = run.blueprint.plan.total_steps
    store(run, plan={"total_steps": steps})
    for mode in ("start", "resume", "lengthen"):
        assert look(task_of(run, mode)) == Ended(run.key, "finished", accuracy=0.9, by_another=True)  # type: ignore[arg-type]
        assert ended_before(task_of(run, mode)) == Ended(run.key, "finished", accuracy=0.9)  # type: ignore[arg-type]
    task = task_of(replace(plan_of("training.epochs=9").runs[0], folder=run.folder), "lengthen")
    assert look(task) is task
    assert ended_before(task) is None
    write_json(run.folder / META, {**json.loads((run.folder / META).read_text()), "status": "diverged"})
    write_json(run.folder / SUMMARY, {"status": "diverged"})
    assert look(task_of(run, "start")) == Ended(run.key, "diverged", by_another=True)


def test_a_folder_of_another_arm_is_left_to_the_attempt(plan_of: PlanOf) -> None:
    here, other = plan_of().runs[0], plan_of("optimizer.lr=0.7").runs[0]
    store(other)
    task = task_of(replace(here, folder=other.folder), "start")
    assert look(task) is task


def test_a_process_that_died_after_its_run_ended_costs_nothing(plan_of: PlanOf) -> None:
    """Neither where its end was to be heard, nor where the run is taken up again."""
    from bnexp.sweep.worker import attempt

    run = plan_of().runs[0]
    task, told = task_of(run, "resume"), list[Event]()
    store(run, plan={"total_steps": run.blueprint.plan.total_steps})
    done = Ended(run.key, "finished", accuracy=0.9)
    attempt([task], told.append)
    assert told == [done]

    source, executor = SimpleNamespace(ready=lambda: [], ended=told.append), SimpleNamespace(slots=0)
    progress = _Progress(source, executor, MagicMock(), Rules(), look)  # type: ignore[arg-type]
    progress._running[run.key] = task
    progress.take(Ended(run.key, "lost", "its process ended", seconds=3.0))
    assert progress.outcome.ends == {run.key: replace(done, seconds=3.0)}
