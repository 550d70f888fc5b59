"""Look at runs that another process may train: they are waited for, taken over, or have come to their end."""

from contextlib import suppress
from dataclasses import replace

from bnexp.config.nested import dotted
from bnexp.errors import BnexpError
from bnexp.runs.identity import network_of
from bnexp.runs.own_lock import holder_here
from bnexp.runs.resuming import complete_meta
from bnexp.runs.run import COMPLETE, Run, read_run
from bnexp.sweep.plan import identities
from bnexp.sweep.work import End, Ended, Task


def look(task: Task) -> Task | Ended | int:
    """Look what has become of the run of a task since it was planned.

    Returns:
        the number of the process of this machine that trains it; the end to which another process brought it; or the
        task, as it is to be done now. A folder that is another arm's is left to the attempt, which refuses it.
    """
    if (run := _own_run(task)) is None:
        return task
    if (holder := holder_here(task.folder)) is not None:
        return holder
    if (ended := _end_of(run, task)) is not None:
        return replace(ended, by_another=True)
    return replace(task, mode="resume") if task.mode == "start" else task


def ended_before(task: Task) -> Ended | None:
    """Return how the run of a task ended, by its records; None where it has not ended.

    A process, or its node, may die after it has written all and before it tells.
    """
    run = _own_run(task)
    return None if run is None else _end_of(run, task)


def _own_run(task: Task) -> Run | None:
    """Return the run in the folder of a task; None where there is none, or one of another arm."""
    if not task.folder.is_dir():
        return None
    run, length = read_run(task.folder), task.mode != "lengthen"
    config = dict(dotted(task.blueprint.config.model_dump(mode="json", exclude_none=True)))
    layout = network_of(task.blueprint.layout, task.blueprint.config.data.batch_size)["layout"]
    known_by = identities(config, layout, length=length)
    if run.config is None or set(known_by).isdisjoint(identities(run.config, run.network.get("layout"), length=length)):
        return None
    return run


def _end_of(run: Run, task: Task) -> Ended | None:
    if run.status not in COMPLETE or run.total_steps != task.blueprint.plan.total_steps:
        return None
    with suppress(OSError, BnexpError):  # nothing is lost where it cannot be noted
        complete_meta(task.folder)
    end: End = "finished" if run.status == "finished" else "diverged"
    return Ended(task.key, end, accuracy=run.figures.get("val_accuracy") if end == "finished" else None)
