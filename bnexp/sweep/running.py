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
    stop, outcome, began = StopRequest(), Outcome(), now()
    waiting: deque[Task] = deque()
    running: dict[str, Task] = {}
    attempts: Counter[str] = Counter()

    def stop_all(reason: str, exit_code: int) -> None:
        if outcome.stopped is None:
            outcome.stopped, outcome.exit_code = reason, exit_code
            executor.stop()

    with stop.listening("stopped at once: the same command continues from the last checkpoints"):
        try:
            with stop.finishing_the_step():
                while True:
                    waiting.extend(source.ready())
                    while waiting and len(running) < executor.slots and outcome.stopped is None:
                        task = waiting.popleft()
                        attempts[task.key] += 1
                        observer.started(task)
                        executor.start(task)
                        running[task.key] = task
                    if not running:
                        return outcome
                    for event in executor.wait(_WAIT_S):
                        observer.take(event)
                        if not isinstance(event, Ended):
                            continue
                        task = running.pop(event.key)
                        failed = event.end in ("failed", "lost")
                        left = rules.retries if failed else _MOST_STOPS if event.end == "interrupted" else -1
                        again = attempts[task.key] <= left and outcome.stopped is None
                        observer.ended(event, again=again)
                        if again:
                            waiting.append(_once_more(task))
                            continue
                        outcome.ends[task.key] = event
                        source.ended(event)
                        if failed and rules.fail_fast:
                            stop_all(f"{task.key} failed, and --fail-fast was asked for", 1)
                    observer.tick()
                    if stop:
                        stop_all("interrupted", stop.exit_code)
                    if rules.seconds is not None and now() - began >= rules.seconds:
                        stop_all(f"the {rules.seconds / 60:g} minutes of the budget are over", 0)
        finally:
            executor.close()


def _once_more(task: Task) -> Task:
    """Return the next attempt of a task: it continues where the folder of the run is there."""
    return replace(task, mode="resume") if task.mode == "start" and task.folder.is_dir() else task
