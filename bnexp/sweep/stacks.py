"""Gather the runs of an arm into stacks: the seeds that one process trains as one vectorized network."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.work import AskedStack, Ended, Event, Task

LEAST_WORTH, MOST_WORTH = 4, 16
"""Seeds from which on stacking pays, by the measurements in training/stackable.py, and the most that were measured."""


@dataclass(frozen=True)
class StackRule:
    """How runs are stacked.

    Attributes:
        most: runs in a stack.
        least: runs that are worth one; fewer are trained one by one.
        apart: names of arms whose runs are trained one by one.
    """

    most: int
    least: int = 2
    apart: Collection[str] = ()


def rule_for(asked: AskedStack, runs: int, workers: int, apart: Collection[str]) -> StackRule:
    """Return the rule for what was asked, with so many runs to do and so many processes side by side."""
    if asked == "auto":
        return StackRule(max(min(MOST_WORTH, -(-runs // workers)), 1), LEAST_WORTH, apart)
    return StackRule(asked, apart=apart)


class Stacks:
    """An executor that hands the runs of an arm to a process together. They come arm by arm: see `SweepPlan.by_arm`.

    Args:
        workers: the processes.
        rule: which runs make a stack.
    """

    def __init__(self, workers: LocalWorkers, rule: StackRule) -> None:
        self._workers, self._rule = workers, rule
        self._gathered: list[Task] = []
        self._events: list[Event] = []

    @property
    def slots(self) -> int:
        """How many tasks it takes at once: a whole stack for each process."""
        return self._workers.slots * self._rule.most

    def start(self, task: Task) -> None:
        """Take a task, which begins as soon as a process is free for it and those that are stacked on it."""
        self._gathered.append(task)

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what happened, as soon as something has, or nothing after so many seconds."""
        while self._gathered and self._workers.busy < self._workers.slots:
            self._workers.start(*self._next_stack())
        events, self._events = self._events, []
        return events or self._workers.wait(timeout_s)

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all that train to write a checkpoint; `at_once` ends their processes. What has not begun never does."""
        self._events += [Ended(task.key, "interrupted", "stopped before it began") for task in self._gathered]
        self._gathered = []
        self._workers.stop(at_once=at_once)

    def close(self, *, for_good: bool = False) -> None:
        """Leave no process of a task behind; `for_good`, where this process leaves, none at all."""
        self._workers.close(for_good=for_good)

    def _next_stack(self) -> list[Task]:
        """Return the first task and those that are stacked on it; of an arm with more, the stacks are about equal."""
        first, likeness = self._gathered[0], _likeness(self._gathered[0])
        alike = [task for task in self._gathered if _likeness(task) == likeness]
        stacks = -(-len(alike) // self._rule.most)
        stack = alike[: -(-len(alike) // stacks)]
        if len(stack) < self._rule.least or first.blueprint.config.name in self._rule.apart:
            stack = [first]
        keys = {task.key for task in stack}
        self._gathered = [task for task in self._gathered if task.key not in keys]
        return [replace(task, device=first.device) for task in stack]


def _likeness(task: Task) -> tuple[str, bool, str | None]:
    """Return what tasks have in common that can be stacked: all but the seed, whether they begin, and their role."""
    return task.blueprint.with_seed(0).config.model_dump_json(), task.mode == "start", task.role
