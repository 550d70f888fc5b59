"""Several runs in one process, in lockstep: steps that all take ahead are taken by one vectorized network.

The clock of each counts what it does by itself, and an equal part of the steps that it takes with others: the times of
all add up to what has passed, and a step costs each the same, whatever its place.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from bnexp.config.schema import TrainingConfig
from bnexp.errors import Interrupted
from bnexp.session.life import Life, RunResult
from bnexp.session.signals import StopRequest
from bnexp.training.ahead import Stretch
from bnexp.training.device import computing_as
from bnexp.training.stacked import Stack
from bnexp.training.unseen import OneByOne

Outcome = RunResult | Exception
"""What came of a run: its result, or the error that ended it."""


def train_together(
    lives: Sequence[Life],
    stop: StopRequest,
    ended: Callable[[int, Outcome], None],
    training: TrainingConfig | None = None,
    note: Callable[[str], None] = lambda text: None,
    now: Callable[[], float] = time.perf_counter,
) -> None:
    """Train several runs to their ends; `ended` is called with the number of each as it ends, and with what came of it.

    They have the section `training` of their configs in common. `note` is told, once for all of them, where their step
    could not be recorded as a CUDA graph.

    An error of one run ends that one alone. After a first signal each finishes its step and writes a checkpoint; after
    a second all leave at once.
    """
    together = _Together(lives, ended, note, now)
    with computing_as(training):  # around all: each run sets it, and puts it back, in its own time
        try:
            for number in range(len(lives)):
                if stop:
                    raise KeyboardInterrupt
                together.advance(number)
            while together.waiting:
                together.take()
        except KeyboardInterrupt:
            together.leave()


class _Together:
    """Runs in lockstep, each with the stretch that it waits for."""

    def __init__(
        self,
        lives: Sequence[Life],
        ended: Callable[[int, Outcome], None],
        note: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._lives, self._ended, self._note, self._now = lives, ended, note, now
        self._left = set(range(len(lives)))
        self.waiting: dict[int, Stretch] = {}
        self._stack: Stack | None = None

    def advance(self, number: int) -> None:
        """Let a run go on to its next stretch, or to its end."""
        self._hear(number, partial(next, self._lives[number]))

    def take(self) -> None:
        """Take the steps of the hindmost runs, up to where the others are or the first of them has something to do."""
        first = min(stretch.first for stretch in self.waiting.values())
        hindmost = {number: stretch for number, stretch in sorted(self.waiting.items()) if stretch.first == first}
        others = [stretch.first - 1 for stretch in self.waiting.values() if stretch.first > first]
        last = min([stretch.last for stretch in hindmost.values()] + others)
        for stretch in hindmost.values():
            stretch.last = last
        try:
            self._take(list(hindmost.values()))
        except Exception as error:  # such as too little memory: each run explains it, and can be resumed
            for number in hindmost:
                self._hear(number, partial(self._lives[number].throw, error))
        else:
            for number in hindmost:
                self.advance(number)

    def leave(self) -> None:
        """End all runs at once, with their records as they are."""
        for number in sorted(self._left):
            try:
                self._lives[number].throw(KeyboardInterrupt())
            except KeyboardInterrupt:  # it had not begun
                self._end(number, Interrupted("interrupted before the training began"))
            except Exception as error:
                self._end(number, error)

    def _take(self, stretches: Sequence[Stretch]) -> None:
        kinds = {(stretch.run.device, stretch.run.memory_format) for stretch in self.waiting.values()}
        if self._stack is None and (len(stretches) == 1 or len(kinds) > 1):  # they have not met yet, or never do
            for stretch in stretches:
                begun = self._now()
                stretch.seen = OneByOne(stretch.run)(stretch)
                stretch.own_s = self._now() - begun
            return
        # From there on even the last of them is computed within the stack: how many are left moves no bit of it.
        self._stack = self._stack or Stack([stretch.run for stretch in self.waiting.values()], note=self._note)
        begun = self._now()
        self._stack(stretches)
        together_s = self._now() - begun - sum(stretch.meanwhile_s for stretch in stretches)
        for stretch in stretches:
            stretch.own_s = together_s / len(stretches) + stretch.meanwhile_s

    def _hear(self, number: int, go_on: Callable[[], Stretch]) -> None:
        self.waiting.pop(number, None)
        try:
            self.waiting[number] = go_on()
        except StopIteration as end:
            self._end(number, end.value)
        except Exception as error:
            self._end(number, error)

    def _end(self, number: int, outcome: Outcome) -> None:
        self._left.discard(number)
        self._ended(number, outcome)
