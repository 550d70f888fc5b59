"""Where a sweep stands follows from its events alone."""

from collections.abc import Callable

import pytest

from bnexp.sweep.plan import SweepPlan
from bnexp.sweep.standing import Standing
from bnexp.sweep.work import Ended, Progressed, Task
from planned_runs import store


def test_the_time_left_is_that_of_the_runs_that_go_on_and_of_those_that_wait(plan_of: Callable[..., SweepPlan]) -> None:
    clock = [0.0]
    first, second = (Task(run.key, run.blueprint, run.folder) for run in plan_of().runs)
    standing = Standing(4, 2, now=lambda: clock[0])
    standing.started(first)
    assert standing.eta_s() is None
    clock[0] = 10.0
    standing.take(Progressed(first.key, 1, 4, eta_s=30.0))
    assert standing.eta_s() == pytest.approx((30 + 3 * 40) / 2)  # a run takes 40 s
    standing.started(second)
    end = Ended(first.key, "finished", seconds=20.0, accuracy=0.9)
    standing.take(end)
    standing.close(end)
    assert standing.ended == 1
    assert standing.eta_s() == pytest.approx((20 / 2 + 2 * 20) / 2)  # the second may be half-way


def test_the_leader_has_the_best_mean_of_its_final_runs(plan_of: Callable[..., SweepPlan]) -> None:
    asked = {"axes": {"model.norm": ["none", "bn"]}}
    for run, reached in zip(plan_of(**asked).runs, (0.5, 0.6, 0.7), strict=False):
        store(run, accuracy=reached)
    *stored, last = plan_of(**asked).runs
    standing = Standing(1, 1, stored)
    assert (leader := standing.leader) is not None
    assert (leader.arm, leader.accuracy, leader.seeds, leader.diverged) == ("norm=none", pytest.approx(0.6), 2, 0)
    task = Task(last.key, last.blueprint, last.folder)
    for role, accuracy, ahead in (("tuning", 0.99, "norm=none"), (None, 0.8, "norm=bn")):
        standing.started(Task(task.key, task.blueprint, task.folder, role=role))
        standing.take(Ended(task.key, "finished", accuracy=accuracy))
        assert standing.leader is not None
        assert standing.leader.arm == ahead
