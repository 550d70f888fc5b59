"""The work of one process of a sweep: a run, told through a pipe.

Importing the module loads torch, bnexp, and the datasets that the environment names: the server of the workers does it
once. A worker is a fork of that process: its memory holds decoded and fitted datasets without another byte.
"""

import contextlib
import importlib
import os
import pickle
import signal
import threading
import time
from dataclasses import replace
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from bnexp.config.plan import Plan
from bnexp.data.load import keep_dataset, load_dataset
from bnexp.data.sources.place import BROUGHT, data_folder
from bnexp.errors import BnexpError, Interrupted
from bnexp.models.build import without_numbers
from bnexp.runs.claim import Taken
from bnexp.runs.identity import first_difference
from bnexp.runs.own_lock import Held
from bnexp.runs.plugins import sources_of
from bnexp.runs.rows import Writers
from bnexp.runs.seal import load_stored
from bnexp.session import life, resume
from bnexp.session.display import Display, left
from bnexp.session.signals import ANNOUNCEMENTS
from bnexp.session.terms import Terms
from bnexp.sweep.work import DATASETS, Ended, Event, Judged, Measured, Progressed, Task, Warned
from bnexp.training.build import build
from bnexp.training.clock import Clock
from bnexp.training.evaluation import score_of
from bnexp.training.graph import way_of
from bnexp.training.loop import steps
from bnexp.training.progress import Progress

_SHOWN_EVERY_S = 0.2
_MEASURED_S, _WARMING_STEPS = 0.5, 3
_GRACE_S, _LOOK_S = 30.0, 1.0
"""How long a worker without its sweep may take for its last checkpoint, and how often it looks for its server."""
_SHOWN = ("loss/train", "accuracy/train", "loss/val", "accuracy/val")


def load_once() -> None:
    """Load what every worker needs, in a process that is then forked."""
    torch.set_num_threads(1)  # a process in whose threads OpenMP has computed cannot be forked
    with contextlib.suppress(ImportError):
        importlib.import_module("torch._dynamo")  # else each worker loads it with its optimizer
    path = os.environ.pop(DATASETS, None)
    if path is not None:  # a scheduler tells every process of a job; the sweep asks its workers itself
        for number in ANNOUNCEMENTS:
            signal.signal(number, signal.SIG_IGN)
    for dataset in pickle.loads(Path(path).read_bytes()) if path else []:  # noqa: S301  written by our own parent
        with contextlib.suppress(Exception):  # the worker that needs it says what is wrong
            keep_dataset(*dataset)


def work(task: Task, pipe: Connection, output: Path) -> None:
    """Do a task in this process, which ends with it; what it prints goes to a file."""
    began = time.monotonic()
    _stand_alone(output)
    tell = _Teller(pipe)
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    tell(replace(attempt(task, tell), seconds=time.monotonic() - began))


def attempt(task: Task, tell: "_Teller") -> Ended:
    """Do a task, and return how it ended; a bug in bnexp passes as it is."""
    BROUGHT.update(task.brought)
    terms = Terms(
        data_dir=task.data_dir,
        device=task.device,
        show=lambda name, plan: _ToldDisplay(task.key, plan, tell),
        warn=lambda warning: tell(Warned(task.key, warning)),
        argv=task.argv,
        role=task.role,
        chosen=task.chosen,
    )
    try:
        if task.mode in ("measure", "judge"):
            tell(measure(task) if task.mode == "measure" else judge(task))
            return Ended(task.key, "finished")
        config = task.blueprint.config
        if task.mode == "start":
            result = life.start(task.blueprint, terms, task.folder)
        elif task.mode == "lengthen":
            result = resume.lengthen(task.folder, terms, config)
        else:
            same = first_difference(load_stored(task.folder)[0], config) is None
            # The same arm may have been written in another way, or with other probes: the run keeps its own config.
            result = resume.resume(task.folder, terms, config=config if same else None)
    except Interrupted as stopped:
        return Ended(task.key, "interrupted", str(stopped))
    except (Held, Taken) as error:
        return Ended(task.key, "elsewhere", str(error))
    except BnexpError as error:
        return Ended(task.key, "failed", str(error))
    final = result.summary["final"] if result.summary["status"] == "finished" else None
    return Ended(task.key, result.summary["status"], accuracy=final and final["accuracy"])


def judge(task: Task) -> Judged:
    """Look whether the data of all blueprints are here, whether their networks fit into memory and can be built."""
    refused, doubted = dict[str, str](), dict[str, list[str]]()
    data_dir = task.data_dir or data_folder(None)
    for blueprint in (task.blueprint, *task.others):
        config, doubts = blueprint.config, list[str]()
        try:
            life.weigh(blueprint, task.device or "auto", Terms(warn=doubts.append))
            if sources_of(config):  # a norm of others is tried where it is built
                without_numbers(blueprint.layout)
            load_dataset(config.data, blueprint.info, blueprint.plan, data_dir, torch.device("cpu"))
        except BnexpError as error:
            refused[config.name] = str(error)
        doubted[config.name] = doubts
    return Judged(task.key, refused, {name: doubts for name, doubts in doubted.items() if doubts})


def measure(task: Task) -> Measured:
    """Take steps of a run for a moment, the first of them uncounted, and score its validation part once."""
    began = time.perf_counter()
    device = task.device or "auto"
    run = build(task.blueprint, data_dir=task.data_dir or data_folder(None), device=device)
    progress, take = Progress.start(run, Writers([])), way_of(run)  # recorded once, among the steps that do not count
    start_s = time.perf_counter() - began

    def steps_for(seconds: float, least: int) -> float:
        """Return the mean time of a step."""
        first, since = progress.steps, time.perf_counter()
        enough = lambda: time.perf_counter() - since >= seconds and progress.steps - first >= least  # noqa: E731
        for stretch in steps(run, progress, stop=enough, ahead=take is not None):
            stretch.seen = take(stretch) if take else None
        return (time.perf_counter() - since) / max(progress.steps - first, 1)

    warming_s = steps_for(0, _WARMING_STEPS)
    step_s = steps_for(_MEASURED_S, 1) if progress.steps < run.plan.total_steps else warming_s
    since = time.perf_counter()
    score_of(run, run.dataset.val)
    gpus = torch.cuda.device_count() if run.device.type == "cuda" else 0
    return Measured(task.key, start_s, step_s, time.perf_counter() - since, gpus)


class _Teller:
    """Sends events to the sweep; that nobody hears them is no fault of the run."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(event)


class _ToldDisplay(Display):
    """Tells where a run is, a few times a second at most."""

    def __init__(self, key: str, plan: Plan, tell: _Teller) -> None:
        self._key, self._plan, self._tell = key, plan, tell
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
            eta_s = clock.remaining_s(step, *left(self._plan, step))
            self._tell(Progressed(self._key, step, self._plan.total_steps, dict(self._figures), eta_s))


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
