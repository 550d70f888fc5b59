"""The schedules against torch's own, and against their closed forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from bnexp.config.plan import Plan
from bnexp.config.schema import ConstantSchedule, CosineSchedule, OneCycleSchedule, ScheduleConfig, StepSchedule
from bnexp.training.optimizer import learning_rate

PEAK = 0.3


def plan_of(total_steps: int, steps_per_epoch: int) -> Plan:
    return Plan(
        train_examples=steps_per_epoch,
        val_examples=1,
        test_examples=1,
        batch_size=1,
        last_batch=1,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        eval_every_epochs=1.0,
    )


def rates(schedule: ScheduleConfig, plan: Plan) -> list[float]:
    return [learning_rate(schedule, PEAK, step, plan) for step in range(plan.total_steps)]


def torch_rates(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("total", [7, 40, 101])
def test_cosine_is_torchs(total: int) -> None:
    expected = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, total, eta_min=PEAK * 0.1), total)
    schedule = CosineSchedule(name="cosine", final_fraction=0.1)
    assert rates(schedule, plan_of(total, 10)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("total", [30, 55])
def test_step_is_torchs(total: int) -> None:
    expected = torch_rates(lambda o: lr_scheduler.MultiStepLR(o, [15, 20], gamma=0.2), total)
    schedule = StepSchedule(name="step", milestones=(1.5, 2), gamma=0.2)
    assert rates(schedule, plan_of(total, 10)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("total", "rise"), [(20, 0.3), (100, 0.25), (33, 0.5)])
def test_onecycle_is_torchs(total: int, rise: float) -> None:
    expected = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(o, PEAK, total_steps=total, pct_start=rise, cycle_momentum=False), total
    )
    assert rates(OneCycleSchedule(name="onecycle", rise_fraction=rise), plan_of(total, 10)) == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize("total", [1, 2, 3])
def test_onecycle_of_very_few_steps_stays_within_its_range(total: int) -> None:
    found = rates(OneCycleSchedule(name="onecycle", rise_fraction=0.3), plan_of(total, 1))
    assert all(0 < rate <= PEAK * (1 + 1e-12) for rate in found)


def test_constant_is_constant_after_a_linear_warmup() -> None:
    found = rates(ConstantSchedule(name="constant", warmup_epochs=0.5), plan_of(20, 10))
    assert found[:5] == pytest.approx([PEAK * k / 5 for k in (1, 2, 3, 4, 5)])
    assert found[5:] == [PEAK] * 15


def test_cosine_follows_its_warmup() -> None:
    found = rates(CosineSchedule(name="cosine", warmup_epochs=1), plan_of(30, 10))
    assert found[9] == pytest.approx(PEAK)
    assert found[10:] == pytest.approx([PEAK * (1 + math.cos(math.pi * t / 20)) / 2 for t in range(20)])
    assert found[20] == pytest.approx(PEAK / 2)
