"""Where the time of a training goes."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Speed over the steps since the last reading.

    Attributes:
        step_ms: milliseconds a step takes, without measuring, logging and evaluations.
        examples_per_s: training examples a second, measuring and logging included, evaluations and checkpoints not.
        measuring_share: part of the time without evaluations and checkpoints that is spent measuring and logging,
            0 .. 1.
    """

    step_ms: float
    examples_per_s: float
    measuring_share: float

    def figures(self) -> dict[str, float]:
        """Return the speed under the names of the rows."""
        return {
            "step_ms/train": self.step_ms,
            "examples_per_s/train": self.examples_per_s,
            "measuring_share/train": self.measuring_share,
        }


class Clock:
    """Sums up the time of training, measuring, evaluating and writing checkpoints.

    Args:
        now: the time in seconds; an argument so that tests need not wait.
        wait: waits until the device has done what was asked of it, so that time is counted where it is spent.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter, wait: Callable[[], None] = lambda: None) -> None:
        self._now, self._wait = now, wait
        self._stopped_at: float | None = None
        self._started = now()
        self._read_at = self._started
        self._steps = self._examples = 0
        self.examples = 0
        self._read_measuring = self._read_aside = 0.0
        self.measuring_s = 0.0
        self.evaluation_s = 0.0
        self.evaluations = 0
        self.checkpoint_s = 0.0

    def count(self, examples: int) -> None:
        """Note one training step with this many examples."""
        self._steps += 1
        self._examples += examples
        self.examples += examples

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Time spent here is spent on looking, not on training."""
        start = self._awaited()
        try:
            yield
        finally:
            self.measuring_s += self._awaited() - start

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Time spent here is spent on the validation or test part."""
        start = self._awaited()
        try:
            yield
        finally:
            self.evaluation_s += self._awaited() - start
            self.evaluations += 1

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Time spent here is spent on a checkpoint."""
        start = self._awaited()
        try:
            yield
        finally:
            self.checkpoint_s += self._awaited() - start

    def stop(self) -> None:
        """Let the totals stand as they are now."""
        self._stopped_at = self._awaited()

    def _awaited(self) -> float:
        self._wait()
        return self._now()

    @property
    def total_s(self) -> float:
        """Seconds from the start until now, or until the clock was stopped."""
        return (self._now() if self._stopped_at is None else self._stopped_at) - self._started

    @property
    def training_s(self) -> float:
        """Seconds since the start that were spent neither on evaluations nor on checkpoints."""
        return self.total_s - self._aside_s

    @property
    def _aside_s(self) -> float:
        return self.evaluation_s + self.checkpoint_s

    def pace(self) -> Pace:
        """Return the speed since the last call, and start anew."""
        now = self._now()
        elapsed = max(now - self._read_at - (self._aside_s - self._read_aside), 1e-9)
        measuring = self.measuring_s - self._read_measuring
        step_ms = 1e3 * (elapsed - measuring) / max(self._steps, 1)
        pace = Pace(step_ms, self._examples / elapsed, min(measuring / elapsed, 1.0))
        self._begin_pace(now)
        return pace

    def _begin_pace(self, now: float) -> None:
        self._read_at, self._read_measuring, self._read_aside = now, self.measuring_s, self._aside_s
        self._steps = self._examples = 0

    def remaining_s(self, steps_done: int, steps_left: int, evaluations_left: int) -> float:
        """Estimate the seconds to the end: steps and evaluations each at their mean so far."""
        per_step = self.training_s / max(steps_done, 1)
        per_evaluation = self.evaluation_s / self.evaluations if self.evaluations else 0.0
        return steps_left * per_step + evaluations_left * per_evaluation

    def state(self) -> dict[str, float]:
        """Return the sums, so that a continued run goes on from them."""
        return {"total_s": self.total_s, **{name: getattr(self, name) for name in _SUMS}}

    def go_on_at(self, state: Mapping[str, float]) -> None:
        """Take up the sums of an earlier session; the speed is measured from now on."""
        for name in _SUMS:
            setattr(self, name, state[name])
        now = self._now()
        self._started = now - state["total_s"]
        self._begin_pace(now)


_SUMS = ("measuring_s", "evaluation_s", "evaluations", "checkpoint_s", "examples")
