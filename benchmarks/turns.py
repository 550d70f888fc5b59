"""Turns: bnexp trains a few steps, then each rival as many, in one process, so that a busy moment meets all of them.

bnexp's training goes its own way, and takes note of each step it has finished; there the rivals have their turns. Its
clock leaves them out. What a way does to get ready is in none of its turns: bnexp's count from the second on, and on
a GPU from when its steps are recorded as CUDA graphs, full ones and the last of an epoch.
"""

import statistics
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.rivals import SLOW, Turn, as_fast
from bnexp.errors import BnexpError
from bnexp.measure.machine import synchronize
from bnexp.training.build import TrainingRun
from bnexp.training.clock import Clock

MOST_STEPS, LONGEST_S = 100, 1.0
"""A turn ends after so many steps, or so many seconds."""
LEAST_TURNS = 10
"""Turns that even a short training has."""
TURNS_OF_SLOW = 4
SAID_EVERY_S = 5.0


def say(text: str) -> None:
    """Tell how far it is, at once, beside the report: what is interrupted leaves what it has."""
    print(text, file=sys.stderr, flush=True)


def why(error: Exception) -> str:
    """Return what an error says, in one line; of one that bnexp does not explain, the traceback was printed."""
    if isinstance(error, BnexpError):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


@dataclass
class Tally:
    """The steps and seconds of a way, turn by turn."""

    turns: dict[int, tuple[int, float]] = field(default_factory=dict)  # by the number of bnexp's turn
    rest_s: float = 0.0  # of its end, which belongs to no turn

    @property
    def steps(self) -> int:
        """All steps that count."""
        return sum(steps for steps, _ in self.turns.values())

    @property
    def step_ms(self) -> float:
        """Milliseconds a step, of the sums."""
        return 1000 * (sum(seconds for _, seconds in self.turns.values()) + self.rest_s) / self.steps

    def within(self, numbers: Collection[int]) -> "Tally":
        """Return the turns of these numbers, with their part of the end."""
        some = Tally({number: turn for number, turn in self.turns.items() if number in numbers})
        some.rest_s = self.rest_s * some.steps / max(self.steps, 1)
        return some

    def ratios(self, ours: "Tally") -> list[float]:
        """Return the time of a step over bnexp's, turn by turn."""
        pairs = ((turn, ours.turns[number]) for number, turn in self.turns.items() if number in ours.turns)
        return [(seconds / steps) / (own_s / own) for (steps, seconds), (own, own_s) in pairs]


def compared(tallies: Mapping[str, Tally], batch: float) -> dict[str, dict[str, Any]]:
    """Return ms a step, examples/s, the ratio of sums to bnexp's, and median and quartiles of those of the turns.

    The ratio is to bnexp's turns beside which a way had its own.
    """
    figures, ours = dict[str, dict[str, Any]](), tallies["bnexp"]
    for way, tally in tallies.items():
        if not tally.turns:
            continue
        ratios, beside = [] if tally is ours else tally.ratios(ours), ours.within(tally.turns)
        figures[way] = {
            "step_ms": tally.step_ms,
            "examples_per_s": 1000 * batch / tally.step_ms,
            "over_bnexp": tally.step_ms / beside.step_ms if beside.turns else None,
            "of_turns": _quartiles(ratios) if ratios else None,
            "turns": len(tally.turns),
            "steps": tally.steps,
            "seconds": [seconds for _, seconds in tally.turns.values()],
            "steps_of_turns": [steps for steps, _ in tally.turns.values()],
        }
    return figures


def _quartiles(values: Sequence[float]) -> list[float]:
    """Return first quartile, median and third."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3


def is_ready(run: TrainingRun, kinds: int) -> bool:
    """Tell whether steps are taken as they will be to the end: recorded, each of so many kinds, or not at all."""
    graph = run.graph
    return not graph.tried or graph.reason is not None or graph.recorded >= kinds


class Turns:
    """Gives the rivals their turns, and keeps the tallies of all.

    Args:
        run: bnexp's.
        rivals: those that are ready, by name.
        kinds: how many kinds of steps an epoch has.
        name: of the measurement, for what is said on the way.
        now: the time in seconds.
    """

    def __init__(
        self,
        run: TrainingRun,
        rivals: Mapping[str, Turn],
        kinds: int,
        name: str,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._rivals, self._kinds, self._name, self._now = run, dict(rivals), kinds, name, now
        self._most = max(1, min(MOST_STEPS, run.plan.total_steps // LEAST_TURNS))
        self._number, self._step, self._since, self._said_at = 0, 0, 0.0, float("-inf")
        self.tallies = {way: Tally() for way in ("bnexp", *rivals)}
        self.failed = dict[str, str]()
        self.counted_from: int | None = None  # the last step that does not count
        self.first_s = 0.0  # of the turns that do not count
        self.clock_at_first: dict[str, float] = {}

    def begin(self) -> None:
        """Begin bnexp's first turn."""
        self._since = self._awaited()

    def show(self, step: int, clock: Clock) -> None:
        """Take note that bnexp has finished a step; at the end of its turn, let the others have theirs."""
        over = step - self._step >= self._most or self._now() - self._since >= LONGEST_S
        if not over and step < self._run.plan.total_steps:
            return
        ended = self._awaited()
        if self.counted_from is None:
            self.first_s += ended - self._since
            if is_ready(self._run, self._kinds):
                self.counted_from, self.clock_at_first = step, clock.state_dict()
        else:
            self.tallies["bnexp"].turns[self._number] = (step - self._step, ended - self._since)
            self._others(range(self._step + 1, step + 1))
        self._number, self._step = self._number + 1, step
        self._since = self._awaited()
        clock.leave_out(self._since - ended)

    def end(self) -> None:
        """Count what bnexp does at its end, which has just been done."""
        self.tallies["bnexp"].rest_s = self._awaited() - self._since

    def without_bnexp(self) -> None:
        """Let the rivals go on to the last step without bnexp, which is not timed or has failed."""
        if self.counted_from is None:
            self._step = self.counted_from = 0
        while self._rivals and self._step < self._run.plan.total_steps:
            last = min(self._step + self._most, self._run.plan.total_steps)
            self._others(range(self._step + 1, last + 1))
            self._number, self._step = self._number + 1, last

    def _others(self, steps: range) -> None:
        with as_fast(self._run.config.training):
            for way, turn in list(self._rivals.items()):
                if way in SLOW and not self._is_due(way, steps.stop - 1):
                    continue
                try:
                    self.tallies[way].turns[self._number] = turn(steps)
                except Exception as error:  # the others go on
                    self.failed[way] = why(error)
                    say(f"{self._name}: {way} failed: {self.failed[way]}")
                    del self._rivals[way]
        if self._now() - self._said_at >= SAID_EVERY_S or steps.stop > self._run.plan.total_steps:
            self._said_at = self._now()
            say(f"{self._name}: {self.progress_at(steps.stop - 1)}")

    def _is_due(self, way: str, step: int) -> bool:
        """Tell whether a slow way has its next turn now: in the middle of its part of the steps that count."""
        first, had = self.counted_from or 0, len(self.tallies[way].turns)
        share = (step - first) / (self._run.plan.total_steps - first)
        return had < TURNS_OF_SLOW and share >= (2 * had + 1) / (2 * TURNS_OF_SLOW)

    def progress_at(self, step: int) -> str:
        """Return how far it is, and ms a step until now, each with its ratio to bnexp's."""
        ways = [
            f"{way} {figure['step_ms']:.4g} ms" + (f" ({figure['over_bnexp']:.3f})" if figure["of_turns"] else "")
            for way, figure in compared(self.tallies, 1).items()
        ]
        return f"step {step:,} of {self._run.plan.total_steps:,}: {', '.join(ways)}"

    def _awaited(self) -> float:
        synchronize(self._run.device)
        return self._now()
