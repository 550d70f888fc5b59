"""Run tasks on a Ray cluster: Ray places seats on its nodes, each of which takes one run after the other.

A run trains in a folder of its node, and after each checkpoint what changed is put in place here, where this process
holds the run's lock meanwhile. Where a node is lost, its runs continue from there on others.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bnexp.blueprint import Blueprint
from bnexp.config.data_section import OwnData
from bnexp.config.loading import dump_config
from bnexp.config.sweep_file import ResourcesSection
from bnexp.data.sources.place import data_folder, own_path
from bnexp.errors import BnexpError, ConfigError
from bnexp.files import with_advice
from bnexp.runs.claim import Taken, claim_exactly
from bnexp.runs.folder import META
from bnexp.runs.lock import LOCK, Held, run_lock
from bnexp.sweep.datasets import DataFiles, files_of
from bnexp.sweep.seat import Greeting, Report, Seat, has_begun, versions
from bnexp.sweep.shipping import answered_here, as_on_the_node, newest_step, pack, put_in_place
from bnexp.sweep.work import Ended, Event, Task, Warned

_CONNECT_S, _CLOSE_S, _NODES_EVERY_S = 5.0, 3.0, 1.0
_IDLE_S = 20.0
"""A seat without work is given back after this time: others may wait for its cores."""
_MOST_LOSSES = 3
"""Nodes that a run may lose one after the other without a new checkpoint, and seats that may fail to begin."""
_START = "start one with: ray start --head; and on each further machine: ray start --address=HOST:6379"


class _RaySeat(Seat):
    """A seat that knows its node."""

    def greet(self) -> Greeting:
        """Return which machine this is, and which node of the cluster."""
        return replace(super().greet(), node=ray.get_runtime_context().get_node_id())


Course = Generator[Any, Any, None]
"""The dialogue with a seat: yields what it waits for, and gets what that gave."""


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
    course: Course
    awaited: Any = None
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
        self._resources = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory_gb or 0) * 1e9}
        self._seats: list[_Seat] = []
        self._waiting: deque[_Run] = deque()
        self._events: list[Event] = []
        self._known: dict[str, tuple[DataFiles | None, Any]] = {}
        self._told: set[str] = set()
        self._failed_seats, self._stopping = 0, False
        self._slots, self._counted_at = 0, float("-inf")
        connect(address)
        if not self._room():
            ray.shutdown()
            raise ConfigError(f"no node of the cluster has room for a run, which asks for {self._asked()}")

    @property
    def slots(self) -> int:
        """How many runs find room on the nodes that are alive; one where none is, for they may come back."""
        if (now := time.monotonic()) - self._counted_at >= _NODES_EVERY_S:
            self._slots, self._counted_at = max(self._room(), 1), now
        return self._slots

    def start(self, task: Task) -> None:
        """Begin a task: take its folder, and find it a seat."""
        run = _Run(task, time.monotonic(), contextlib.ExitStack(), task.mode == "start")
        try:
            if run.is_new:
                claim_exactly(task.folder, dump_config(task.blueprint.config))
            run.held.enter_context(run_lock(task.folder))
        except BnexpError as error:
            elsewhere = isinstance(error, Held | Taken)
            self._events.append(Ended(task.key, "elsewhere" if elsewhere else "failed", str(error)))
            return
        run.step = newest_step(task.folder)
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

    def close(self) -> None:
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

    def _room(self) -> int:
        """Return how many runs find room on the nodes that are alive."""
        asked = {name: amount for name, amount in self._resources.items() if amount}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(name, 0) / amount + 1e-9) for name, amount in asked.items()) for node in nodes)

    def _asked(self) -> str:
        """Say what a run asks for, and what the nodes have."""
        unit = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_gb"}
        size = {"CPU": 1.0, "GPU": 1.0, "memory": 1e9}
        asked = ", ".join(
            f"{unit[name]}: {amount / size[name]:g}" for name, amount in self._resources.items() if amount
        )
        most = {
            name: max((node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]), default=0)
            for name, amount in self._resources.items()
            if amount
        }
        largest = ", ".join(f"{unit[name]}: {amount / size[name]:g}" for name, amount in most.items())
        return f"{asked} (resources in the sweep file); the most that a node has is {largest}"

    def _staff(self) -> None:
        """Give waiting runs to free seats, ask Ray for as many as are missing, and give back what nobody needs."""
        idle = [seat for seat in self._seats if seat.awaited is None]
        while self._waiting and idle:
            seat, run = idle.pop(), self._waiting.popleft()
            seat.run, seat.course = run, self._train(seat, run)
            self._advance(seat, lambda course: next(course))
        coming = [seat for seat in self._seats if seat.greeting is None]
        for _ in range(len(self._waiting) - len(coming)):
            amounts = {"num_cpus": self._resources["CPU"], "num_gpus": self._resources["GPU"]}
            memory = {"memory": int(self._resources["memory"])} if self._resources["memory"] else {}
            actor = ray.remote(_RaySeat).options(**amounts, **memory, max_restarts=0, max_task_retries=0).remote()
            seat = _Seat(actor, iter(()))  # type: ignore[arg-type]
            seat.course = self._greet(seat)
            self._seats.append(seat)
            self._advance(seat, lambda course: next(course))
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
        except RayTaskError as error:
            self._lose(seat, f"a bug, or a file system that fails, on {_host(seat)}: {_last_line(error)}", gone=False)
        except RayError as error:
            alive = seat.greeting is None or seat.greeting.node in _alive()
            self._lose(seat, f"its process on {_host(seat)} ended: {_first_line(error)}", gone=not alive)
        else:
            self._advance(seat, lambda course: course.send(answer))

    def _advance(self, seat: _Seat, step: Callable[[Course], Any]) -> None:
        """Let the dialogue with a seat go on; after its end the seat is free."""
        try:
            seat.awaited = step(seat.course)
        except StopIteration:
            seat.awaited, seat.run, seat.idle_since = None, None, time.monotonic()
        except OSError as error:
            run = seat.run
            self._dismiss(seat)
            if run is not None:
                self._end(run, "failed", f"{error.filename or run.task.folder}: {with_advice(error)}")
        except ConfigError as error:
            run = seat.run
            if run is None:
                raise
            self._dismiss(seat)
            self._end(run, "failed", str(error))

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
        files = self._files_of(task.blueprint)
        place: Path | None = None
        if files is not None:
            place = yield actor.find.remote(files)
            if place is None:
                place = yield actor.bring.remote(files, self._contents_of(task.blueprint))
        if self._stopping:
            self._end(run, "interrupted", "stopped before it began")
            return
        brought = files.leading_to(place) if files is not None and place is not None else {}
        in_data_dir = place if files is not None and files.path is None else None
        data_dir = in_data_dir or self._data_dir
        yield actor.start.remote(replace(task, data_dir=data_dir, brought=brought), _outgoing(task.folder))
        run.trains = True
        if self._stopping:
            actor.stop.remote()
        ended: Ended | None = None
        while ended is None:
            report: Report = yield actor.report.remote()
            if report.shipment is not None:
                self._receive(run, report)
            ended = next((event for event in report.events if isinstance(event, Ended)), None)
            self._events += [event for event in report.events if event is not ended]
        self._end(run, ended.end, ended.error, ended)

    def _receive(self, run: _Run, report: Report) -> None:
        """Put in place what came of a run's folder."""
        shipment = report.shipment
        assert shipment is not None  # noqa: S101  the caller looked
        contents = dict(shipment.files)
        if META in contents:
            contents[META] = answered_here(contents[META], self._places_of(run.task.blueprint))
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
        if self._stopping:
            self._end(run, "interrupted", f"{_host(seat)} was lost meanwhile")
        elif gone and run.losses < _MOST_LOSSES:
            after = "from its beginning" if run.step is None else f"after step {run.step:,}"
            self._events.append(
                Warned(run.task.key, f"node {_host(seat)} is gone; the run continues {after} elsewhere")
            )
            self._waiting.appendleft(run)
        else:
            again = f"{run.losses} nodes were lost with it, without a checkpoint between; the last: " if gone else ""
            self._end(run, "lost", again + why)

    def _end(self, run: _Run, end: Any, error: str | None, ended: Ended | None = None) -> None:
        """Let go of a run, and tell how it ended; of one that never began, nothing stays."""
        if run.is_new:
            _take_back(run.task.folder)
        run.held.close()
        seconds = time.monotonic() - run.began
        told = ended or Ended(run.task.key, end, error, seconds=seconds)
        self._events.append(told)

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
        unlike = [f"{name} {there} ({here} here)" for name, here, there in _paired(versions(), greeting.versions)]
        if unlike:
            warning = f"node {greeting.host} has {', '.join(unlike)}: the last bits of its runs may differ"
            self._events.append(Warned(run.task.key, warning))

    def _files_of(self, blueprint: Blueprint) -> DataFiles | None:
        """Return the files of a run's dataset on this machine, looked up once for all runs that have it."""
        key = blueprint.config.data.model_dump_json()
        if key not in self._known:
            self._known[key] = files_of(blueprint.config.data, self._data_dir), None
        return self._known[key][0]

    def _contents_of(self, blueprint: Blueprint) -> Any:
        """Return the contents of these files, as Ray holds them for all nodes."""
        key = blueprint.config.data.model_dump_json()
        files, contents = self._known[key]
        if contents is None and files is not None:
            contents = ray.put(files.read())
            self._known[key] = files, contents
        return contents

    def _places_of(self, blueprint: Blueprint) -> Mapping[str, str | None]:
        """Return where the data of a run lie on this machine, for its records."""
        data = blueprint.config.data
        path = os.path.abspath(own_path(data, self._data_dir)) if isinstance(data, OwnData) else None
        return {"data_dir": str(self._data_dir), "data_path": path}


def connect(address: str) -> None:
    """Connect this process to a cluster that runs.

    Raises:
        ConfigError: none is there, or it cannot be used from here.
    """
    if address != "auto":
        _refuse_unreachable(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        found = "no Ray cluster runs on this machine" if address == "auto" else f"--ray {address}: {_first_line(error)}"
        raise ConfigError(f"{found}; {_START}") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nobody answers: Ray itself would end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise ConfigError(f"--ray {address}: expected auto, or HOST:PORT such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"--ray {address}: no Ray cluster is there ({why}); {_START}") from None


def _outgoing(folder: Path) -> Mapping[str, bytes]:
    """Return the files of a run for the node that continues it; nothing where it has not begun."""
    shipment = pack(folder, {})
    files = dict(shipment.files) if shipment is not None else {}
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


def _alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _host(seat: _Seat) -> str:
    return seat.greeting.host if seat.greeting is not None else "a node"


def _paired(here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    return ((name, here[name], there.get(name, "unknown")) for name in here if here[name] != there.get(name))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
