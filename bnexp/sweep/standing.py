"""Where a sweep stands: what has ended, what runs, how long the rest takes, and which arm is ahead so far."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

from bnexp.sweep.plan import PlannedRun
from bnexp.sweep.work import Ended, Event, Progressed, Task


@dataclass
class Running:
    """A run that a worker has: since when, and where it was last."""

    task: Task
    since: float
    progress: Progressed | None = None


@dataclass(frozen=True)
class Leader:
    """The arm with the best mean validation accuracy of the seeds that finished; of a sweep, not a verdict."""

    arm: str
    accuracy: float
    seeds: int
    diverged: int


class Standing:
    """Follows a sweep by its events.

    Args:
        total: runs that are to be done, those to come with the choices of values among them.
        slots: how many run at once.
        stored: final runs that came to their end before; they count for the leader.
        now: the time in seconds; an argument so that tests need not wait.
    """

    def __init__(
        self,
        total: int,
        slots: int,
        stored: Iterable[PlannedRun] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self._slots, self._now = total, slots, now
        self.began = now()
        self.running: dict[str, Running] = {}
        self.held: dict[str, int] = {}  # by other processes, with their numbers
        self.counts: Counter[str] = Counter()
        self._seconds: list[float] = []
        self._accuracies = defaultdict[str, list[float]](list)
        self._diverged: Counter[str] = Counter()
        for run in stored:
            if run.stored is not None:
                self._score(run.arm.name, run.status, run.stored.figures.get("val_accuracy"))

    @property
    def ended(self) -> int:
        """How many of the runs to do have ended."""
        return self.counts.total()

    def started(self, task: Task) -> None:
        """Take note of an attempt that begins."""
        self.running[task.key] = Running(task, self._now())

    def take(self, event: Event) -> None:
        """Take an event; after the end of an attempt comes another one, or `close`."""
        if isinstance(event, Progressed) and event.key in self.running:
            self.running[event.key].progress = event
        if isinstance(event, Ended) and (run := self.running.pop(event.key, None)) is not None:
            arm = run.task.blueprint.config.name
            if event.end != "elsewhere":
                self._seconds.append(event.seconds)
            if run.task.role is None:
                self._score(arm, event.end, event.accuracy)

    def close(self, event: Ended) -> None:
        """Take note of the end of a run after its last attempt."""
        self.counts[event.end] += 1

    def _score(self, arm: str, end: str, accuracy: float | None) -> None:
        self._diverged[arm] += end == "diverged"
        if accuracy is not None:
            self._accuracies[arm].append(accuracy)

    @property
    def leader(self) -> Leader | None:
        """The arm that is ahead so far; None before a run has finished."""
        if not self._accuracies:
            return None
        arm = max(self._accuracies, key=lambda name: fmean(self._accuracies[name]))
        reached = self._accuracies[arm]
        return Leader(arm, fmean(reached), len(reached), self._diverged[arm])

    def eta_s(self) -> float | None:
        """Estimate the seconds to the end by the runs that ended and those that run; None before there is any sign."""
        now = self._now()
        known = [
            (now - run.since, run.progress.eta_s)
            for run in self.running.values()
            if run.progress and run.progress.eta_s is not None
        ]
        whole = self._seconds or [past + left for past, left in known]
        if not whole:
            return None
        mean, in_progress = fmean(whole), [left for _, left in known]
        begun = sum(in_progress) + mean * (len(self.running) - len(in_progress)) * 0.5
        waiting = max(self.total - self.ended - len(self.running) - len(self.held), 0)
        return max((begun + waiting * mean) / self._slots, max(in_progress, default=0.0))
