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
from torch.optim import Optimizer

from bnexp.data.batches import Drawn
from bnexp.measure.restore import put_random_states, random_states, streams_of
from bnexp.norms.random_stream import RandomStream
from bnexp.training.build import TrainingRun
from bnexp.training.divergence import RunningStatistics
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
    """

    losses: Sequence[float]
    corrects: Sequence[float]
    sound: bool


@dataclass
class Stretch:
    """Steps that a run takes ahead, `first` to `last`, counted from 1.

    Whoever drives the `steps` of a training (training/loop.py) takes them all, in order: each is `TrainStep.expect`,
    the batches of the step, `TrainStep.gradients`, `TrainStep.update(unseen=True)`. Then it sets `seen`, and goes on.
    It may take fewer, by a smaller `last`, one at least, and set `own_s`, the part of the time that is the run's. It
    leaves the run's progress, rows and clock alone, and does not replace the tensors of the network, the optimizer and
    the averages: it writes into them, as the run itself does where the stretch is put back or the next step is watched.
    """

    run: TrainingRun
    first: int
    last: int
    seen: Seen | None = None
    own_s: float | None = None  # None: all of the time until the run goes on

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
    state. So are those that a probe looks at, and, while a divergence or a row of skipped steps lasts, all.
    """

    def __init__(
        self,
        run: TrainingRun,
        progress: Progress,
        watched: Collection[int] = (),
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._progress, self._watched, self._now = run, progress, watched, now
        self._kept = KeptState(run)
        self._watched_until = progress.steps + 1
        self._step_s, self._begun, self._counted_s = LONGEST_S / 10, 0.0, 0.0

    def stretch(self) -> Stretch | None:
        """Return the steps to take ahead from here, and keep what they change; None where the next is watched."""
        first = self._progress.steps + 1
        is_watched = first <= self._watched_until or first in self._watched
        if is_watched or self._is_ailing() or self._run.probes.look_at(first):
            return None
        self._kept.keep()
        self._begun, self._counted_s = self._now(), self._progress.clock.total_s
        most = max(1, int(min(MOST_STEPS, LONGEST_S / max(self._step_s, 1e-9))))
        return Stretch(self._run, first, self._last_from(first, most))

    def stands(self, stretch: Stretch) -> bool:
        """Note the steps of a stretch where all of them are finite; else put back what they changed."""
        seen, plan = stretch.seen, self._run.plan
        if seen is None or not len(seen.losses) == len(seen.corrects) == len(stretch.steps):
            raise ValueError(f"steps {stretch.first} to {stretch.last} were not taken")
        self._step_s = (self._now() - self._begun) / len(stretch.steps)
        if stretch.own_s is not None:
            clock = self._progress.clock
            clock.leave_out(clock.total_s - self._counted_s - stretch.own_s)
        if not (seen.sound and all(map(math.isfinite, seen.losses))):
            self._kept.put_back()
            self._watched_until = stretch.last
            return False
        self._progress.log.add_counted(seen.losses, seen.corrects, [plan.examples_of(step) for step in stretch.steps])
        self._progress.steps = stretch.last
        return True

    def _is_ailing(self) -> bool:
        progress, scaler = self._progress, self._run.train_step.scaler
        goes_on = progress.divergence is not None and self._run.config.training.on_divergence == "continue"
        return goes_on or progress.skipped_in_a_row > 0 or scaler.skipped_in_a_row > 0

    def _last_from(self, first: int, most: int) -> int:
        """Return the last step that can be taken ahead with `first`: with a row or a checkpoint, or before a look."""
        run, plan = self._run, self._run.plan
        every, saves = run.config.training.log_every, run.config.checkpoints.every_epochs
        for step in range(first, min(first + most - 1, plan.total_steps)):
            if (
                step % every == 0
                or step + 1 in self._watched
                or plan.evaluates_at(step)
                or plan.regularly_at(step, saves)
                or run.probes.look_at(step + 1)
            ):
                return step
        return min(first + most - 1, plan.total_steps)


class Kept(Protocol):
    """What steps change, where it can be kept and put back."""

    def keep(self) -> None:
        """Keep it as it is now."""

    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""

    def tensors(self) -> list[Tensor]:
        """Return all tensors that the steps write into."""


class KeptState:
    """What the steps of a run change, kept on its device, and where its random streams stand."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._copies: list[Tensor] = []
        self._host: dict[str, Any] = {}

    @torch.no_grad()
    def keep(self) -> None:
        """Keep it as it is now."""
        tensors, average = self.tensors(), self._run.train_step.average
        if len(self._copies) != len(tensors):
            self._copies = [torch.empty_like(tensor) for tensor in tensors]
        _copy(self._copies, tensors)
        self._host = {
            "random": random_states(self._run.device),
            "streams": {name: stream.get_state() for name, stream in streams_of(self._run.network).items()},
            "averaged": average.steps if average is not None else 0,
        }

    @torch.no_grad()
    def put_back(self) -> None:
        """Let it be as it was kept, bit for bit."""
        _copy(self.tensors(), self._copies)
        put_random_states(self._host["random"], self._run.device)
        for name, stream in streams_of(self._run.network).items():
            stream.set_state(self._host["streams"][name])
        if (average := self._run.train_step.average) is not None:
            average.steps = self._host["averaged"]

    def tensors(self) -> list[Tensor]:
        """Return all tensors that steps write into: weights, buffers, optimizer, loss scaling, averages."""
        network, step = self._run.network, self._run.train_step
        optimizer = [value for state in step.optimizer.state.values() for value in state.values() if value is not None]
        averages = step.average.weights if step.average is not None else []
        return [*network.parameters(), *network.buffers(), *optimizer, *step.scaler.tensors, *averages]


def _copy(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy values into tensors, those of a kind in one go."""
    for dtype in dict.fromkeys(value.dtype for value in values):
        pairs = [pair for pair in zip(to, values, strict=True) if pair[1].dtype == dtype]
        torch._foreach_copy_([into for into, _ in pairs], [value for _, value in pairs])


class Steps:
    """Takes the steps of a run with nothing brought to Python.

    What Python alone knows of a step beforehand is set by `expect`; `take` is work of the device only.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run, self._statistics = run, RunningStatistics(run.network)

    def kept(self) -> "KeptState":
        """Return what the steps change, of which nothing is kept yet."""
        return KeptState(self._run)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer that takes the steps."""
        return self._run.train_step.optimizer

    @property
    def streams(self) -> Sequence[RandomStream]:
        """The random streams that they draw from."""
        return list(streams_of(self._run.network).values())

    def forget(self) -> None:
        """Forget the gradients of a step that was not taken to its end."""
        self._run.train_step.abandon()

    def expect(self, step: int) -> list[Drawn]:
        """Set learning rate and average for a step, counted from 1, and return what was drawn for its batches."""
        self._run.train_step.expect(self._run.learning_rate(step))
        return [self._run.batches.draw(batch) for batch in self._run.plan.batches_of(step)]

    def take(self, drawn: Sequence[Drawn]) -> Tensor:
        """Take the step with these batches, and return its figures, (F,).

        They are loss and correct answers, what is 0 while the running statistics are finite, and the scale of the loss.
        """
        train_step, gather = self._run.train_step, self._run.batches.gather
        examples = sum(len(batch.places) for batch in drawn)
        for batch in drawn[:-1]:
            train_step.accumulate(*gather(*batch), of=examples)
        logits, labels, loss = train_step.gradients(*gather(*drawn[-1]))
        corrects, zeros = (logits.argmax(dim=1) == labels).sum(), self._statistics.zero()
        train_step.update(unseen=True)
        return torch.stack([loss, corrects.float(), *zeros, *train_step.scaler.tensors[:1]])


def weighs_norm(run: TrainingRun) -> bool:
    """Tell whether the norm of the weights is to be seen at the end of a stretch.

    The guard of a run asks for gradients with this policy alone; one that is not finite leaves such a weight.
    """
    return run.config.training.on_divergence == "skip_step"


def seen_of(
    figures: Sequence[float], width: int, norms: Sequence[float] = (), scale_before: Sequence[float] = ()
) -> Seen:
    """Return what is seen of steps by their figures, `width` of each in a row: see `Steps.take`.

    `norms` are of the weights at the end, where it is asked for; `scale_before` is the scale of the loss before the
    first step, where the last figure of each is that after it.
    """
    losses, corrects, *others = (figures[column::width] for column in range(width))
    scales = [*scale_before, *(others.pop() if scale_before else [])]
    skipped = any(after < before for before, after in itertools.pairwise(scales))
    return Seen(losses, corrects, not skipped and all(map(math.isfinite, itertools.chain(*others, norms))))


class Sight:
    """Brings to Python what is to be seen of a stretch that begins here, in one transfer at its end."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._before = [scale.clone() for scale in run.train_step.scaler.tensors[:1]]

    def of(self, figures: Sequence[Tensor]) -> Seen:
        """Return what is seen of steps with these figures, (F,) each."""
        norm = [get_total_norm(self._run.network.parameters())] if weighs_norm(self._run) else []
        numbers = torch.cat([*figures, *(end.reshape(1) for end in (*self._before, *norm))]).tolist()
        ends = len(figures) * len(figures[0])
        scales, norms = numbers[ends:][: len(self._before)], numbers[ends + len(self._before) :]
        return seen_of(numbers[:ends], len(figures[0]), norms, scales)


class OneByOne:
    """Takes the steps of a stretch as they are, each asked of the device before the one before it is done."""

    def __init__(self, run: TrainingRun) -> None:
        self._run, self._steps = run, Steps(run)

    def __call__(self, stretch: Stretch) -> Seen:
        """Take all steps of a stretch; nothing is brought to Python before the last."""
        sight = Sight(self._run)
        return sight.of([self._steps.take(self._steps.expect(step)) for step in stretch.steps])
