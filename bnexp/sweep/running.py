"""Carry out the tasks of a sweep: as many at once as the executor takes, until all have ended or somebody stops it."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from bnexp.session.signals import StopRequest
from bnexp.sweep.held import look
from bnexp.sweep.work import Ended, Event, Executor, Task

_MOST_STOPS = 3
"""How often a run is taken up again that somebody else stopped, such as with its server."""
_WAIT_S, _LOOK_S = 0.2, 1.0
"""How long at most until a signal or the end of the time is seen; how often runs of other processes are looked at."""
Look = Callable[[Task], Task | Ended | int]
"""Says what has become of the run of a task since it was planned: see `held.look`."""


class Source(Protocol):
    """Where tasks come from: some are known at once, others when runs that they depend on have ended."""

    def ready(self) -> Iterable[Task]:
        """Return the tasks that can begin now, each once."""

    def ended(self, event: Ended) -> None:
        """Take note of how a task ended, after its last attempt."""


class Observer(Protocol):
    """Shows a sweep to a person."""

    def started(self, task: Task) -> None:
        """Take note of an attempt that begins."""

    def take(self, event: Event) -> None:
        """Take an event."""

    def ended(self, event: Ended, *, again: bool) -> None:
        """Take note of how an attempt ended, and whether there is another."""

    def held(self, task: Task, holder: int) -> None:
        """Take note that a process of this machine trains a run, which is waited for."""

    def let_go(self, key: str) -> None:
        """Take note that this process has ended."""

    def tick(self) -> None:
        """Redraw, a few times a second."""


@dataclass(frozen=True)
class Rules:
    """When attempts are repeated, and what ends the sweep before its end.

    Attributes:
        retries: how often a run that failed or was lost is resumed.
        fail_fast: stop all others when a run has failed for the last time.
        seconds: stop when so much time is over; None: never.
    """

    retries: int = 0
    fail_fast: bool = False
    seconds: float | None = None


@dataclass
class Outcome:
    """What became of the tasks: the last attempt of each, and why the others were stopped, if they were."""

    ends: dict[str, Ended] = field(default_factory=dict)
    stopped: str | None = None
    exit_code: int = 0

    def of(self, *ends: str) -> list[Ended]:
        """Return those that ended in one of some ways."""
        return [one for one in self.ends.values() if one.end in ends]


def carry_out(
    source: Source,
    executor: Executor,
    observer: Observer,
    rules: Rules = Rules(),
    now: Callable[[], float] = time.monotonic,
    look: Look = look,
) -> Outcome:
    """Do all tasks of a source; after a first signal let those that run write a checkpoint, after a second leave.

    Runs that other processes of this machine train are waited for, and taken over where those end before their end.

    Raises:
        Interrupted: by a second signal; no process is left.
    """
    stop, began = StopRequest(), now()
    progress = _Progress(source, executor, observer, rules, look)
    with stop.listening("stopped at once: the same command continues from the last checkpoints"):
        try:
            with stop.finishing_the_step():
                while progress.begin():
                    for event in executor.wait(_WAIT_S):
                        progress.take(event)
                    observer.tick()
                    if stop:
                        progress.stop("interrupted", stop.exit_code)
                    if rules.seconds is not None and now() - began >= rules.seconds:
                        progress.stop(f"the {rules.seconds / 60:g} minutes of the budget are over", 0)
        except KeyboardInterrupt:
            executor.close(for_good=True)
            raise
        finally:
            executor.close()
    return progress.outcome


class _Progress:
    """The tasks that wait, those that run and those that other processes have, and what became of the others."""

    def __init__(self, source: Source, executor: Executor, observer: Observer, rules: Rules, look: Look) -> None:
        self._source, self._executor, self._observer, self._rules = source, executor, observer, rules
        self._look = look
        self._held: dict[str, Task] = {}
        self._looked_at = float("-inf")
        self._waiting: deque[Task] = deque()
        self._running: dict[str, Task] = {}
        self._attempts: Counter[str] = Counter()
        self.outcome = Outcome()

    def begin(self) -> bool:
        """Begin tasks as long as there is a place for one; tell whether there is anything to wait for."""
        self._look_at_held()
        self._waiting.extend(self._source.ready())
        while self._waiting and len(self._running) < self._executor.slots and self.outcome.stopped is None:
            task = self._waiting.popleft()
            if (now := self._settled(task)) is not None:
                self._attempts[now.key] += 1
                self._observer.started(now)
                self._executor.start(now)
                self._running[now.key] = now
            self._waiting.extend(self._source.ready())
        return bool(self._running or (self._held and self.outcome.stopped is None))

    def _settled(self, task: Task) -> Task | None:
        """Return a task as it is to be done now; None where another process has it, or brought it to its end."""
        now = self._look(task)
        if isinstance(now, int):
            self._held[task.key] = task
            self._observer.held(task, now)
            return None
        if isinstance(now, Ended):
            self._close(now)
            return None
        return now

    def _look_at_held(self) -> None:
        """Let tasks wait again that another process had, and has no more."""
        if not self._held or (now := time.monotonic()) - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        for task in [one for one in self._held.values() if not isinstance(self._look(one), int)]:
            del self._held[task.key]
            self._observer.let_go(task.key)
            self._waiting.append(task)

    def take(self, event: Event) -> None:
        """Take an event; an attempt that failed may be followed by another."""
        self._observer.take(event)
        if not isinstance(event, Ended):
            return
        task = self._running.pop(event.key)
        if event.end == "lost" and isinstance(done := self._look(task), Ended):  # its process died after that
            event = replace(done, seconds=event.seconds, by_another=False)
        if event.end == "elsewhere" and not isinstance(self._look(task), Task):  # it was taken a moment ago
            self._attempts[task.key] -= 1
            self._waiting.append(task)
            return
        failed = event.end in ("failed", "lost")
        most = self._rules.retries if failed else _MOST_STOPS if event.end == "interrupted" else -1
        again = self._attempts[task.key] <= most and self.outcome.stopped is None
        if again:
            self._observer.ended(event, again=True)
            self._waiting.append(_once_more(task))
            return
        self._close(event)
        if failed and self._rules.fail_fast:
            self.stop(f"{task.key} failed, and --fail-fast was asked for", 1)

    def _close(self, event: Ended) -> None:
        """Take note of the end of a run after its last attempt."""
        self._observer.ended(event, again=False)
        self.outcome.ends[event.key] = event
        self._source.ended(event)

    def stop(self, reason: str, exit_code: int) -> None:
        """Ask all that runs to write a checkpoint and end, once; nothing more begins."""
        if self.outcome.stopped is None:
            self.outcome.stopped, self.outcome.exit_code = reason, exit_code
            self._executor.stop()


def _once_more(task: Task) -> Task:
    """Return the next attempt of a task: it continues where the folder of the run is there."""
    return replace(task, mode="resume") if task.mode == "start" and task.folder.is_dir() else task
