"""Steps taken ahead: with nothing brought to Python before the last of them, and taken back where one was not finite.

A device works on while Python asks for the next step, unless Python waits for a number. Between two rows nobody needs
one, but for the guard; so it looks at the end, at all steps of such a stretch together. Where all is finite, they are
the steps that the guard would have taken. Where not, what they changed is put back, and they come again one at a time.
"""

import itertools
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bnexp.data.batches import Drawn
from bnexp.measure.restore import put_random_states, random_states, streams_of
from bnexp.measure.subject import Look
from bnexp.norms.random_stream import RandomStream
from bnexp.probes.probe import NOTHING_READ, Read, Reading, numbers_in, read_from
from bnexp.probes.registry import NOTHING_DUE, Due
from bnexp.training.build import TrainingRun
from bnexp.training.divergence import RunningStatistics
from bnexp.training.optimizer import rate_of
from bnexp.training.progress import Progress

LONGEST_S = 0.5
"""How long a stretch may take, by the pace of the steps before it: Ctrl-C and the display wait for its end."""
MOST_STEPS = 500
"""How many steps a stretch may have, however fast they are."""


class Seen(NamedTuple):
    """What is seen of the steps of a stretch, in Python, at its end.

    Attributes:
        losses: the mean loss of each step, in nats.
        corrects: the correct answers of each step, over all its batches.
        sound: whether every step left the running statistics finite, and the last one the weights, where the guard asks
            for gradients; and whether no step was skipped by loss scaling.
        read: by the probes that looked at the last step.
    """

    losses: Sequence[float]
    corrects: Sequence[float]
    sound: bool
    read: Read = NOTHING_READ


@dataclass
class Stretch:
    """Steps that a run takes ahead, `first` to `last`, counted from 1.

    Whoever drives the `steps` of a training (training/loop.py) takes them all, in order: each is `TrainStep.set`, the
    batches of the step, `TrainStep.gradients`, `TrainStep.update(unseen=True)`, with the probes that are due at the
    last. Once the device is asked for all of it, it calls `meanwhile`; then it sets `seen`, and goes on. It may take
    fewer, by a smaller `last`, one at least, and set `own_s`, the part of the time that is the run's. It leaves the
    run's progress, rows and clock alone, and does not replace the tensors of the network, the optimizer and the
    averages: it writes into them, as the run itself does where the stretch is put back or the next step is watched.
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
    """Says which steps a run takes ahead, and judges them when they were taken.

    The first step of a session is watched: it makes what is made when it is first needed, such as the optimizer's
    state. So are those that a probe looks at which cannot look at a step taken ahead, and, while a divergence or a row
    of skipped steps lasts, all. A look ends a stretch. What it costs is what the stretch takes longer than others.
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
        self._known = range(0)  # steps of which the last is the first that ends a stretch
        self._step_s: float | None = None  # of the last stretch without a look
        self._begun = self._counted_s = self._measured_s = 0.0

    def stretch(self) -> Stretch | None:
        """Return the steps to take ahead from here, and keep what they change; None where the next is watched."""
        first = self._progress.steps + 1
        is_watched = first <= self._watched_until or first in self._watched
        if is_watched or self._is_ailing() or self._watches_look_at(first):
            return None
        self._kept.keep()
        clock = self._progress.clock
        self._begun, self._counted_s, self._measured_s = self._now(), clock.total_s, clock.measured_s
        step_s = LONGEST_S / 10 if self._step_s is None else self._step_s
        most = max(1, int(min(MOST_STEPS, LONGEST_S / max(step_s, 1e-9))))
        last = min(self._end_from(first), first + most - 1)

        def meanwhile() -> None:
            begun = clock.total_s
            self._progress.log.catch_up(for_others=True)
            self._end_from(last + 1)
            stretch.meanwhile_s = clock.total_s - begun

        stretch = Stretch(self._run, first, last, meanwhile=meanwhile)
        return stretch

    def read_of(self, stretch: Stretch) -> Read | None:
        """Note the steps of a stretch where all of them are finite, and return what was read at the last of them.

        Else put back what they changed, and return None.
        """
        seen, plan = stretch.seen, self._run.plan
        if seen is None or not len(seen.losses) == len(seen.corrects) == len(stretch.steps):
            raise ValueError(f"steps {stretch.first} to {stretch.last} were not taken")
        passed, clock = self._now() - self._begun, self._progress.clock
        if stretch.own_s is not None:
            passed = stretch.own_s
            clock.leave_out(clock.total_s - self._counted_s - passed)
        passed = max(passed - (clock.measured_s - self._measured_s), 0.0)  # a row was written meanwhile
        if not any(seen.read):
            self._step_s = passed / len(stretch.steps)
        elif self._step_s is not None:
            clock.count_measuring(max(passed - self._step_s * len(stretch.steps), 0.0))
        if not (seen.sound and all(map(math.isfinite, seen.losses))):
            self._kept.put_back()
            self._watched_until = stretch.last
            return None
        self._progress.log.add_counted(seen.losses, seen.corrects, [plan.examples_of(step) for step in stretch.steps])
        self._progress.steps = stretch.last
        return seen.read

    def _is_ailing(self) -> bool:
        progress, scaler = self._progress, self._run.train_step.scaler
        goes_on = progress.divergence is not None and self._run.config.training.on_divergence == "continue"
        return goes_on or progress.skipped_in_a_row > 0 or scaler.skipped_in_a_row > 0

    def _watches_look_at(self, step: int) -> bool:
        """Tell whether a step has a look for which it must be watched, at least until it is known what steps take."""
        ahead = (self._alone or self._run.graph.tried) and self._step_s is not None
        return self._run.probes.look_at(step) and not (ahead and self._run.probes.at(step).recordable)

    def _end_from(self, first: int) -> int:
        """Return the first step from `first` on that ends a stretch: with a row, a checkpoint, or a look."""
        run, plan = self._run, self._run.plan
        every, saves = run.config.training.log_every, run.config.checkpoints.every_epochs
        step = self._known[-1] if first in self._known else first
        while step < plan.total_steps and not (
            step % every == 0
            or step + 1 in self._watched
            or plan.evaluates_at(step)
            or plan.regularly_at(step, saves)
            or run.probes.look_at(step)
            or (run.probes.look_at(step + 1) if not self._alone else self._watches_look_at(step + 1))
        ):
            step += 1
        self._known = range(first, step + 1)
        return step


class Kept(Protocol):
    """What steps change, where it can be kept and put back."""

    def keep(self) -> None:
        """Keep it as it is now."""

    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""

    def tensors(self) -> list[Tensor]:
        """Return all tensors that the steps write into."""

    def forget(self) -> None:
        """Give the memory of the copies back."""


class KeptState:
    """What the steps of a run change, kept on its device, and where its random streams stand."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._of_network = [*run.network.parameters(), *run.network.buffers()]  # a network is slow to tell
        self._streams = streams_of(run.network)
        self._copies: list[Tensor] = []
        self._host: dict[str, Any] = {}

    @torch.no_grad()
    def keep(self) -> None:
        """Keep it as it is now."""
        tensors, average = self.tensors(), self._run.train_step.average
        if len(self._copies) != len(tensors):
            self._copies = [torch.empty_like(tensor) for tensor in tensors]
        copy_all(self._copies, tensors)
        self._host = {
            "random": random_states(self._run.device),
            "streams": {name: stream.get_state() for name, stream in self._streams.items()},
            "averaged": average.steps if average is not None else 0,
        }

    @torch.no_grad()
    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""
        copy_all(self.tensors(), self._copies)
        put_random_states(self._host["random"], self._run.device)
        for name, stream in self._streams.items():
            stream.set_state(self._host["streams"][name])
        if (average := self._run.train_step.average) is not None:
            average.steps = self._host["averaged"]

    def tensors(self) -> list[Tensor]:
        """Return all tensors that steps write into: weights, buffers, optimizer, loss scaling, averages."""
        step = self._run.train_step
        optimizer = [value for state in step.optimizer.state.values() for value in state.values() if value is not None]
        averages = step.average.weights if step.average is not None else []
        return [*self._of_network, *optimizer, *step.scaler.tensors, *averages]

    def forget(self) -> None:
        """Give the memory of the copies back."""
        self._copies = []

    @property
    def streams(self) -> list[RandomStream]:
        """The random streams that the steps draw from."""
        return list(self._streams.values())


def copy_all(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy values into tensors, those of a kind in one go."""
    for dtype in dict.fromkeys(value.dtype for value in values):
        pairs = [pair for pair in zip(to, values, strict=True) if pair[1].dtype == dtype]
        torch._foreach_copy_([into for into, _ in pairs], [value for _, value in pairs])


class Expected(NamedTuple):
    """What a step is taken with: what was drawn for its batches, its settings, and the probes that look at it."""

    drawn: Sequence[Drawn]
    settings: Sequence[float]
    due: Due = NOTHING_DUE

    @property
    def examples(self) -> int:
        """How many examples its batches have together."""
        return sum(len(batch.places) for batch in self.drawn)


class Taken(NamedTuple):
    """What a step gives: its figures (F,); what probes read at it, and all numbers of that in a row, if any did."""

    figures: Tensor
    readings: Sequence[Reading] = ()
    numbers: Sequence[Tensor] = ()


class Steps:
    """Takes the steps of a run with nothing brought to Python.

    What Python alone knows of a step beforehand is in what `expect` returns; `take` is work of the device only.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run, self._kept, self._statistics = run, KeptState(run), RunningStatistics(run.network)
        # No norm of bnexp's ever comes back from statistics that are not finite: to look once, at the end, is enough.
        self._looks_at_each = any(item.kind.source is not None for item in run.config.model.items)

    def kept(self) -> "KeptState":
        """Return what the steps change, for whoever keeps it."""
        return self._kept

    def sight(self) -> "Sight":
        """Return what is to be seen of a stretch that begins now."""
        return Sight(self._run, self._statistics)

    @property
    def streams(self) -> Sequence[RandomStream]:
        """The random streams that they draw from."""
        return self._kept.streams

    def forget(self) -> None:
        """Forget the gradients of a step that was not taken to its end."""
        self._run.train_step.abandon()

    def expect(self, step: int) -> "Expected":
        """Return what a step is taken with, counted from 1: to be called once for each, in order."""
        run = self._run
        settings = run.train_step.settings(run.learning_rate(step))
        return Expected([run.batches.draw(batch) for batch in run.plan.batches_of(step)], settings, run.probes.at(step))

    def set(self, settings: Sequence[float]) -> None:
        """Set by what the next step goes."""
        self._run.train_step.set(settings)

    @property
    def settable(self) -> list[Tensor]:
        """The tensors () that hold the settings on CUDA."""
        return self._run.train_step.settable

    def take(self, expected: "Expected") -> "Taken":
        """Take the step by the settings that are set, and return its figures, (F,), and what is read at it.

        The figures are loss and correct answers, where code of one's own keeps running statistics what is 0 while they
        are finite, and the scale of the loss.
        """
        (*earlier, last), _, due = expected
        train_step, gather = self._run.train_step, self._run.batches.gather
        for batch in earlier:
            train_step.accumulate(*gather(*batch), of=expected.examples)
        x, y = gather(*last)
        look = Look(self._run.subject, 0, rate_of(train_step.optimizer), x, y)
        due.before(look)
        logits, labels, loss = train_step.gradients(x, y)
        corrects = (logits.argmax(dim=1) == labels).sum()
        zeros = self._statistics.zero() if self._looks_at_each else []
        readings = due.after_backward(look)
        train_step.update(unseen=True)
        readings += due.after_step(look)
        figures = torch.stack([loss, corrects.float(), *zeros, *train_step.scaler.tensors[:1]])
        return Taken(figures, readings, [numbers_in(readings)] if readings else [])


def weighs_norm(run: TrainingRun) -> bool:
    """Tell whether the norm of the weights is to be seen at the end of a stretch.

    The guard of a run asks for gradients with this policy alone; one that is not finite leaves such a weight.
    """
    return run.config.training.on_divergence == "skip_step"


def seen_of(
    figures: Sequence[float], width: int, ends: Sequence[float] = (), scale_before: Sequence[float] = ()
) -> Seen:
    """Return what is seen of steps by their figures, `width` of each in a row: see `Steps.take`.

    `ends` are finite where running statistics and weights are at the end; `scale_before` is the scale of the loss
    before the first step, where the last figure of each is that after it.
    """
    losses, corrects, *others = (figures[column::width] for column in range(width))
    scales = [*scale_before, *(others.pop() if scale_before else [])]
    skipped = any(after < before for before, after in itertools.pairwise(scales))
    return Seen(losses, corrects, not skipped and all(map(math.isfinite, itertools.chain(*others, ends))))


class Sight:
    """Brings to Python what is to be seen of a stretch that begins here, in one transfer at its end."""

    def __init__(self, run: TrainingRun, statistics: RunningStatistics) -> None:
        self._run, self._statistics = run, statistics
        self._before = [scale.clone() for scale in run.train_step.scaler.tensors[:1]]

    def of(self, taken: Sequence[Taken], meanwhile: Callable[[], None]) -> Seen:
        """Return what is seen of steps that were asked of the device; `meanwhile` is called before it is waited for."""
        norm = [get_total_norm(self._run.network.parameters())] if weighs_norm(self._run) else []
        figures, (_, readings, numbers) = [step.figures for step in taken], taken[-1]
        ends = [*norm, *self._statistics.zero()]
        together = torch.cat([*figures, *(one.reshape(1) for one in (*self._before, *ends)), *numbers])
        meanwhile()
        width, parts = len(figures[0]), [len(figures) * len(figures[0]), len(self._before), len(ends)]
        brought = iter(together.tolist())
        of_steps, before, at_end = (list(itertools.islice(brought, count)) for count in parts)
        return seen_of(of_steps, width, at_end, before)._replace(read=read_from(readings, list(brought)))


class OneByOne:
    """Takes the steps of a stretch as they are, each asked of the device before the one before it is done."""

    def __init__(self, run: TrainingRun) -> None:
        self._steps = Steps(run)

    def __call__(self, stretch: Stretch) -> Seen:
        """Take all steps of a stretch; nothing is brought to Python before the last."""
        sight, taken = self._steps.sight(), list[Taken]()
        for step in stretch.steps:
            expected = self._steps.expect(step)
            self._steps.set(expected.settings)
            taken.append(self._steps.take(expected))
        return sight.of(taken, stretch.meanwhile)
