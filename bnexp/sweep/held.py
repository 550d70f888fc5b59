"""Look at runs that another process may train: they are waited for, taken over, or have come to their end."""

from contextlib import suppress
from dataclasses import replace

from bnexp.config.nested import dotted
from bnexp.errors import BnexpError
from bnexp.runs.identity import network_of
from bnexp.runs.own_lock import holder_here
from bnexp.runs.resuming import complete_meta
from bnexp.runs.run import COMPLETE, read_run
from bnexp.sweep.plan import identities
from bnexp.sweep.work import End, Ended, Task


def look(task: Task) -> Task | Ended | int:
    """Look what has become of the run of a task since it was planned.

    Returns:
        the number of the process of this machine that trains it; the end to which another process brought it; or the
        task, as it is to be done now. A folder that is another arm's is left to the attempt, which refuses it.
    """
    if not task.folder.is_dir():
        return task
    run, length = read_run(task.folder), task.mode != "lengthen"
    config = dict(dotted(task.blueprint.config.model_dump(mode="json", exclude_none=True)))
    layout = network_of(task.blueprint.layout, task.blueprint.config.data.batch_size)["layout"]
    known_by = identities(config, layout, length=length)
    if run.config is None or set(known_by).isdisjoint(identities(run.config, run.network.get("layout"), length=length)):
        return task
    if (holder := holder_here(task.folder)) is not None:
        return holder
    if run.status in COMPLETE and run.total_steps == task.blueprint.plan.total_steps:
        with suppress(OSError, BnexpError):  # nothing is lost where it cannot be noted
            complete_meta(task.folder)
        accuracy = run.figures.get("val_accuracy") if run.status == "finished" else None
        end: End = "finished" if run.status == "finished" else "diverged"
        return Ended(task.key, end, accuracy=accuracy, by_another=True)
    return replace(task, mode="resume") if task.mode == "start" else task
