"""Run tasks in processes of this machine, forked from a server that has torch and the datasets loaded.

The server is that of `multiprocessing`'s forkserver; where there is none, as on Windows, processes are started afresh.
Each worker has a process group of its own: Ctrl-C in a terminal reaches the sweep alone, which then asks each worker
once. A worker ends by itself when the sweep or the server is gone.
"""

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from bnexp.blueprint import Blueprint
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError
from bnexp.runs.folder import how_to_resume
from bnexp.sweep.work import DATASETS, Ended, Event, Task

_HAS_SERVER = "forkserver" in multiprocessing.get_all_start_methods()
_CONTEXT: Any = multiprocessing.get_context("forkserver" if _HAS_SERVER else "spawn")
_MAIN = "bnexp.cli"
_OUTPUT_BYTES = 4_000
"""The end of what a process printed, which is told where it fails."""
_LONGEST_FOLDER = 70
"""Bytes of the longest folder for temporary files in which multiprocessing can open its socket.

The path of a socket has at most 103 bytes on macOS and 107 on Linux, 32 of them for the socket's own folder and name.
On a cluster TMPDIR often names the job, and is longer.
"""
_SHORT_FOLDERS = ("/tmp", "/var/tmp")  # noqa: S108 (a folder of a random name in it)
_WITHOUT_SERVER = 255
"""What multiprocessing takes for the exit code of a process whose server was killed."""
_MOST_DATASETS = 4
"""Datasets that the server loads for all; a sweep over more of them loads them in its workers."""


@dataclass
class _Worker:
    tasks: list[Task]  # of which no end is known
    process: Any
    pipe: Connection
    output: Path
    began: float
    ended: Ended | None = None
    """The end of the last of them, which is told when its process has ended, too."""


class LocalWorkers:
    """Takes `slots` tasks at once, or so many stacks of them.

    Args:
        slots: how many processes run side by side.
        blueprints: of the tasks to come, whose datasets are loaded once for all.
        data_dir: where datasets lie, as in the tasks.
    """

    def __init__(self, slots: int, blueprints: Sequence[Blueprint] = (), data_dir: Path | None = None) -> None:
        self.slots = slots
        self._workers: list[_Worker] = []
        self._stopping = False
        self._place = Path(tempfile.mkdtemp(prefix="bnexp-sweep-"))
        self._started = 0
        datasets = _distinct(blueprints, data_dir or data_folder(None))
        self._datasets = self._place / "datasets"
        self._datasets.write_bytes(pickle.dumps(datasets if len(datasets) <= _MOST_DATASETS else []))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *of_error: object) -> None:
        self.close(for_good=kind is not None and issubclass(kind, KeyboardInterrupt))

    @property
    def busy(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    def start(self, task: Task, *stacked: Task) -> None:
        """Begin a task in a process of its own, with others that are stacked on it, if any.

        Raises:
            BnexpError: the server of the processes dies, also when it is started again.
        """
        self._started += 1
        output = self._place / f"output{self._started}"
        for attempt in (1, 2):
            ours, theirs = _CONTEXT.Pipe(duplex=False)
            process = _CONTEXT.Process(target=_work, args=((task, *stacked), theirs, output), name=f"bnexp {task.key}")
            try:
                self._ensure_server()
                process.start()
            except (EOFError, OSError) as error:  # it died between the two, or while it loaded
                ours.close()
                if attempt == 2:
                    reason = str(error) or "it ended while it loaded torch, perhaps for want of memory"
                    raise BnexpError(f"no process can be started for {task.key}: {reason}") from None
            else:
                self._workers.append(_Worker([task, *stacked], process, ours, output, time.monotonic()))
                return
            finally:
                theirs.close()

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what happened, as soon as something has, or nothing after so many seconds."""
        handles = [handle for worker in self._workers for handle in (worker.pipe, worker.process.sentinel)]
        if not handles:
            time.sleep(timeout_s)
        ready = set(connection.wait(handles, timeout_s))
        events: list[Event] = []
        for worker in list(self._workers):
            gone = worker.process.sentinel in ready
            if gone or worker.pipe in ready:
                for event in _received(worker.pipe):
                    if isinstance(event, Ended):
                        worker.tasks = [task for task in worker.tasks if task.key != event.key]
                    if isinstance(event, Ended) and not worker.tasks:
                        worker.ended = event
                    else:
                        events.append(event)
            if gone:
                events += self._ends_of(worker)
        return events

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all workers to finish their step and write a checkpoint; `at_once` kills them."""
        self._stopping = True
        for worker in self._workers:
            with contextlib.suppress(OSError):
                if at_once:
                    worker.process.kill()
                else:
                    os.kill(worker.process.pid, signal.SIGTERM)

    def close(self, *, for_good: bool = False) -> None:
        """Kill what still runs, `for_good` the server too, and delete what was only for the workers."""
        if for_good:
            _kill_server()
        self.stop(at_once=True)
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []
        shutil.rmtree(self._place, ignore_errors=True)

    def _ends_of(self, worker: _Worker) -> list[Ended]:
        """Return how the tasks of an ended worker ended of which it is not known yet, and let it go."""
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        output = _end_of_file(worker.output)
        worker.output.unlink(missing_ok=True)
        seconds = time.monotonic() - worker.began
        if self._stopping or worker.process.exitcode == _WITHOUT_SERVER:
            others = [Ended(one.key, "interrupted", how_to_resume(one.folder), "", seconds) for one in worker.tasks]
        else:
            died = _how_it_died(worker.process.exitcode)
            others = [Ended(one.key, "lost", died, output, seconds) for one in worker.tasks]
        return others + ([worker.ended] if worker.ended is not None else [])

    def _ensure_server(self) -> None:
        """Start the server, or start it again; it loads the datasets."""
        if _HAS_SERVER:
            # Each process imports the main program anew: what that imports is loaded here, too.
            _CONTEXT.set_forkserver_preload([_MAIN, "bnexp.sweep.worker"])
            # It looks for modules where Python does by itself, which is not where everybody finds them.
            paths = os.pathsep.join(filter(None, sys.path))
            values = {DATASETS: str(self._datasets), "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
            with _environment(values), _deaf_to_ctrl_c(), _short_temporary_folder():
                forkserver.ensure_running()


def _kill_server() -> None:
    """Kill the server, which may be loading torch and hear nothing else; the next task starts it anew."""
    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _work(tasks: Sequence[Task], pipe: Connection, output: Path) -> None:
    from bnexp.sweep.worker import work  # loads torch, where the server has not

    work(tasks, pipe, output)


def _distinct(blueprints: Sequence[Blueprint], data_dir: Path) -> list[tuple[Any, ...]]:
    """Return what `data.load.keep_dataset` takes, for each dataset of some blueprints."""
    unlike = {
        (blueprint.config.data.model_dump_json(), blueprint.plan.train_examples): blueprint for blueprint in blueprints
    }
    return [(one.config.data, one.info, one.plan, data_dir) for one in unlike.values()]


def _received(pipe: Connection) -> Iterator[Event]:
    """Yield the events that wait in a pipe; one that was cut off by the end of its process is none."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while pipe.poll():
            yield pipe.recv()


def _end_of_file(path: Path) -> str:
    """Return the last lines of what a process printed."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - _OUTPUT_BYTES, 0))
        return file.read().decode(errors="replace").strip()
    return ""


def _how_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = "; the system does so where memory runs out" if name == "SIGKILL" else ""
            return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {code}"


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that are started here ignore Ctrl-C from their first moment on; the sweep asks their workers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Let the server open its socket in a folder whose path is short enough, if there is one that can be written to."""
    usual = tempfile.gettempdir()
    others = [folder for folder in _SHORT_FOLDERS if os.access(folder, os.W_OK | os.X_OK)]
    if len(os.fsencode(usual)) <= _LONGEST_FOLDER or not others:
        yield
        return
    tempfile.tempdir = others[0]
    try:
        yield
    finally:
        tempfile.tempdir = usual


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
