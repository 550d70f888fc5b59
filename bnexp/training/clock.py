"""The clock of a training: how much time goes into steps, measuring, evaluations and checkpoints."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # who only shows times does not wait for torch
    from bnexp.measure.machine import Marks


@dataclass(frozen=True)
class Pace:
    """Speed over the steps since the last reading; evaluations and checkpoints are left out."""

    step_ms: float  # without measuring and logging
    examples_per_s: float  # with both
    measuring_share: float  # of the time, 0 .. 1, that measuring and logging took

    def figures(self) -> dict[str, float]:
        """Return the speed under the names of the rows."""
        return {f"{name}/train": value for name, value in asdict(self).items()}


class Clock:
    """Sums up the time of training, measuring, evaluating and writing checkpoints.

    Args:
        now: the time in seconds; an argument so that tests need not wait.
        wait: waits until the device has done what was asked of it, so that time is counted where it is spent.
        marks: mark where measuring begins and ends in the work of a device that runs behind; they are read at the rows,
            so that nothing waits between them.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        wait: Callable[[], None] = lambda: None,
        marks: "Marks | None" = None,
    ) -> None:
        self._now, self._wait, self._marks = now, wait, marks
        self._marked: list[tuple[Any, Any]] = []  # of measuring that is not in the total yet
        self._stopped_at: float | None = None
        self._measures_since: float | None = None
        self._started = now()
        self._read_at = self._started
        self._steps = self._examples = 0
        self.examples = 0
        self._read_measuring = self._read_aside = 0.0
        self.measuring_s = self.evaluation_s = self.checkpoint_s = 0.0
        self.evaluations = 0
        self.untimed_steps = 0
        self._untimed_since: float | None = None
        self._timed: dict[str, float] | None = None  # the totals when the untimed part began

    def count(self, examples: int) -> None:
        """Note one training step with this many examples."""
        if self._untimed_since is not None:
            self.untimed_steps += 1
            return
        self._steps += 1
        self._examples += examples
        self.examples += examples

    def measuring(self) -> AbstractContextManager[None]:
        """Count the time until the context ends as spent on probes and rows, not on training."""
        return _Measuring(self) if self._marks is None else self._marking(self._marks)

    def _measured_until(self, now: float) -> float:
        """Return the seconds spent on measuring until now, with those of a context that has not ended."""
        return self.measured_s + (0.0 if self._measures_since is None else now - self._measures_since)

    @property
    def measured_s(self) -> float:
        """Seconds of all measuring that has ended, also of what a device that runs behind has just done."""
        self._settle()
        return self.measuring_s

    def evaluating(self) -> AbstractContextManager[None]:
        """Count it as spent on the validation or test part, and as one evaluation."""
        self.evaluations += 1
        return self._timing("evaluation_s")

    def saving(self) -> AbstractContextManager[None]:
        """Count it as spent on a checkpoint."""
        return self._timing("checkpoint_s")

    @contextlib.contextmanager
    def untimed(self) -> Iterator[None]:
        """Leave what is done until the context ends out of all times, with its steps: a profiler makes them slower."""
        self._timed, self._untimed_since = self._totals(), self._awaited()
        try:
            yield
        finally:
            passed = self._awaited() - self._untimed_since
            for name, value in self._totals().items():
                setattr(self, name, value)
            self._timed, self._untimed_since, self._marked = None, None, []
            self.leave_out(passed)

    def count_measuring(self, seconds: float) -> None:
        """Count seconds that have passed as spent on probes, not on training."""
        self.measuring_s += seconds

    def leave_out(self, seconds: float) -> None:
        """Leave seconds that passed out of all times: what was done was not the training's."""
        self._started += seconds
        self._read_at += seconds

    @contextlib.contextmanager
    def _timing(self, total: str) -> Iterator[None]:
        """Add the seconds until the context ends to a total, also where it ends with an error."""
        start = self._awaited()
        try:
            yield
        finally:
            setattr(self, total, getattr(self, total) + (self._awaited() - start))

    @contextlib.contextmanager
    def _marking(self, marks: "Marks") -> Iterator[None]:
        """Mark where measuring begins and ends in the work of the device."""
        begun, self._measures_since = marks(), self._now()
        try:
            yield
        finally:
            self._marked.append((begun, marks()))
            self._measures_since = None

    def _settle(self) -> None:
        """Take what was marked into the total."""
        if self._marks is not None:
            marked, self._marked = self._marked, []
            self.measuring_s += sum(self._marks.seconds(*points) for points in marked)

    def stop(self) -> None:
        """Stop the clock: the totals stay as they are now."""
        self._settle()
        self._stopped_at = self._awaited()

    def _awaited(self) -> float:
        self._wait()
        return self._now()

    @property
    def total_s(self) -> float:
        """Seconds from the start until now, or until the clock was stopped."""
        stands = self._stopped_at if self._untimed_since is None else self._untimed_since
        return (self._now() if stands is None else stands) - self._started

    @property
    def training_s(self) -> float:
        """Seconds since the start that were spent neither on evaluations nor on checkpoints."""
        totals = self._totals()
        return self.total_s - (totals["evaluation_s"] + totals["checkpoint_s"])

    @property
    def _aside_s(self) -> float:
        return self.evaluation_s + self.checkpoint_s

    def figures(self) -> dict[str, float]:
        """Return the speed since the last call under the names of the rows, and start anew; none while untimed."""
        return {} if self._untimed_since is not None else self.pace().figures()

    def pace(self) -> Pace:
        """Return the speed since the last call, and start anew."""
        now = self._now()
        elapsed = max(now - self._read_at - (self._aside_s - self._read_aside), 1e-9)
        measuring = self._measured_until(now) - self._read_measuring
        step_ms = 1e3 * (elapsed - measuring) / max(self._steps, 1)
        pace = Pace(step_ms, self._examples / elapsed, min(measuring / elapsed, 1.0))
        self._begin_pace(now)
        return pace

    def _begin_pace(self, now: float) -> None:
        self._read_at, self._read_measuring, self._read_aside = now, self._measured_until(now), self._aside_s
        self._steps = self._examples = 0

    def remaining_s(self, steps_done: int, steps_left: int, evaluations_left: int) -> float:
        """Estimate the seconds to the end: steps and evaluations each at their mean so far."""
        per_step = self.training_s / max(steps_done - self.untimed_steps, 1)
        per_evaluation = self.evaluation_s / self.evaluations if self.evaluations else 0.0
        return steps_left * per_step + evaluations_left * per_evaluation

    def state_dict(self) -> dict[str, float]:
        """Return the totals."""
        untimed = {"untimed_steps": self.untimed_steps} if self.untimed_steps else {}
        return {"total_s": self.total_s, **self._totals(), **untimed}

    def _totals(self) -> dict[str, float]:
        """Return the totals, of which what is untimed is no part."""
        if self._timed is not None:
            return self._timed
        self._settle()
        return {name: getattr(self, name) for name in _TOTALS}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Resume from the totals of an earlier session; the speed is measured from now on."""
        for name in _TOTALS:
            setattr(self, name, state[name])
        self.untimed_steps = int(state.get("untimed_steps", 0))
        now = self._now()
        self._started = now - state["total_s"]
        self._begin_pace(now)


class _Measuring:
    """Counts the time until the context ends as measuring; no generator, since each step has such a context."""

    __slots__ = ("_begun", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        clock = self._clock
        clock._wait()
        self._begun = clock._measures_since = clock._now()

    def __exit__(self, *error: object) -> None:
        clock = self._clock
        clock._wait()
        clock.measuring_s += clock._now() - self._begun
        clock._measures_since = None


_TOTALS = ("measuring_s", "evaluation_s", "evaluations", "checkpoint_s", "examples")
