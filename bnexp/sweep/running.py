"""Carry out the tasks of a sweep: as many at once as the executor takes, until all have ended or somebody stops it."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from bnexp.session.signals import StopRequest
from bnexp.sweep.work import Ended, Event, Executor, Task

_MOST_STOPS = 3
"""How often a run is taken up again that somebody else stopped, such as with its server."""
_WAIT_S = 0.2
"""How long at most until a signal or the end of the time is seen."""


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
) -> Outcome:
    """Do all tasks of a source; after a first signal let those that run write a checkpoint, after a second leave.

    Raises:
        Interrupted: by a second signal; no process is left.
    """
    stop, began = StopRequest(), now()
    progress = _Progress(source, executor, observer, rules)
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
        finally:
            executor.close()
    return progress.outcome


class _Progress:
    """The tasks that wait and those that run, and what became of the others."""

    def __init__(self, source: Source, executor: Executor, observer: Observer, rules: Rules) -> None:
        self._source, self._executor, self._observer, self._rules = source, executor, observer, rules
        self._waiting: deque[Task] = deque()
        self._running: dict[str, Task] = {}
        self._attempts: Counter[str] = Counter()
        self.outcome = Outcome()

    def begin(self) -> bool:
        """Begin tasks as long as there is a place for one; tell whether any runs."""
        self._waiting.extend(self._source.ready())
        while self._waiting and len(self._running) < self._executor.slots and self.outcome.stopped is None:
            task = self._waiting.popleft()
            self._attempts[task.key] += 1
            self._observer.started(task)
            self._executor.start(task)
            self._running[task.key] = task
        return bool(self._running)

    def take(self, event: Event) -> None:
        """Take an event; an attempt that failed may be followed by another."""
        self._observer.take(event)
        if not isinstance(event, Ended):
            return
        task = self._running.pop(event.key)
        failed = event.end in ("failed", "lost")
        most = self._rules.retries if failed else _MOST_STOPS if event.end == "interrupted" else -1
        again = self._attempts[task.key] <= most and self.outcome.stopped is None
        self._observer.ended(event, again=again)
        if again:
            self._waiting.append(_once_more(task))
            return
        self.outcome.ends[task.key] = event
        self._source.ended(event)
        if failed and self._rules.fail_fast:
            self.stop(f"{task.key} failed, and --fail-fast was asked for", 1)

    def stop(self, reason: str, exit_code: int) -> None:
        """Ask all that runs to write a checkpoint and end, once; nothing more begins."""
        if self.outcome.stopped is None:
            self.outcome.stopped, self.outcome.exit_code = reason, exit_code
            self._executor.stop()


def _once_more(task: Task) -> Task:
    """Return the next attempt of a task: it continues where the folder of the run is there."""
    return replace(task, mode="resume") if task.mode == "start" and task.folder.is_dir() else task
