"""The seat of a run on a node of a cluster: it trains in a folder of its own, and reports to the caller.

The process of the seat stays light: a worker of this machine trains, as in a sweep without a cluster.
"""

import importlib.metadata
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

import bnexp
from bnexp.data.sources.place import data_folder
from bnexp.runs.folder import META, METRICS
from bnexp.sweep import datasets
from bnexp.sweep.datasets import DataFiles
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.shipping import Shipment, Stamps, newest_step, pack, unpack
from bnexp.sweep.work import Ended, Event, Mode, Progressed, Task, Warned

_PREFIX, _LOCK = "bnexp-seat-", ".lock"
_REPORTED_EVERY_S, _ABANDONED_S = 0.5, 60.0


def versions() -> dict[str, str]:
    """Return the versions on which the bits of a run depend; torch is not loaded."""
    return {
        "bnexp": bnexp.__version__,
        "torch": importlib.metadata.version("torch"),
        "numpy": importlib.metadata.version("numpy"),
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Greeting:
    """What a seat says of its machine, and of its node in a cluster."""

    host: str
    versions: Mapping[str, str]
    node: str = ""


@dataclass(frozen=True)
class Report:
    """What happened since the last report, and the run's folder where there is a new checkpoint, or the end."""

    events: tuple[Event, ...]
    shipment: Shipment | None


class Seat:
    """Takes one task at a time; a method at a time."""

    def __init__(self) -> None:
        _clear_abandoned()
        self._place = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._held = FileLock(self._place / _LOCK)
        self._held.acquire(timeout=1)
        self._workers: LocalWorkers | None = None
        self._task: Task | None = None
        self._folder = self._place
        self._shipped: Stamps = {}
        self._step: int | None = None

    def greet(self) -> Greeting:
        """Return which machine this is."""
        return Greeting(platform.node(), versions())

    def find(self, files: DataFiles) -> Path | None:
        """Return the folder on this machine that holds the files of a dataset; None where they have to be brought."""
        return datasets.find(files, data_folder(None))

    def bring(self, files: DataFiles, contents: Mapping[str, bytes]) -> Path:
        """Keep the files of a dataset on this machine, and return their folder."""
        return datasets.bring(files, contents)

    def start(self, task: Task, files: Mapping[str, bytes]) -> None:
        """Begin a task, or continue one whose folder on the caller's machine has some files."""
        shutil.rmtree(self._place / "runs", ignore_errors=True)
        self._task, self._shipped, self._step = task, {}, None
        self._folder = self._place / "runs" / task.folder.parent.name / task.folder.name
        if files:
            unpack(files, self._folder)
        data_dir = task.data_dir if task.data_dir and task.data_dir.is_dir() else data_folder(None)
        if self._workers is None:
            self._workers = LocalWorkers(1, [task.blueprint], data_dir)
        mode: Mode = "start" if not files else "resume" if task.mode == "start" else task.mode
        self._workers.start(replace(task, folder=self._folder, data_dir=data_dir, mode=mode))

    def stop(self) -> None:
        """Ask the run to finish its step and write a checkpoint; reports go on."""
        if self._workers is not None:
            self._workers.stop()

    def report(self) -> Report:
        """Return what happens within half a second, or until there is a checkpoint or the end."""
        assert self._workers is not None  # noqa: S101  `start` comes first
        events, until = list[Event](), time.monotonic() + _REPORTED_EVERY_S
        while True:
            events += self._workers.wait(max(until - time.monotonic(), 0))
            if any(isinstance(event, Ended) for event in events):
                return Report(self._as_there(events), self._packed(None))
            if (step := newest_step(self._folder)) != self._step or time.monotonic() >= until:
                return Report(self._as_there(events), self._packed(step) if step != self._step else None)

    def close(self) -> None:
        """End the run at once, and leave nothing behind."""
        if self._workers is not None:
            self._workers.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _packed(self, step: int | None) -> Shipment | None:
        """Return what is new in the run's folder up to a checkpoint, or all of it."""
        shipment = pack(self._folder, self._shipped, step)
        if shipment is None or not shipment.names:
            return None
        self._step = step
        if META in shipment.files:
            meta = shipment.files[META].replace(_in_json(self._folder), _in_json(self._there))
            return replace(shipment, files={**shipment.files, META: meta})
        return shipment

    @property
    def _there(self) -> Path:
        """The run's folder as the caller names it."""
        return self._task.folder if self._task else self._folder

    def _as_there(self, events: list[Event]) -> tuple[Event, ...]:
        """Return events that speak of the run's folder as the caller names it; of several steps the last."""
        last = next((event for event in reversed(events) if isinstance(event, Progressed)), None)
        there: list[Event] = []
        for event in events:
            if isinstance(event, Ended):
                error, output = (text and text.replace(*self._names) for text in (event.error, event.output))
                there.append(replace(event, error=error, output=output or ""))
            elif isinstance(event, Warned):
                there.append(replace(event, warning=event.warning.replace(*self._names)))
            elif event is last or not isinstance(event, Progressed):
                there.append(event)
        return tuple(there)

    @property
    def _names(self) -> tuple[str, str]:
        return str(self._folder), str(self._there)


def has_begun(files: Mapping[str, bytes]) -> bool:
    """Tell whether the files of a run are those of one that has begun, and not only of a claimed folder."""
    return META in files or METRICS in files or any(name.endswith(".pt") for name in files)


def _in_json(path: Path) -> bytes:
    return json.dumps(str(path))[1:-1].encode()


def _clear_abandoned() -> None:
    """Delete what seats left that were killed: nobody holds the lock of their folder."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
            if time.time() - lock.parent.stat().st_mtime > _ABANDONED_S:  # else its seat may be about to lock it
                shutil.rmtree(lock.parent, ignore_errors=True)
