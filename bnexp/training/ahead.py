"""Steps taken ahead: with nothing brought to Python before the last of them, and taken back where one was not finite.

A device works on while Python asks for the next step, unless Python waits for a number. Between two rows nobody needs
one, but for the guard; so it looks at the end, at all steps of such a stretch together. Where all is finite, they are
the steps that the guard would have taken. Where not, what they changed is put back, and they come again one at a time.
"""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bnexp.probes.probe import NOTHING_MEASURED, Measured
from bnexp.training.build import TrainingRun
from bnexp.training.kept import KeptState
from bnexp.training.progress import Progress

LONGEST_S = 0.5
"""How long a stretch may take, by the pace of the steps before it: Ctrl-C and the display wait for its end."""
MOST_STEPS = 500
"""How many steps a stretch may have, however fast they are."""


class Seen(NamedTuple):
    """What Python sees of the steps of a stretch, at its end.

    Attributes:
        losses: the mean loss of each step, in nats.
        corrects: the correct answers of each step, over all its batches.
        sound: whether every step left the running statistics finite, and the last one the weights, where the guard asks
            for gradients; and whether no step was skipped by loss scaling.
        measured: by the probes that looked at the last step.
    """

    losses: Sequence[float]
    corrects: Sequence[float]
    sound: bool
    measured: Measured = NOTHING_MEASURED


@dataclass
class Stretch:
    """Steps that a run takes ahead, `first` to `last`, counted from 1.

    Whoever drives the `steps` of a training (training/loop.py) takes them all, in order, as `unseen.Steps` does, with
    the probes that are due at the last. Once the device is asked for all of it, it calls `meanwhile`; then it sets
    `seen`, and goes on. It may take fewer, by a smaller `last`, one at least, and set `own_s`, the run's part of the
    time. It leaves the run's progress, rows and clock alone, and does not replace the tensors of the network, the
    optimizer and the averages: it writes into them, as the run itself does where the stretch is put back or the next
    step is watched.
    """

    run: TrainingRun
    first: int
    last: int
    seen: Seen | None = None
    own_s: float | None = None  # None: all of the time until the run goes on
    meanwhile: Callable[[], None] = lambda: None  # what the run has to do on the CPU; an error waits for its turn
    meanwhile_s: float = 0.0  # of the time, what that took

    @property
    def is_look(self) -> bool:
        """Whether it is one step that a probe looks at."""
        return self.first == self.last and self.run.probes.look_at(self.first)

    @property
    def steps(self) -> range:
        """The numbers of its steps."""
        return range(self.first, self.last + 1)


class Take(Protocol):
    """Takes all steps of a stretch, and returns what is seen of them."""

    def __call__(self, stretch: Stretch) -> Seen:
        """Take them; nothing is brought to Python before the last."""


class Ahead:
    """Says which steps a run takes ahead, and accepts them, or takes them back, when they were taken.

    Watched are the first step of a session, which makes what is first needed then, such as the optimizer's state; steps
    at which a probe is due that is not `recordable`; and all steps while a divergence or a row of skipped ones lasts. A
    look ends a stretch, and costs what this takes longer than the steps of others.
    """

    def __init__(
        self,
        run: TrainingRun,
        progress: Progress,
        watched: Collection[int] = (),
        now: Callable[[], float] = time.perf_counter,
        *,
        alone: bool = True,
    ) -> None:
        self._run, self._progress, self._watched, self._now, self._alone = run, progress, watched, now, alone
        self._kept = KeptState(run)
        self._watched_until = progress.steps + 1
        self._known = range(0)  # a stretch from any of these steps ends with the last of them
        self._step_s: float | None = None  # of the last stretch without a look
        self._begun = self._counted_s = self._measured_s = 0.0

    def stretch(self) -> Stretch | None:
        """Return the steps to take ahead from here, and keep what they change; None where the next is watched."""
        first = self._progress.steps + 1
        is_watched = first <= self._watched_until or first in self._watched
        if is_watched or self._is_ailing() or (self._run.probes.look_at(first) and self._watches_look_at(first)):
            return None
        self._kept.keep()
        clock = self._progress.clock
        self._begun, self._counted_s, self._measured_s = self._now(), clock.total_s, clock.measured_s
        step_s = LONGEST_S / 10 if self._step_s is None else self._step_s  # ten steps, while none was timed
        most = max(1, int(min(MOST_STEPS, LONGEST_S / max(step_s, 1e-9))))
        last = min(self._end_from(first), first + most - 1)

        def meanwhile() -> None:
            begun = clock.total_s
            self._progress.log.catch_up(for_others=True)
            self._end_from(last + 1)
            stretch.meanwhile_s = clock.total_s - begun

        stretch = Stretch(self._run, first, last, meanwhile=meanwhile)
        return stretch

    def accept(self, stretch: Stretch) -> Measured | None:
        """Note the steps of a stretch in log, clock and progress, and return what was measured at the last of them.

        Where not all of them are finite, put back what they changed, and return None: the next ones are watched.

        Raises:
            ValueError: they were not taken, or not all of them.
        """
        seen, plan = stretch.seen, self._run.plan
        if seen is None or not len(seen.losses) == len(seen.corrects) == len(stretch.steps):
            raise ValueError(f"steps {stretch.first} to {stretch.last} were not taken")
        self._count_time(stretch, looked=any(seen.measured))
        if not (seen.sound and all(map(math.isfinite, seen.losses))):
            self._kept.put_back()
            self._watched_until = stretch.last
            return None
        self._progress.log.add_counted(seen.losses, seen.corrects, [plan.examples_of(step) for step in stretch.steps])
        self._progress.steps = stretch.last
        return seen.measured

    def _count_time(self, stretch: Stretch, *, looked: bool) -> None:
        """Note what steps take, or count what they took longer, with a look at the last of them, as measuring."""
        passed, clock = self._now() - self._begun, self._progress.clock
        if stretch.own_s is not None:
            passed = stretch.own_s
            clock.leave_out(clock.total_s - self._counted_s - passed)
        passed = max(passed - (clock.measured_s - self._measured_s), 0.0)  # a row was written meanwhile
        if not looked:
            self._step_s = passed / len(stretch.steps)
        elif self._step_s is not None:
            clock.count_measuring(max(passed - self._step_s * len(stretch.steps), 0.0))

    def _is_ailing(self) -> bool:
        progress, scaler = self._progress, self._run.train_step.scaler
        goes_on = progress.divergence is not None and self._run.config.training.on_divergence == "continue"
        return goes_on or progress.skipped_in_a_row > 0 or scaler.skipped_in_a_row > 0

    def _watches_look_at(self, step: int) -> bool:
        """Tell whether the look at a step is watched: of a probe that is not recordable, or while no step was timed."""
        ahead = (self._alone or self._run.graph.tried) and self._step_s is not None
        return not (ahead and self._run.probes.at(step).recordable)

    def _end_from(self, first: int) -> int:
        """Return where a stretch from `first` on ends: with a row, a checkpoint or a look, or before a watched step."""
        run, plan = self._run, self._run.plan
        every, saves = run.config.training.log_every, run.config.checkpoints.every_epochs
        step = self._known[-1] if first in self._known else first
        looks = run.probes.look_at(step)
        while step < plan.total_steps:
            looks_next = run.probes.look_at(step + 1)
            if (
                step % every == 0
                or step + 1 in self._watched
                or looks
                or (looks_next and (not self._alone or self._watches_look_at(step + 1)))
                or plan.evaluates_at(step)
                or plan.regularly_at(step, saves)
            ):
                break
            step, looks = step + 1, looks_next
        self._known = range(first, step + 1)
        return step
