"""The learning rate as a function of the step alone, so that any step can be taken up again."""

import math

from bnexp.config.plan import Plan
from bnexp.config.schema import CosineSchedule, OneCycleSchedule, ScheduleConfig, StepSchedule

ONECYCLE_START = 1 / 25
ONECYCLE_END = 1 / 25e4


def learning_rate(schedule: ScheduleConfig, peak: float, step: int, plan: Plan) -> float:
    """Return the learning rate of `step`, counted from 0.

        constant    peak
        step        peak * gamma^(number of milestones passed)
        cosine      peak * (f + (1 - f) * (1 + cos(pi * t)) / 2),  t from 0 to 1 over what follows the warm-up
        onecycle    cosine from peak/25 up to peak, then down to peak/250,000, as torch's OneCycleLR

    During a warm-up of w steps the rate is (step + 1) / w of that: it reaches the whole with its last step.
    """
    if isinstance(schedule, OneCycleSchedule):
        return peak * _onecycle(schedule.rise_fraction, step, plan.total_steps)
    warmup_steps = round(schedule.warmup_epochs * plan.steps_per_epoch)
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if isinstance(schedule, StepSchedule):
        passed = sum(step >= round(milestone * plan.steps_per_epoch) for milestone in schedule.milestones)
        return peak * warmup * schedule.gamma**passed
    if isinstance(schedule, CosineSchedule):
        progress = max(0, step - warmup_steps) / max(1, plan.total_steps - warmup_steps)
        return peak * warmup * _cosine(1.0, schedule.final_fraction, progress)
    return peak * warmup


def _cosine(start: float, end: float, progress: float) -> float:
    """Return the point at `progress` (0 .. 1) of half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _onecycle(rise_fraction: float, step: int, total_steps: int) -> float:
    top = rise_fraction * total_steps - 1  # the step of the peak, a fraction as in torch's OneCycleLR
    if step <= top:
        return _cosine(ONECYCLE_START, 1.0, step / top if top > 0 else 1.0)
    return _cosine(1.0, ONECYCLE_END, (step - max(top, 0)) / max(total_steps - 1 - max(top, 0), 1))
