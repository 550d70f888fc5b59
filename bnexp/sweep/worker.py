"""The work of one process of a sweep: a run, or stacked ones, told through a pipe.

Importing the module loads torch, bnexp, and the datasets that the environment names: the server of the workers does it
once. A worker is a fork of that process: its memory holds decoded and fitted datasets without another byte.
"""

import contextlib
import gc
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from bnexp.blueprint import Blueprint
from bnexp.config.memory import StackMemory
from bnexp.config.plan import Plan
from bnexp.data.load import keep_dataset, load_dataset
from bnexp.data.sources.place import BROUGHT, data_folder
from bnexp.errors import BnexpError, Interrupted
from bnexp.inspection.speed import moment_of
from bnexp.models.build import without_numbers
from bnexp.runs.claim import Taken
from bnexp.runs.identity import first_difference
from bnexp.runs.own_lock import Held
from bnexp.runs.plugins import sources_of
from bnexp.runs.run import OUT_OF_MEMORY
from bnexp.runs.seal import load_stored
from bnexp.session import life, resume
from bnexp.session.display import Display, left
from bnexp.session.life import Life, RunResult
from bnexp.session.lockstep import Outcome, train_together
from bnexp.session.signals import ANNOUNCEMENTS, StopRequest
from bnexp.session.terms import Terms
from bnexp.sweep.held import ended_before
from bnexp.sweep.work import DATASETS, Ended, Event, Judged, Measured, Progressed, Task, Warned
from bnexp.training.build import build
from bnexp.training.clock import Clock
from bnexp.training.device import choose_device, computing_as
from bnexp.training.room import memory_of_stack
from bnexp.training.stackable import why_not_stacked, why_not_worth, why_unpaid

_SHOWN_EVERY_S = 0.2
_GRACE_S, _LOOK_S = 30.0, 1.0
"""How long a worker without its sweep may take for its last checkpoint, and how often it looks for its server."""
_SHOWN = ("loss/train", "accuracy/train", "loss/val", "accuracy/val")


def load_once() -> None:
    """Load what every worker needs, in a process that is then forked."""
    torch.set_num_threads(1)  # a process in whose threads OpenMP has computed cannot be forked
    path = os.environ.pop(DATASETS, None)
    if path is not None:  # a scheduler tells every process of a job; the sweep asks its workers itself
        for number in ANNOUNCEMENTS:
            signal.signal(number, signal.SIG_IGN)
    for dataset in pickle.loads(Path(path).read_bytes()) if path else []:  # noqa: S301  written by our own parent
        with contextlib.suppress(Exception):  # the worker that needs it says what is wrong
            keep_dataset(*dataset)
    if path is not None:
        gc.freeze()  # a worker that looks for garbage among all this would copy 50 MB of it


def work(tasks: Sequence[Task], pipe: Connection, output: Path) -> None:
    """Do tasks in this process, which ends with them; what it prints goes to a file."""
    _stand_alone(output)
    if tasks[0].threads is not None:
        torch.set_num_threads(tasks[0].threads)
    attempt(tasks, _Teller(pipe))


def attempt(tasks: Sequence[Task], tell: Callable[[Event], None]) -> None:
    """Do a task, or stacked ones of one arm, and tell how each ended; bugs in bnexp pass as they are, at the end."""
    began, bugs, stop = time.monotonic(), dict[int, Exception](), StopRequest()

    def ended(number: int, outcome: Outcome) -> None:
        if isinstance(outcome, Exception) and not isinstance(outcome, BnexpError):
            outcome.add_note(f"in {tasks[number].key}")
            bugs[id(outcome)] = outcome  # one in the common step ends several
        else:
            tell(replace(_end_of(tasks[number], outcome, len(tasks)), seconds=time.monotonic() - began))

    if tasks[0].mode in ("measure", "judge"):
        tell(_examined(tasks[0], tell))
        return
    tasks = _without_ended(tasks, tell)
    if not tasks:
        return
    if len(tasks) > 1:
        _share_dataset(tasks[0])
    with stop.listening():
        lives = [_life(task, tell, stop, len(tasks)) for task in tasks]
        common = tasks[0].blueprint.config.training
        train_together(lives, stop, ended, common, lambda text: tell(Warned(tasks[0].key, text)))
    if len(bugs) > 1:
        raise ExceptionGroup(f"{len(bugs)} errors in {len(tasks)} stacked runs", list(bugs.values()))
    for bug in bugs.values():
        raise bug


def _without_ended(tasks: Sequence[Task], tell: Callable[[Event], None]) -> list[Task]:
    """Tell how the runs ended that are complete on the disk already; return the tasks that are left."""
    left = []
    for task in tasks:
        if (done := ended_before(task)) is None:
            left.append(task)
        else:
            tell(done)
    return left


def _share_dataset(task: Task) -> None:
    """Load the dataset of stacked runs once for all, on their device."""
    one, data_dir = task.blueprint, task.data_dir or data_folder(None)
    with contextlib.suppress(Exception):  # the runs say what is wrong
        keep_dataset(one.config.data, one.info, one.plan, data_dir, choose_device(task.device or "auto"))


def _examined(task: Task, tell: Callable[[Event], None]) -> Ended:
    """Tell what a task that trains nothing finds out, and return how it ended."""
    try:
        tell(measure(task) if task.mode == "measure" else judge(task))
    except BnexpError as error:
        return Ended(task.key, "failed", str(error))
    return Ended(task.key, "finished")


def _life(task: Task, tell: Callable[[Event], None], stop: StopRequest, stacked: int) -> Life:
    """Do what a task asks for, as one of so many that are stacked."""
    BROUGHT.update(task.brought)
    terms = Terms(
        data_dir=task.data_dir,
        device=task.device,
        show=lambda name, plan: _ToldDisplay(task.key, plan, tell, stacked),
        warn=lambda warning: tell(Warned(task.key, warning)),
        argv=task.argv,
        role=task.role,
        chosen=task.chosen,
        stacked=stacked,
    )
    config = task.blueprint.config
    if task.mode == "start":
        return (yield from life.begin(task.blueprint, terms, stop, task.folder))
    if task.mode == "lengthen":
        return (yield from resume.lengthening(task.folder, terms, config, stop))
    same = first_difference(load_stored(task.folder)[0], config) is None
    # The same arm may have been written in another way, or with other probes: the run keeps its own config.
    return (yield from resume.resuming(task.folder, terms, stop, config=config if same else None))


def _end_of(task: Task, outcome: RunResult | BnexpError, stacked: int) -> Ended:
    """Return how a task ended."""
    if isinstance(outcome, Interrupted):
        return Ended(task.key, "interrupted", str(outcome))
    if isinstance(outcome, Held | Taken):
        return Ended(task.key, "elsewhere", str(outcome))
    if isinstance(outcome, BnexpError):
        fewer = f"\n{stacked} runs were stacked; fewer need less: --stack {stacked // 2 if stacked > 3 else 'off'}"
        of_memory = stacked > 1 and str(outcome).startswith(OUT_OF_MEMORY)
        return Ended(task.key, "failed", f"{outcome}{fewer if of_memory else ''}")
    final = outcome.summary["final"] if outcome.summary["status"] == "finished" else None
    return Ended(task.key, outcome.summary["status"], accuracy=final and final["accuracy"])


def judge(task: Task) -> Judged:
    """Look whether the data of all blueprints are here, whether their networks fit into memory and can be built.

    Where they are to be stacked, look whether they can be, too, whether that pays, and what memory it takes.
    """
    refused, doubted, apart = dict[str, str](), dict[str, list[str]](), dict[str, str]()
    unpaid, stacks = dict[str, str](), dict[str, StackMemory]()
    data_dir, device = task.data_dir or data_folder(None), task.device or "auto"
    for blueprint in (task.blueprint, *task.others):
        config, doubts = blueprint.config, list[str]()
        try:
            life.weigh(blueprint, device, Terms(warn=doubts.append))
            if sources_of(config):  # a norm of others is tried where it is built
                without_numbers(blueprint.layout)
            load_dataset(config.data, blueprint.info, blueprint.plan, data_dir, torch.device("cpu"))
            if why := _why_apart(task, blueprint):
                (apart if task.stack == "auto" else refused)[config.name] = why
            elif task.stack != 1:
                if task.stack != "auto" and (why := why_unpaid(blueprint, device, task.stack)):
                    unpaid[config.name] = why
                if memory := memory_of_stack(blueprint, choose_device(device)):
                    stacks[config.name] = memory
        except BnexpError as error:
            refused[config.name] = str(error)
        doubted[config.name] = doubts
    doubted = {name: doubts for name, doubts in doubted.items() if doubts}
    return Judged(task.key, refused, doubted, apart, unpaid, stacks)


def _why_apart(task: Task, blueprint: Blueprint) -> str | None:
    """Say why the runs of an arm are not stacked as a task asks; None where they are, or where it does not ask."""
    if task.stack == "auto":
        return why_not_worth(blueprint, task.device or "auto") or why_not_stacked(blueprint)
    why = why_not_stacked(blueprint) if task.stack > 1 else None
    return why and f"--stack {task.stack}: {why}; --stack auto trains such arms seed by seed"


def measure(task: Task) -> Measured:
    """Take steps of a run for a moment, the first of them uncounted, and score its validation part once."""
    began = time.perf_counter()
    device = task.device or "auto"
    run = build(task.blueprint, data_dir=task.data_dir or data_folder(None), device=device)
    start_s = time.perf_counter() - began
    with computing_as(run.config.training):
        moment = moment_of(run)
    gpus = torch.cuda.device_count() if run.device.type == "cuda" else 0
    return Measured(task.key, start_s, moment.step_s, moment.evaluation_s, gpus)


class _Teller:
    """Sends events to the sweep; that nobody hears them is no fault of the run."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(event)


class _ToldDisplay(Display):
    """Tells where a run is, a few times a second at most."""

    def __init__(self, key: str, plan: Plan, tell: Callable[[Event], None], stacked: int) -> None:
        self._key, self._plan, self._tell, self._stacked = key, plan, tell, stacked
        self._told_at = float("-inf")
        self._figures: dict[str, float] = {}

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Remember the figures of a row."""
        self._figures |= {name: values[name] for name in _SHOWN if name in values}

    def step(self, step: int, clock: Clock) -> None:
        """Tell of a step."""
        now = time.monotonic()
        if now - self._told_at >= _SHOWN_EVERY_S:
            self._told_at = now
            own_s = clock.remaining_s(step, *left(self._plan, step))  # of all that pass until then
            figures = dict(self._figures)
            self._tell(Progressed(self._key, step, self._plan.total_steps, figures, self._stacked * own_s))


def _stand_alone(output: Path) -> None:
    """Leave the process group of the terminal, print to a file, and end when the sweep or the server does."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    nothing, printed = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, descriptor in ((0, nothing), (1, printed), (2, printed)):
        os.dup2(descriptor, number)
    for descriptor in {nothing, printed} - {0, 1, 2}:
        os.close(descriptor)
    threading.Thread(target=_end_with_the_sweep, args=(os.getppid(),), daemon=True).start()


def _end_with_the_sweep(server: int) -> None:
    """Wait until the sweep or the server is gone; then ask this process to end, and a while later kill it."""
    sweep = parent_process()
    if sweep is None:
        return
    while not connection.wait([sweep.sentinel], _LOOK_S) and os.getppid() == server:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


load_once()
