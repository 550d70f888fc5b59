"""Run tasks on a Ray cluster: Ray places seats on its nodes, each of which takes one run after the other.

A run trains in a folder of its node, and after each checkpoint what changed is put in place here, where this process
holds the run's lock meanwhile. Where a node is lost, its runs continue from there on others.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from bnexp.config.loading import dump_config
from bnexp.config.sweep_file import ResourcesSection
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError, ConfigError
from bnexp.files import with_advice
from bnexp.runs.claim import Taken, claim_exactly
from bnexp.runs.folder import META
from bnexp.runs.lock import LOCK, run_lock
from bnexp.runs.own_lock import Held
from bnexp.sweep.datasets import DatasetsHere
from bnexp.sweep.held import ended_before
from bnexp.sweep.ray_nodes import (
    alive_nodes,
    connect,
    hide_other_gpus,
    lines_of,
    refuse_without_room,
    reserved,
    room_for,
)
from bnexp.sweep.seat import Greeting, Report, Seat, has_begun, versions
from bnexp.sweep.shipping import Shipment, answered_here, as_on_the_node, newest_step, pack, put_in_place
from bnexp.sweep.work import End, Ended, Event, Task, Warned

_CLOSE_S, _NODES_EVERY_S, _DOUBT_S = 3.0, 1.0, 0.1
_IDLE_S = 20.0
"""A seat without work is given back after this time: others may wait for its cores."""
_MOST_LOSSES = 3
"""Nodes that a run may lose one after the other without a new checkpoint, and seats that may fail to begin."""


class _RaySeat(Seat):
    """A seat that knows its node."""

    def __init__(self) -> None:
        hide_other_gpus()
        super().__init__()

    def greet(self) -> Greeting:
        """Return which machine this is, and which node of the cluster."""
        return replace(super().greet(), node=ray.get_runtime_context().get_node_id())


Course = Generator[Any, Any, None]
"""The dialogue with a seat: yields what it waits for, and gets what that gave."""


def _nothing() -> Course:
    yield from ()


@dataclass(eq=False)
class _Run:
    """A task that was begun: what this process holds for it, and how often its node was lost."""

    task: Task
    began: float
    held: contextlib.ExitStack
    is_new: bool
    trains: bool = False
    losses: int = 0
    step: int | None = None


@dataclass(eq=False)
class _Seat:
    """A seat on some node, or one that Ray has no place for yet."""

    actor: Any
    course: Course = field(default_factory=_nothing)
    awaited: Any = None
    is_doubted: bool = False
    greeting: Greeting | None = None
    run: _Run | None = None
    idle_since: float = field(default_factory=time.monotonic)


class RayCluster:
    """Takes as many tasks at once as the cluster has room for.

    Args:
        address: `auto`, for the cluster of this machine, or `HOST:PORT`.
        resources: that Ray reserves for a run.
        data_dir: where datasets lie here; None: the usual place.

    Raises:
        ConfigError: no cluster is there, or none of its nodes has room for a run.
    """

    def __init__(self, address: str, resources: ResourcesSection, data_dir: Path | None = None) -> None:
        self._data_dir = Path(os.path.abspath(data_folder(data_dir)))
        self._resources = resources
        self._seats: list[_Seat] = []
        self._waiting: deque[_Run] = deque()
        self._events: list[Event] = []
        self._told: set[str] = set()
        self._failed_seats, self._stopping = 0, False
        self._slots, self._counted_at = 0, float("-inf")
        connect(address)
        try:
            refuse_without_room(resources)
        except ConfigError:
            ray.shutdown()
            raise
        self._datasets = DatasetsHere(self._data_dir, ray.put)

    @property
    def slots(self) -> int:
        """How many runs find room on the nodes that are alive; one where none is, for they may come back."""
        if (now := time.monotonic()) - self._counted_at >= _NODES_EVERY_S:
            self._slots, self._counted_at = max(room_for(self._resources), 1), now
        return self._slots

    def start(self, task: Task) -> None:
        """Begin a task: take its folder, and find it a seat."""
        run = _Run(task, time.monotonic(), contextlib.ExitStack(), task.mode == "start")
        try:
            if run.is_new:
                claim_exactly(task.folder, dump_config(task.blueprint.config))
            run.held.enter_context(run_lock(task.folder))
            run.step = newest_step(task.folder)
        except (BnexpError, OSError) as error:
            run.held.close()
            elsewhere = isinstance(error, Held | Taken)
            reason = _reason(error, task.folder)
            self._events.append(Ended(task.key, "elsewhere" if elsewhere else "failed", reason))
        else:
            self._waiting.append(run)

    def wait(self, timeout_s: float) -> list[Event]:
        """Return what happened, as soon as something has, or nothing after so many seconds."""
        self._staff()
        awaited = {seat.awaited: seat for seat in self._seats if seat.awaited is not None}
        if not awaited and not self._events:
            time.sleep(timeout_s)
        elif awaited:
            ready, _ = ray.wait(list(awaited), num_returns=1, timeout=0 if self._events else timeout_s)
            if ready:
                ready, _ = ray.wait(list(awaited), num_returns=len(awaited), timeout=0)
            for ref in ready:
                self._hear(awaited[ref])
        events, self._events = self._events, []
        return events

    def stop(self, *, at_once: bool = False) -> None:
        """Ask all runs to finish their step and ship a last checkpoint; `at_once` ends their processes."""
        self._stopping = True
        while self._waiting:
            self._end(self._waiting.popleft(), "interrupted", "stopped before it had a place on the cluster")
        for seat in list(self._seats):
            if at_once or seat.greeting is None:
                self._dismiss(seat)
            elif seat.run is not None and seat.run.trains:
                seat.actor.stop.remote()

    def close(self, *, for_good: bool = False) -> None:
        """Leave no seat on the cluster, and let go of what this process holds."""
        with contextlib.suppress(RayError):
            closing = [seat.actor.close.remote() for seat in self._seats if seat.greeting is not None]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
        for run in [*self._waiting, *(seat.run for seat in self._seats if seat.run is not None)]:
            run.held.close()
        for seat in list(self._seats):
            self._dismiss(seat)
        self._waiting.clear()
        ray.shutdown()

    def _staff(self) -> None:
        """Give waiting runs to free seats, ask Ray for as many as are missing, and give back what nobody needs."""
        idle = [seat for seat in self._seats if seat.awaited is None]
        while self._waiting and idle:
            seat, run = idle.pop(), self._waiting.popleft()
            seat.run, seat.course = run, self._train(seat, run)
            self._advance(seat)
        coming = [seat for seat in self._seats if seat.greeting is None]
        for _ in range(len(self._waiting) - len(coming)):
            options = {**reserved(self._resources), "max_restarts": 0, "max_task_retries": 0}
            seat = _Seat(ray.remote(_RaySeat).options(**options).remote())
            seat.course = self._greet(seat)
            self._seats.append(seat)
            self._advance(seat)
        for seat in coming[len(self._waiting) :]:
            self._dismiss(seat)
        for seat in idle:
            if time.monotonic() - seat.idle_since > _IDLE_S:
                seat.actor.close.remote()
                self._seats.remove(seat)  # without a handle, Ray ends it after that

    def _hear(self, seat: _Seat) -> None:
        """Take what a seat answered, or find out that it is gone."""
        try:
            answer = ray.get(seat.awaited)
        except ActorUnavailableError:
            # Either the connection broke, or its process or node has died and Ray does not know yet which.
            time.sleep(_DOUBT_S)
            seat.awaited, seat.is_doubted = seat.actor.greet.remote(), True
        except RayTaskError as error:
            self._lose(seat, f"a bug, or a file system that fails, on {_host(seat)}: {lines_of(error)[-1]}", gone=False)
        except RayError as error:
            alive = seat.greeting is None or seat.greeting.node in {node["NodeID"] for node in alive_nodes()}
            self._lose(seat, f"its process on {_host(seat)} ended: {lines_of(error)[0]}", gone=not alive)
        else:
            if seat.is_doubted:
                self._lose(seat, f"the connection to {_host(seat)} broke", gone=True)
            else:
                self._advance(seat, answer)

    def _advance(self, seat: _Seat, answer: Any = None) -> None:
        """Let the dialogue with a seat go on; after its end the seat is free."""
        try:
            seat.awaited = seat.course.send(answer)
        except StopIteration:
            seat.awaited, seat.run, seat.idle_since = None, None, time.monotonic()
        except (OSError, ConfigError) as error:
            run = seat.run
            self._dismiss(seat)
            if run is None:
                raise
            self._end(run, "failed", _reason(error, run.task.folder))

    def _greet(self, seat: _Seat) -> Course:
        """Wait until Ray has placed a seat, and look at its versions.

        Raises:
            BnexpError: the node has another version of bnexp.
        """
        seat.greeting = yield seat.actor.greet.remote()
        self._failed_seats = 0
        here, there = versions(), seat.greeting.versions
        if here["bnexp"] != there["bnexp"]:
            wanted = f"pip install bnexp=={here['bnexp']}"
            raise BnexpError(
                f"node {seat.greeting.host} has bnexp {there['bnexp']}, this machine {here['bnexp']}: a sweep has one "
                f"version; on the node: {wanted}"
            )

    def _train(self, seat: _Seat, run: _Run) -> Course:
        """Let a seat train a run, and put in place what it ships."""
        task, actor = run.task, seat.actor
        self._compare_versions(seat, run)
        data = task.blueprint.config.data
        data_dir, brought = self._data_dir, dict[str, Path]()
        for files in self._datasets.files_of(data):
            place = yield actor.find.remote(files)
            if place is None:
                place = yield actor.bring.remote(files, self._datasets.contents_of(files))
            brought |= files.leading_to(place)
            data_dir = place if files.path is None else data_dir
        if self._stopping:
            self._end(run, "interrupted", "stopped before it began")
            return
        yield actor.start.remote(replace(task, data_dir=data_dir, brought=brought), _outgoing(task.folder))
        run.trains = True
        if self._stopping:
            actor.stop.remote()
        ended: Ended | None = None
        while ended is None:
            report: Report = yield actor.report.remote()
            if report.shipment is not None:
                self._receive(run, report.shipment)
            ended = next((event for event in report.events if isinstance(event, Ended)), None)
            self._events += [event for event in report.events if event is not ended]
        self._close(run, ended)

    def _receive(self, run: _Run, shipment: Shipment) -> None:
        """Put in place what came of a run's folder."""
        contents = dict(shipment.files)
        if META in contents:
            contents[META] = answered_here(contents[META], self._datasets.places_of(run.task.blueprint.config.data))
        run.is_new = False
        put_in_place(replace(shipment, files=contents), run.task.folder)
        if (step := newest_step(run.task.folder)) != run.step:
            run.step, run.losses = step, 0

    def _lose(self, seat: _Seat, why: str, *, gone: bool) -> None:
        """Let a seat go that failed; a run whose node is gone continues elsewhere, which is no failure of the run."""
        run, greeted = seat.run, seat.greeting is not None
        self._dismiss(seat)
        if run is None:
            self._failed_seats += not greeted
            if self._failed_seats >= _MOST_LOSSES:
                raise BnexpError(f"the cluster cannot begin a run: {why}")
            return
        run.losses, run.trains = run.losses + 1, False
        if (done := ended_before(run.task)) is not None:
            self._close(run, replace(done, seconds=time.monotonic() - run.began))
        elif self._stopping:
            self._end(run, "interrupted", f"{_host(seat)} was lost meanwhile")
        elif gone and run.losses < _MOST_LOSSES:
            after = "from its beginning" if run.step is None else f"after step {run.step:,}"
            warning = f"node {_host(seat)} is gone; the run continues {after} elsewhere"
            self._events.append(Warned(run.task.key, warning))
            self._waiting.appendleft(run)
        else:
            again = f"{run.losses} nodes were lost with it, without a checkpoint between; the last: " if gone else ""
            self._end(run, "lost", again + why)

    def _end(self, run: _Run, end: End, error: str) -> None:
        """Tell how a run ended whose seat cannot tell it."""
        self._close(run, Ended(run.task.key, end, error, seconds=time.monotonic() - run.began))

    def _close(self, run: _Run, ended: Ended) -> None:
        """Let go of a run, and tell how it ended; of one that never began, nothing stays."""
        if run.is_new:
            _take_back(run.task.folder)
        run.held.close()
        self._events.append(ended)

    def _dismiss(self, seat: _Seat) -> None:
        """End a seat at once."""
        self._seats.remove(seat)
        with contextlib.suppress(RayError):
            ray.kill(seat.actor)

    def _compare_versions(self, seat: _Seat, run: _Run) -> None:
        """Warn once a node where the last bits of a run may be others."""
        greeting = seat.greeting
        if greeting is None or greeting.host in self._told:
            return
        self._told.add(greeting.host)
        unlike = [
            f"{name} {there} ({here} here)"
            for name, here in versions().items()
            if (there := greeting.versions.get(name, "unknown")) != here
        ]
        if unlike:
            warning = f"node {greeting.host} has {', '.join(unlike)}: the last bits of its runs may differ"
            self._events.append(Warned(run.task.key, warning))


def _outgoing(folder: Path) -> Mapping[str, bytes]:
    """Return the files of a run for the node that continues it; nothing where it has not begun."""
    shipment = pack(folder, {})
    files = dict(shipment.files) if shipment is not None else {}
    came = META not in files or files[META] != as_on_the_node(files[META])
    if came and not any(name.endswith(".pt") for name in files):
        return {}  # the first shipment was cut short: rows came, and not yet the checkpoint that follows on them
    if META in files:
        files[META] = as_on_the_node(files[META])
    return files if has_begun(files) else {}


def _take_back(folder: Path) -> None:
    """Delete a folder that was claimed, and in which nothing began."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _reason(error: BnexpError | OSError, folder: Path) -> str:
    """Say why a run cannot begin or go on here."""
    return f"{error.filename or folder}: {with_advice(error)}" if isinstance(error, OSError) else str(error)


def _host(seat: _Seat) -> str:
    return seat.greeting.host if seat.greeting is not None else "a node"
