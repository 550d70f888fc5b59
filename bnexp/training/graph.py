"""`training.graph`: the whole step of a training, recorded once as a CUDA graph and then repeated by a single launch.

A step of a small network is hundreds of launches, each of which takes Python longer than the GPU. A graph holds them
all: gathering the batch, augmentation, forward and backward pass, clipping, the optimizer, the average of the weights,
and what probes look at. What changes from step to step is written into tensors that it reads. It is used where steps
are taken ahead (`ahead.py`): nothing is brought to Python there.
"""

import pickle
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from bnexp.data.batches import Drawn, sent
from bnexp.errors import BnexpError
from bnexp.measure.restore import copies_of
from bnexp.norms.random_stream import RandomStream
from bnexp.probes.probe import Probe
from bnexp.training.ahead import Seen, Stretch, Take
from bnexp.training.build import TrainingRun
from bnexp.training.cuda_graph import CudaRecorder, GraphRecorder, Unrecordable
from bnexp.training.device import Graphing
from bnexp.training.kept import Kept, copy_all
from bnexp.training.unseen import Expected, OneByOne, Stepped, Steps, Taken, figures_of, told

AT_ONCE = 10
"""Steps that are recorded together, once one is."""
WARM_UP = 3
"""Steps of a kind that are taken on the side before it is recorded: libraries choose their kernels and workspaces."""


class Recordable(Protocol):
    """Steps that can be recorded: those of a run (`unseen.Steps`), or of several stacked ones (`stacked.Stack`)."""

    def expect(self, step: int) -> Expected:
        """Return what a step is taken with; to be called once for each, in order."""

    def set(self, settings: Sequence[float]) -> None:
        """Write the settings of the next step where it reads them."""

    @property
    def settable(self) -> list[Tensor]:
        """The tensors () that hold the settings, in their order; [] where they are numbers, which a recording fixes."""

    def take(self, expected: Expected) -> Stepped:
        """Take the step by the settings that are set, by work of the device alone, and return what it leaves."""

    def forget(self) -> None:
        """Forget the gradients of a step that was not taken to its end."""

    def kept(self) -> Kept:
        """Return what keeps, and puts back, all that the steps change."""

    @property
    def streams(self) -> Sequence[RandomStream]:
        """The random streams that they draw from."""


class Recorded:
    """One or more recorded steps: the tensors that they read, and those that they write what they give into.

    Steps that a probe looks at are recorded one at a time. Of several the figures are made at their end, from the
    logits of all.
    """

    def __init__(
        self,
        steps: Recordable,
        recorder: GraphRecorder,
        generators: Sequence[torch.Generator],
        expected: Sequence[Expected],
        like: Taken,
    ) -> None:
        self._drawn = [[batch.copy() for batch in step.drawn] for step in expected]
        self._settings = sent(_settings_of(expected), like.figures.device)
        self._figures = torch.stack([like.figures] * len(expected))  # (S, F)
        self._readings, self._numbers = like.readings, [row.clone() for row in like.numbers]

        held = steps.settable
        if not held:
            raise Unrecordable("its settings are numbers")

        def work() -> None:
            stepped = list[Stepped]()
            for number, step in enumerate(expected):
                for into, value in zip(held, self._settings[number], strict=True):
                    into.copy_(value)
                stepped.append(steps.take(Expected(self._drawn[number], (), step.due)))
            self._figures.copy_(figures_of(stepped))
            for into, row in zip(self._numbers, stepped[-1].numbers, strict=True):
                into.copy_(row)

        self._repeat = recorder.record(work, generators)

    def __call__(self, expected: Sequence[Expected]) -> list[Taken]:
        """Take the steps, and return what each gives."""
        copy_all(_drawn_of(self._drawn), _drawn_of([step.drawn for step in expected]))
        self._settings.copy_(sent(_settings_of(expected), self._settings.device))
        self._repeat()
        numbers = [row.clone() for row in self._numbers]
        return [Taken(figures, self._readings, numbers) for figures in self._figures.clone().unbind()]


def _settings_of(expected: Sequence[Expected]) -> Tensor:
    """Return the settings of steps in rows."""
    return torch.tensor([step.settings for step in expected])


def _drawn_of(steps: Sequence[Sequence[Drawn]]) -> list[Tensor]:
    """Return all that was drawn for steps as tensors."""
    return [tensor for batches in steps for batch in batches for tensor in batch if tensor is not None]


class Kind(NamedTuple):
    """Steps that are alike: the examples of their batches, and the probes that look at them; and how many at once."""

    sizes: tuple[int, ...]
    probes: tuple[Probe, ...]
    steps: int = 1


class Recordings:
    """Takes steps by repeating recorded ones: each kind, full or the last of an epoch, looked at or not, its own.

    The first steps of a kind are taken as they are. Then one is recorded, and after that several in a row, between
    which the device does not wait for Python. Before a recording is trusted, it is tried: repeated steps must leave
    the bits of those that are taken. Where they do not, or nothing can be recorded, steps are taken as they are; where
    that is so of a look, only those with it, and of several, one by one.
    """

    def __init__(
        self,
        steps: Recordable,
        graph: Graphing,
        recorder: GraphRecorder,
        note: Callable[[str], None],
        warm_up: int = WARM_UP,
    ) -> None:
        self._steps, self._graph, self._recorder, self._note, self._warm_up = steps, graph, recorder, note, warm_up
        self._recorded: dict[Kind, Recorded] = {}
        self._aside: dict[Kind, int] = {}  # steps of a kind that were taken as they are, before it is recorded
        self._unrecorded = set[Kind]()  # kinds with looks, or of several steps, that cannot be recorded
        self._places: list[Any] = []  # of the tensors that the recorded steps read and write
        self._kept = steps.kept()

    def __call__(self, numbers: Iterable[int]) -> list[Taken]:
        """Take the steps of these numbers, and return what each gives; nothing but a trial is brought to Python."""
        self._kept = self._steps.kept()  # anew: of a stack, it is that of the runs within
        places = self._places_now()
        if places != self._places:  # a graph knows tensors by their places in memory
            self._recorded.clear()
            self._places = places
        taken, next_ones = list[Taken](), list[Expected]()
        for number in numbers:
            expected = self._steps.expect(number)
            if next_ones and _kind_of([expected]) != _kind_of(next_ones[:1]):
                taken += self._take_each(next_ones)
                next_ones = []
            next_ones.append(expected)
            if len(next_ones) == AT_ONCE:
                taken += self._take_together(next_ones)
                next_ones = []
        return taken + self._take_each(next_ones)

    def _take_together(self, expected: Sequence[Expected]) -> list[Taken]:
        """Take steps of a kind by one recording of all of them, once it is made."""
        kind = _kind_of(expected)
        if kind in self._recorded:
            return self._recorded[kind](expected)
        taken = self._take_each(expected)
        if kind._replace(steps=1) in self._recorded and kind not in self._unrecorded and not kind.probes:
            self._record(kind, expected, taken[0])
        return taken

    def _take_each(self, expected: Sequence[Expected]) -> list[Taken]:
        return [self._take(step) for step in expected]

    def _take(self, expected: Expected) -> Taken:
        kind = _kind_of([expected])
        if kind in self._recorded:
            return self._recorded[kind]([expected])[0]
        if self._graph.reason is not None or kind in self._unrecorded:
            return self._take_as_it_is(expected)
        taken = list[Taken]()
        self._recorder.aside(lambda: taken.append(self._take_as_it_is(expected)))
        self._aside[kind] = self._aside.get(kind, 0) + 1
        # Of a look, the step is warm where it is recorded without; its probes are after this first one.
        is_warm = self._aside[kind] >= self._warm_up or kind._replace(probes=()) in self._recorded
        if is_warm:
            self._record(kind, [expected], taken[0])
        return taken[0]

    def _take_as_it_is(self, expected: Expected) -> Taken:
        self._steps.set(expected.settings)
        return told(self._steps.take(expected))

    def _record(self, kind: Kind, expected: Sequence[Expected], like: Taken) -> None:
        """Record steps of a kind, at the example of those just taken, and try it; leave no other trace."""
        self._kept.keep()
        host = _host_streams()
        try:
            recorded = Recorded(self._steps, self._recorder, self._generators(), expected, like)
            if _host_streams() != host:
                raise Unrecordable("it draws random numbers on the CPU")
            self._try(recorded, expected)
        except (Unrecordable, RuntimeError) as error:
            self._refuse(kind, error)
        else:
            self._recorded[kind] = recorded
            plain = sum(not each.probes and each.steps == 1 for each in self._recorded)
            self._graph.recorded = max(self._graph.recorded, plain)
        finally:
            self._steps.forget()
            self._kept.put_back()
            self._kept.forget()

    def _try(self, recorded: Recorded, expected: Sequence[Expected]) -> None:
        """Refuse a recording that leaves other bits than the steps themselves."""
        self._kept.put_back()
        repeated = [*_tensors(recorded(expected)), *copies_of(self._kept.tensors())]
        self._kept.put_back()
        taken = [*_tensors([self._take_as_it_is(step) for step in expected]), *self._kept.tensors()]
        if torch.are_deterministic_algorithms_enabled() and not all(map(_alike, repeated, taken)):
            raise Unrecordable("a repeated step leaves other bits than one that is taken")

    def _refuse(self, kind: Kind, error: Exception) -> None:
        """Go on without, or end the run where `training.graph` is on; of looks or of several, only without those."""
        while error.__context__ is not None and isinstance(error.__context__, RuntimeError):
            error = error.__context__  # what broke the recording, not that it is broken
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        for stream in self._steps.streams:
            stream.set_state(None)  # generators of a broken recording are of no use; `put_back` makes others
        self._recorded.clear()
        if kind.probes or kind.steps > 1:
            what = "looks of probes are" if kind.probes else "several steps at once are"
            if not any(bool(other.probes) == bool(kind.probes) for other in self._unrecorded):
                self._note(f"{what} not recorded as a CUDA graph: {reason}")
            self._unrecorded.add(kind)
            return
        self._graph.reason = reason
        if self._graph.demanded:
            raise BnexpError(
                f"training.graph on: the step cannot be recorded as a CUDA graph: {reason}; expected auto or off"
            ) from None
        self._note(str(self._graph.why_not))

    def _generators(self) -> list[torch.Generator]:
        streams = self._steps.streams
        return [stream.generator for stream in streams if stream.generator is not None]

    def _places_now(self) -> list[Any]:
        """Return where all is in memory that a recorded step reads and writes."""
        tensors = [*self._kept.tensors(), *self._steps.settable]
        return [*(tensor.data_ptr() for tensor in tensors), *self._generators()]


class Graphed:
    """Takes the steps of a stretch by recorded ones."""

    def __init__(
        self, run: TrainingRun, recorder: GraphRecorder, note: Callable[[str], None], *, warm_up: int = WARM_UP
    ) -> None:
        self._steps = Steps(run)
        self._recordings = Recordings(self._steps, run.graph, recorder, note, warm_up)

    def __call__(self, stretch: Stretch) -> Seen:
        """Take all steps of a stretch; nothing is brought to Python before the last, but to try a recording."""
        return self._steps.sight().of(self._recordings(stretch.steps), stretch.meanwhile)


def way_of(run: TrainingRun, note: Callable[[str], None] = lambda text: None) -> Take | None:
    """Return how a run takes steps ahead; None where each is watched. `note` is told, once, what did not work out."""
    # On the CPU a step is over as it returns: there is nothing to wait for, nor anything to gain.
    if run.device.type == "cpu" or run.world is not None:
        return None
    if reason := run.graph.why_not:
        note(reason)
    if not run.graph.tried and run.has_own_code:
        return None  # code that is not bnexp's may keep in Python what could not be put back
    return Graphed(run, CudaRecorder(run.device), note) if run.graph.tried else OneByOne(run)


def _kind_of(expected: Sequence[Expected]) -> Kind:
    """Return the kind of steps in a row that are alike."""
    drawn, _, due = expected[0]
    return Kind(tuple(len(batch.places) for batch in drawn), tuple(due.probes), len(expected))


def _tensors(taken: Sequence[Taken]) -> list[Tensor]:
    """Return what steps give as tensors."""
    return [tensor for step in taken for tensor in (step.figures, *step.numbers)]


def _host_streams() -> bytes:
    """Return where the random streams of the CPU stand."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()
    return pickle.dumps(states)


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
