"""Profile a few steps of a training with torch's profiler: a trace for Perfetto, and which operations cost most.

Nothing in a step is changed: hooks name each item of the network in the trace, round its forward pass. The work of the
backward pass belongs to the item whose operation it differentiates, by autograd's own numbers.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from bnexp.errors import ConfigError
from bnexp.probes.cost import KINDS, kinds_of
from bnexp.runs.folder import PROFILE, TRACE, write_json
from bnexp.training.build import TrainingRun
from bnexp.training.clock import Clock

WARM = 5
"""Steps that are taken before those of a profile, at least: the first ones load code and find their memory."""
MOST = 200
"""Steps that a profile has at most: the trace of a small network's is 20 MB then."""
SHOWN = 10
"""Operations that a profile names."""
_SEARCHED = 10_000
"""Steps that are searched for some in a row without an evaluation or a look."""
_BACKWARD, _SCOPE_OF_NODES = "autograd::engine::evaluate_function: ", 1
"""How torch names the work of a node of the backward pass, and the scope of the node itself."""
_OF_OPTIMIZER = "Optimizer."
"""How the names begin that torch gives to the work of an optimizer."""
_OPTIMIZER, OTHER = "optimizer", "other"
ALL_KINDS = (*KINDS, _OPTIMIZER, OTHER)
"""What an operation serves: an item of the network by its kind, the optimizer, or all else, such as loss and data."""


@dataclass(frozen=True)
class Operation:
    """An operation of a profile: calls and milliseconds a step, without those that it calls, and the part in norms."""

    name: str
    calls: float
    ms: float
    share: float  # of the time of all operations, 0 .. 1
    in_norms: float | None  # part of its own time, 0 .. 1


@dataclass(frozen=True)
class Profile:
    """What the operations of some steps took: on the device where that is a GPU, else on the processor.

    Attributes:
        first: the first step, counted from 1; `last` the last one.
        ms: of all operations together, a step.
        shares: part of it by what it serves, one of `ALL_KINDS`; None of a compiled network, which fuses its items.
        operations: the costliest, the first ten.
        besides: evaluations and looks of probes in these steps, where there were no steps without.
    """

    first: int
    last: int
    device: str
    ms: float
    shares: dict[str, float] | None
    operations: list[Operation]
    besides: int


def refuse_profile(steps: int, planned: int, processes: int, taken: int = 0) -> None:
    """Refuse to profile `steps` steps where a run of `planned` steps, of which some are `taken`, has too few left.

    Raises:
        ConfigError: several processes train it, too few steps are left, or more than `MOST` are asked for.
    """
    if processes > 1:
        found = f"found {processes} processes, each with a part of every batch; expected one: bnexp train, not torchrun"
        raise ConfigError(f"--profile {steps}: {found}")
    if steps > MOST:
        raise ConfigError(f"--profile {steps}: expected at most {MOST}, of which a trace can be opened; 5 tell enough")
    left = planned - taken
    if steps + WARM > left:
        most = f"expected at most {left - WARM:,}" if left > WARM else "too few to profile any"
        of_all = f", {left:,} of them left" if taken else ""
        found = f"the run has {planned:,} steps{of_all}, of which the first {WARM} are not profiled"
        raise ConfigError(f"--profile {steps}: {found}; {most}")


class Profiler:
    """Profiles `count` steps of a run after the first ones, while `step` is called after each; `close` ends it.

    The steps are those of `steps`, without an evaluation or a look of a probe among them where that can be had. Their
    time is left out of the clock.
    """

    def __init__(self, run: TrainingRun, folder: Path, count: int, taken: int = 0) -> None:
        self._run, self._folder = run, folder
        self.steps = _quiet_steps(run, count, taken + WARM + 1)
        self._open = ExitStack()
        self._profile = profile(activities=_activities(run.device), acc_events=True)  # there is one cycle
        self._begun = False
        self.profile: Profile | None = None

    @property
    def watched(self) -> range:
        """The steps of the profile and the one before: it is to be called after each, and hooks see them only so."""
        return range(self.steps.start - 1, self.steps.stop)

    def step(self, step: int, clock: Clock) -> None:
        """Take note of a finished step: begin right before the first one of the profile, end after the last."""
        if self.steps and step == self.steps.start - 1:
            self._begin(clock)
        elif step == self.steps.stop - 1 and self._begun:
            self._open.close()
            self._keep()

    def close(self) -> None:
        """End the profile, if it goes on; a training that ends within it keeps none."""
        self._open.close()

    def _begin(self, clock: Clock) -> None:
        self._begun = True
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler prints that it starts and stops
        self._open.enter_context(clock.untimed())
        for name, module in {} if self._run.train_step.compiled else self._run.items.items():
            self._open.enter_context(_named(name, module))
        self._profile.start()
        self._open.callback(self._profile.stop)

    def _keep(self) -> None:
        """Write the trace and the profile into the run's folder."""
        run, steps = self._run, self.steps
        busy = sum(run.plan.evaluates_at(step) + bool(run.probes.at(step).probes) for step in steps)
        kinds = None if run.train_step.compiled else kinds_of(run.subject)
        self.profile = profile_of(self._profile.events(), kinds, steps, run.device, besides=busy)
        whole = self._folder / f".{TRACE}"
        self._profile.export_chrome_trace(str(whole))
        whole.replace(self._folder / TRACE)
        write_json(self._folder / PROFILE, asdict(self.profile))


def _activities(device: torch.device) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]


def _quiet_steps(run: TrainingRun, count: int, first: int) -> range:
    """Return the first `count` steps in a row from `first` on without an evaluation or a look; any where none are."""
    quiet, total = 0, run.plan.total_steps
    for step in range(first, min(first + _SEARCHED, total + 1)):
        quiet = 0 if run.plan.evaluates_at(step) or run.probes.at(step).probes else quiet + 1
        if quiet == count:
            return range(step - count + 1, step + 1)
    return range(first, min(first + count, total + 1))


@contextmanager
def _named(name: str, module: nn.Module) -> Iterator[None]:
    """Name each forward pass of a module in the trace until the context ends."""
    passes: list[record_function] = []

    def begin(module: nn.Module, inputs: Any) -> None:
        passes.append(record_function(name))
        passes[-1].__enter__()

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        passes.pop().__exit__(None, None, None)

    hooks = module.register_forward_pre_hook(begin), module.register_forward_hook(end)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def profile_of(
    events: Iterable[FunctionEvent],
    kinds: Mapping[str, str] | None,
    steps: range,
    device: torch.device,
    *,
    besides: int = 0,
) -> Profile:
    """Return what the operations among the events of some steps took.

    Args:
        events: of torch's profiler.
        kinds: what each item is for, by the name under which its forward pass is found; None where none is.
        steps: of the training, counted from 1.
        device: its time counts where it is a GPU, and else that of the processor.
        besides: evaluations and looks in these steps.
    """
    on_gpu = device.type == "cuda"
    called = [event for event in events if event.device_type == DeviceType.CPU]
    of = _kind_of(called, kinds or {})
    calls, times, in_norms = Counter[str](), defaultdict[str, float](float), defaultdict[str, float](float)
    by_kind = dict.fromkeys(ALL_KINDS, 0.0)
    for event in called:
        if event.name in (kinds or {}) or event.name.startswith(_OF_OPTIMIZER):
            continue  # no operation, but a name for several
        ms = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3
        kind = of(event)
        name = event.name.removeprefix(_BACKWARD)  # a node of the backward pass lies within what has its name, too
        calls[name] += name == event.name
        times[name] += ms
        by_kind[kind] += ms
        in_norms[name] += ms if kind == KINDS[0] else 0.0
    total = sum(times.values()) or 1.0
    operations = [
        Operation(
            name,
            calls[name] / len(steps),
            ms / len(steps),
            ms / total,
            None if kinds is None else in_norms[name] / (ms or 1.0),
        )
        for name, ms in sorted(times.items(), key=lambda pair: -pair[1])[:SHOWN]
    ]
    shares = None if kinds is None else {kind: ms / total for kind, ms in by_kind.items()}
    return Profile(steps.start, steps[-1], device.type, total / len(steps), shares, operations, besides)


def _kind_of(events: Sequence[FunctionEvent], kinds: Mapping[str, str]) -> Callable[[FunctionEvent], str]:
    """Return what tells which kind an event serves.

    An operation of the forward pass lies within the item that calls it. One of the backward pass lies within a node
    of the graph, which has the number of the operation that made it: of several with one number, the last.
    """
    forward: dict[int, str] = {}

    def kind_of(event: FunctionEvent) -> str:
        around: FunctionEvent | None = event
        while around is not None:
            if around.name in kinds:
                return kinds[around.name]
            if around.name.startswith(_OF_OPTIMIZER):
                return _OPTIMIZER
            if around.name.startswith(_BACKWARD):
                return forward.get(around.sequence_nr, OTHER)
            around = around.cpu_parent
        return OTHER

    for event in sorted(events, key=lambda event: float(event.time_range.start)):
        if event.sequence_nr >= 0 and event.scope != _SCOPE_OF_NODES and not event.name.startswith(_BACKWARD):
            forward[event.sequence_nr] = kind_of(event)
    return kind_of
