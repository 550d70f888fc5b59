"""Measure for a moment: how long the runs of a sweep take, and how to divide the cores of the machine between them."""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bnexp.blueprint import Blueprint
from bnexp.processes import usable_cores
from bnexp.runs.folder import read_json, write_json
from bnexp.sweep.plan import PlannedRun
from bnexp.sweep.work import AskedStack, Ended, Executor, Judged, Measured, Task

RECORD = "sweep.json"
_MOST_MEASURED = 8
"""Arms that are measured for an estimate; the others take what the nearest in size takes."""
_SHORT_S = 30.0
"""A sweep that is over sooner is not worth more measuring."""
_SCORES_AT_END = 2
"""Passes over the test set at the end of a run, each about as long as one over the validation part."""


@dataclass(frozen=True)
class Division:
    """How the machine is divided: so many workers side by side, each with so many threads.

    `gpus` are those that the workers take in turn; 0: the runs compute on the CPU.
    """

    workers: int
    threads: int
    gpus: int = 0


def measure(executor: Executor, tasks: Sequence[Task]) -> dict[str, Measured]:
    """Measure tasks all at once, and return what they took by their keys; one that fails is left out."""
    for task in tasks:
        executor.start(replace(task, mode="measure"))
    measured, ended = dict[str, Measured](), 0
    while ended < len(tasks):
        for event in executor.wait(1.0):
            ended += isinstance(event, Ended)
            if isinstance(event, Measured):
                measured[event.key] = event
    return measured


def without_download(blueprint: Blueprint) -> Blueprint:
    """Return a blueprint that fetches nothing: to look at what is here."""
    data = blueprint.config.data
    if not getattr(data, "download", False):
        return blueprint
    data = data.model_copy(update={"download": False})
    return replace(blueprint, config=blueprint.config.model_copy(update={"data": data}))


def judge(executor: Executor, task: Task, blueprints: Sequence[Blueprint], stack: AskedStack = 1) -> Judged:
    """Return what this machine refuses and doubts of some blueprints: memory, data that are not here, stacked seeds."""
    first, *others = blueprints
    executor.start(replace(task, key="judge", mode="judge", blueprint=first, others=tuple(others), stack=stack))
    judged = Judged("judge")
    while True:
        for event in executor.wait(1.0):
            if isinstance(event, Judged):
                judged = event
            if isinstance(event, Ended):
                return judged


def divide(executor: Executor, task: Task, runs: int, cores: int | None = None) -> Division:
    """Return the division that trains fastest, found by measuring one run side by side with itself.

    Args:
        executor: takes the measurements.
        task: a run like the others.
        runs: how many there are.
        cores: of the machine; None: those that this process may use.
    """
    cores = cores or usable_cores()
    best, fastest = Division(min(cores, runs), 1), 0.0
    for workers in _halved(cores):
        if workers > runs and workers > 1:
            continue
        threads = within_limit(max(cores // workers, 1))
        found = measure(executor, [replace(task, key=f"{task.key}/{n}", threads=threads) for n in range(workers)])
        if len(found) < workers:
            continue
        steps_per_s = sum(1 / one.step_s for one in found.values())
        gpus = max(one.gpus for one in found.values())
        if steps_per_s > fastest:
            best, fastest = Division(workers, threads, gpus), steps_per_s
        run_s = max(seconds_of(task, one) for one in found.values())
        if run_s * -(-runs // workers) < _SHORT_S:
            break
    return best


def division_of(folder: Path | None, workers: int | None, executor: Executor, task: Task, runs: int) -> Division:
    """Return how many workers a sweep has on this machine, each with how many threads.

    The threads are those that the sweep began with on this machine, which its folder keeps: the bits of a run depend on
    them, and not on how many workers there are.

    Args:
        folder: of the sweep; None: nothing is kept.
        workers: as many as the person asked for; None: as many as are fastest.
        executor: takes the measurements.
        task: a run like the others.
        runs: how many there are.
    """
    cores = usable_cores()
    here = {"host": platform.node(), "cores": cores, "device": task.device or "auto"}
    for known in reversed(_recorded(folder)):
        threads, gpus = known.get("threads"), known.get("gpus")
        if here.items() <= known.items() and isinstance(threads, int) and threads > 0 and isinstance(gpus, int):
            return Division(workers or max(cores // threads, 1), threads, gpus)
    if workers:
        division = Division(workers, within_limit(max(cores // workers, 1)))
    else:
        division = divide(executor, task, runs, cores)
    if folder is not None:  # read once more: other parts of the sweep may have begun meanwhile
        write_json(folder / RECORD, {"divisions": [*_recorded(folder), {**here, **asdict(division)}]})
    return division


def _recorded(folder: Path | None) -> list[dict[str, Any]]:
    """Return the divisions that a sweep began with, on whatever machines."""
    record = (read_json(folder / RECORD) if folder else None) or {}
    divisions = record.get("divisions")
    return [one for one in divisions if isinstance(one, dict)] if isinstance(divisions, list) else []


def within_limit(threads: int) -> int:
    """Return how many of so many threads a process may have, by the variable OMP_NUM_THREADS."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(threads, int(text)) if text.isdecimal() and int(text) > 0 else threads


def _halved(cores: int) -> Iterable[int]:
    """Yield numbers of workers: one a core, half as many, ... and one."""
    while cores > 1:
        yield cores
        cores //= 2
    yield 1


def seconds_of(task: Task, measured: Measured) -> float:
    """Return how long a run takes from its beginning, after a measurement."""
    plan = task.blueprint.plan
    return measured.run_s(plan.total_steps, plan.evaluations_until(plan.total_steps) + _SCORES_AT_END)


def estimate(
    executor: Executor, runs: Sequence[PlannedRun], division: Division, task_of: Callable[[PlannedRun], Task]
) -> float | None:
    """Return about how many seconds the runs take by a division of the machine, or None where none could be measured.

    An arm is measured once for all its seeds.
    """
    first = {run.arm.name: task_of(run) for run in reversed(runs)}
    by_size = sorted(first, key=lambda name: _size(first[name]))
    chosen = by_size if len(by_size) <= _MOST_MEASURED else _spread(by_size, _MOST_MEASURED)
    measured = dict[str, Measured]()
    for start in range(0, len(chosen), division.workers):
        names = chosen[start : start + division.workers]
        found = measure(executor, [replace(first[name], key=name, threads=division.threads) for name in names])
        measured |= found
    if not measured:
        return None
    nearest = {name: min(measured, key=lambda known: abs(by_size.index(known) - by_size.index(name))) for name in first}
    seconds = [seconds_of(first[run.arm.name], measured[nearest[run.arm.name]]) for run in runs]
    return max(sum(seconds) / division.workers, max(seconds))


def _size(task: Task) -> tuple[int, int]:
    layout, plan = task.blueprint.layout, task.blueprint.plan
    return layout.features * plan.batch_size, sum(len(getattr(part, "items", ())) for part in layout.parts)


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Return so many of some names at equal distances, the first and the last among them."""
    return [names[round(number * (len(names) - 1) / (count - 1))] for number in range(count)]
