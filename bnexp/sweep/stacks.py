"""Gather the runs of an arm into stacks: the seeds that one process trains as one vectorized network."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bnexp.config.memory import StackMemory, size
from bnexp.document.writing import at_most, first_few
from bnexp.sweep.estimate import Division
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.work import AskedStack, Ended, Event, Judged, Task

LEAST_WORTH, MOST_WORTH = 4, 16
"""Seeds from which on stacking pays, by the measurements in training/stackable.py, and the most that were measured."""


@dataclass(frozen=True)
class StackRule:
    """How runs are stacked.

    Attributes:
        most: runs in a stack.
        least: runs that are worth one; fewer are trained one by one.
        fitting: how many runs of an arm fit into memory together, by the arm's name; absent where that is unknown.
        apart: names of arms whose runs are trained one by one.
        beside: stacks that share the memory.
    """

    most: int
    least: int = 2
    fitting: Mapping[str, int] = field(default_factory=dict)
    apart: Collection[str] = ()
    beside: int = 1

    def share(self, arm: str, runs: int) -> int:
        """Return the size of the stacks that divide the runs of an arm about equally, be it worth a stack or not."""
        most = max(min(self.most, self.fitting.get(arm, self.most)), 1)
        return 1 if arm in self.apart else -(-runs // -(-runs // most))

    def size(self, arm: str, runs: int) -> int:
        """Return how many runs of an arm are stacked; 1 where they are trained one by one."""
        share = self.share(arm, runs)
        return 1 if share < self.least else share


def rule_for(
    asked: AskedStack,
    runs: Mapping[str, int],
    division: Division,
    judged: Judged,
    tuned_for: Mapping[str, str] = {},
) -> StackRule:
    """Return the rule for what was asked.

    Args:
        asked: how many seeds to stack.
        runs: how many are left of each arm.
        division: of the machine between processes.
        judged: what the machine can do of the arms.
        tuned_for: the arm that each candidate of a tuning stands for; what holds for one holds for the other.
    """
    beside = -(-division.workers // max(division.gpus, 1))
    fitting = {name: memory.fitting(beside) for name, memory in judged.stacks.items()}
    for candidate, name in tuned_for.items():
        if candidate in fitting:
            fitting[name] = min(fitting[candidate], fitting.get(name, fitting[candidate]))
    if asked != "auto":
        return StackRule(asked, fitting=fitting, beside=beside)
    apart = {*judged.apart, *(tuned_for[name] for name in judged.apart if name in tuned_for)}
    each = max(min(MOST_WORTH, -(-sum(runs.values()) // division.workers)), 1)
    return StackRule(each, LEAST_WORTH, fitting, apart, beside)


def beyond_memory(asked: AskedStack, rule: StackRule, runs: Mapping[str, int], judged: Judged) -> dict[str, str]:
    """Return a refusal for each arm, by its name, whose seeds do not fit into memory as asked; it says how many do."""
    if asked == "auto":
        return {}
    wanted = {name: min(asked, count) for name, count in runs.items() if name in judged.stacks}
    fit = min((rule.fitting[name] for name in wanted), default=asked)
    expected = f"expected at most --stack {fit}" if fit > 1 else "expected --stack off"
    return {
        name: f"--stack {asked}: {_taken(judged.stacks[name], count, rule)}; {expected}"
        for name, count in wanted.items()
        if rule.fitting[name] < count
    }


def remarks_on(asked: AskedStack, rule: StackRule, runs: Mapping[str, int], judged: Judged) -> Iterator[str]:
    """Yield notes: which arms are not stacked as asked and why, and where stacking is known not to pay."""
    for reason, names in _by_reason(judged.apart):
        yield f"trained seed by seed: {names}: {reason}"
    unpaid = {name: reason for name, reason in judged.unpaid.items() if rule.size(name, runs[name]) > 1}
    for reason, names in _by_reason(unpaid):
        yield f"stacked, although that was measured not to pay: {names}: {reason}"
    short = dict[str, str]()
    for name, memory in judged.stacks.items():
        wanted, fit = min(runs[name], rule.most), rule.fitting[name]
        if wanted >= rule.least and fit < wanted:
            becomes = f"stacked by {fit} at most" if fit >= rule.least else "trained seed by seed"
            short[name] = f"{becomes}: {_taken(memory, wanted, rule)}"
    yield from at_most([f"{name}: {remark}" for name, remark in short.items()], 4, "such arms")
    shares = [rule.share(name, count) for name, count in runs.items() if name not in {*rule.apart, *short}]
    if shares and max(shares) < rule.least:
        yield (
            f"nothing is stacked: --stack {asked} takes {rule.least} seeds of an arm or more, and here come "
            f"{max(shares)} of one arm to a process"
        )


def _taken(memory: StackMemory, seeds: int, rule: StackRule) -> str:
    """Say what memory a stack takes, and what is free."""
    each = f" in each of {rule.beside} processes" if rule.beside > 1 else ""
    needed, free = size(memory.needed(seeds)), size(memory.free)
    return f"{seeds} stacked seeds take about {needed} of memory{each}, and {free} are free"


def _by_reason(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return each reason with the names of its arms, the first few of many."""
    names = defaultdict[str, list[str]](list)
    for name, reason in reasons.items():
        names[reason].append(name)
    return [(reason, first_few(each, 4)) for reason, each in names.items()]


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
        stack = alike[: self._rule.size(first.blueprint.config.name, len(alike))]
        keys = {task.key for task in stack}
        self._gathered = [task for task in self._gathered if task.key not in keys]
        return [replace(task, device=first.device) for task in stack]


def _likeness(task: Task) -> tuple[str, bool, str | None]:
    """Return what tasks have in common that can be stacked: all but the seed, whether they begin, and their role."""
    return task.blueprint.with_seed(0).config.model_dump_json(), task.mode == "start", task.role
