"""Steps that are recorded and repeated: here by a tape on the CPU, on a GPU in test_on_gpu.py."""

import dataclasses
import functools
import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnexp.config.items import ITEMS
from bnexp.config.plugin_code import Source
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError
from bnexp.measure.subject import Look
from bnexp.probes.norm_state import NormState
from bnexp.probes.probe import Reading
from bnexp.session import lockstep
from bnexp.session.signals import StopRequest
from bnexp.training import ahead, graph
from bnexp.training.ahead import Seen, Stretch
from bnexp.training.build import TrainingRun
from bnexp.training.cuda_graph import Work
from bnexp.training.device import Graphing, graphing
from bnexp.training.graph import WARM_UP, Graphed, Recorded, way_of
from bnexp.training.stacked import Stack
from bnexp.training.unseen import OneByOne, Stepped, figures_of, told
from bnexp.training.world import World
from kernels import kernels_of
from left_behind import LENGTH, NO_PROBES, STEPS, Change, Trained, Training, built, stacked, without_times

MakeConfig = Callable[..., Config]


class Tape(TorchDispatchMode):
    """Notes every operation with its tensors, and with the numbers of Python as they are at that moment.

    That is what a CUDA graph does. Repeated, the operations run on the same tensors, and write into the same results.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.noted.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def repeat(self) -> None:
        for function, args, kwargs, results in self.noted:
            for into, value in zip(tree_leaves(results), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(into, Tensor) and into.data_ptr() != value.data_ptr():
                    into.copy_(value)


class TapeRecorder:
    """Records on a tape, and counts."""

    def __init__(self) -> None:
        self.aside_of = self.recorded = self.repeated = 0

    def aside(self, work: Work) -> None:
        self.aside_of += 1
        work()

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        with Tape() as tape:
            work()
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            tape.repeat()

        return repeat


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stretches end where the config ends them, not the clock."""
    monkeypatch.setattr(ahead, "LONGEST_S", math.inf)


def on_tensors(run: TrainingRun) -> None:
    """Let the learning rate and the weight of the average be tensors, as on CUDA."""
    rate = torch.tensor(0.0)
    for group in run.train_step.optimizer.param_groups:
        group["lr"] = rate
    if run.train_step.average is not None:
        run.train_step.average.weight = torch.tensor(0.0)
    run.graph.tried = True


def graphed(config: Config, *changes: Change) -> tuple[Trained, TapeRecorder]:
    tape = TapeRecorder()
    run = built(config, on_tensors, *changes)
    return Trained(run, Graphed(run, tape, lambda text: None)), tape


@pytest.mark.parametrize("kind", STEPS)
def test_repeated_steps_leave_what_watched_ones_leave(make_config: MakeConfig, kind: str) -> None:
    """Full steps and the short one of each epoch, among rows, evaluations and checkpoints."""
    training = {**LENGTH, "steps": 32, **STEPS[kind].get("training", {})}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})
    watched = Trained(built(config, on_tensors))
    repeated, tape = graphed(config)
    assert repeated.left() == watched.left()
    assert repeated.run.graph == Graphing(tried=True, recorded=tape.recorded)
    assert tape.recorded == 2
    assert tape.aside_of == tape.recorded * WARM_UP
    taken_ahead = sum(last - first + 1 for first, last in repeated.stretches)
    assert tape.repeated == taken_ahead - tape.aside_of + 2, "each recording is tried once"


@pytest.mark.parametrize("kind", ["averaged", "augmented", "random", "accumulated"])
def test_several_steps_recorded_together_leave_what_watched_ones_leave(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Two at once, of the full steps alone; where the number of full ones between two rows is odd, one by itself."""
    monkeypatch.setattr(graph, "AT_ONCE", 2)
    training = {**LENGTH, "steps": 40, **STEPS[kind].get("training", {})}
    schedule = {"name": "cosine"}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES, "schedule": schedule})
    repeated, tape = graphed(config)
    assert repeated.left() == Trained(built(config, on_tensors)).left()
    assert tape.recorded == 3
    assert repeated.run.graph == Graphing(tried=True, recorded=2)


def test_where_several_steps_cannot_be_recorded_together_one_is(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "AT_ONCE", 2)
    config = make_config(training={**LENGTH, "steps": 40}, probes=NO_PROBES)
    recorder, told, run, record = TapeRecorder(), list[str](), built(config, on_tensors), Recorded.__init__

    def short_of_memory(recorded: Recorded, *given: Any) -> None:
        if len(given[3]) > 1:
            raise RuntimeError("out of memory")
        record(recorded, *given)

    monkeypatch.setattr(Recorded, "__init__", short_of_memory)
    repeated = Trained(run, Graphed(run, recorder, told.append))
    assert repeated.left() == Trained(built(config, on_tensors)).left()
    assert told == ["several steps at once are not recorded as a CUDA graph: out of memory"]
    assert run.graph == Graphing(tried=True, recorded=2)


@pytest.mark.parametrize("kind", ["momentum", "averaged", "augmented"])
def test_repeated_steps_of_stacked_runs_leave_what_theirs_leave(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    training = {**LENGTH, "steps": 32, **STEPS[kind].get("training", {})}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})

    def left(**options: Any) -> list[dict[str, Tensor]]:
        monkeypatch.setattr(lockstep, "Stack", functools.partial(Stack, **options))
        runs = [built(config.model_copy(update={"seed": seed}), on_tensors, not_recorded) for seed in range(3)]
        trainings = stacked([Training(run) for run in runs])
        assert [run.graph.recorded for run in runs] == [2 if options else 0] * 3
        return [training.state() for training in trainings]

    for repeated, taken in zip(left(recorder=(tape := TapeRecorder())), left(), strict=True):
        assert all(torch.equal(repeated[name], taken[name]) for name in taken)
    assert tape.recorded == 2
    assert tape.repeated > 16


def test_looks_at_stacked_runs_are_recorded_for_each(
    make_config: MakeConfig, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = {**NO_PROBES, **LOOKS, "histograms": {"every": 8}}
    config = make_config(training={**LENGTH, "steps": 40}, probes=probes)

    def rows_of_each(recorder: TapeRecorder | None) -> list[str]:
        monkeypatch.setattr(lockstep, "Stack", functools.partial(Stack, recorder=recorder))
        change = on_tensors if recorder else not_recorded
        runs = [built(config.model_copy(update={"seed": seed}), on_tensors, change) for seed in range(3)]
        trainings = stacked([Training(run) for run in runs])
        return [without_times(training.rows.rows) + str(training.rows.histograms_of) for training in trainings]

    assert rows_of_each(tape := TapeRecorder()) == rows_of_each(None)
    kinds = 4  # at full and at short steps, with histograms and without
    assert tape.recorded == 2 + 3 * kinds, "the step of the stack, full and short, and each run's looks"


def not_recorded(run: TrainingRun) -> None:
    run.graph.tried = False


def test_an_interrupted_and_moved_run_is_recorded_anew(make_config: MakeConfig) -> None:
    """A graph knows tensors by their places: where a weight has another one, it would read what is no weight now."""
    config = make_config(training={**LENGTH, "steps": 32}, probes=NO_PROBES)
    watched, tape = Trained(built(config, on_tensors)), TapeRecorder()
    run = built(config, on_tensors)
    take, moved = Graphed(run, tape, lambda text: None), list[int]()

    def moving(stretch: Stretch) -> Seen:
        if stretch.first > 20 and not moved:
            parameter = next(run.network.parameters())
            parameter.data = parameter.data.clone()
            moved.append(stretch.first)
        return take(stretch)

    assert Trained(run, moving).left() == watched.left()
    assert (moved, tape.recorded, run.graph.recorded) == ([21], 4, 2)


def test_repeated_steps_draw_on_after_a_look(make_config: MakeConfig) -> None:
    """A look puts the random streams back to where they were: to the very generators that a graph draws from."""
    probes = {**NO_PROBES, "gradients": {"every": 10}, "landscape": {"every": 10, "points": 2}}
    config = make_config(**STEPS["random"], training={**LENGTH, "steps": 40}, probes=probes)
    repeated, tape = graphed(config)
    assert repeated.left() == Trained(built(config, on_tensors)).left()
    assert tape.recorded == 2


LOOKS = {name: {"every": 4} for name in ("activations", "gradients", "updates", "norm_state")}


@pytest.mark.parametrize("kind", ["momentum", "random", "accumulated", "scaled"])
def test_a_recorded_look_reads_what_a_watched_one_reads(make_config: MakeConfig, as_on_a_gpu: None, kind: str) -> None:
    """Looks at a full step and at a short one, each with histograms or without, are kinds of their own."""
    training = {**LENGTH, "steps": 60, **STEPS[kind].get("training", {}), "log_every": 3}
    probes = {**NO_PROBES, **LOOKS, "histograms": {"every": 20}}
    config = make_config(**{**STEPS[kind], "training": training, "probes": probes})
    repeated, tape = graphed(config)
    assert repeated.left() == Trained(built(config, on_tensors)).left()
    assert repeated.run.graph == Graphing(tried=True, recorded=2)
    assert tape.recorded == 2 + 4
    looked_at = {last for _, last in repeated.stretches if last % 4 == 0}
    assert looked_at == {*range(4, 61, 4)}, "no look is watched but that of step 1"


def test_steps_that_are_not_finite_are_found_among_repeated_ones(
    make_config: MakeConfig, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One example is too large, once an epoch: among looks of both kinds, several steps at once, two batches a step."""
    monkeypatch.setattr(graph, "AT_ONCE", 2)

    def enlarged(run: TrainingRun) -> None:
        gather = run.batches.gather

        def gathered(places: Tensor, moves: Tensor | None) -> tuple[Tensor, Tensor]:
            x, y = gather(places, moves)
            return torch.where((places == 7).view(-1, 1, 1, 1), 1e38, x), y

        run.batches.gather = gathered  # type: ignore[method-assign]

    training = {**LENGTH, "steps": 40, "log_every": 7, "accumulate": 2, "ema": 0.9, "on_divergence": "skip_step"}
    probes = {**NO_PROBES, "gradients": {"every": 9}, "landscape": {"at": [13], "points": 2}}
    config = make_config(training=training, probes=probes, optimizer={"momentum": 0.9})
    repeated, tape = graphed(config, enlarged)
    assert repeated.left() == Trained(built(config, on_tensors, enlarged)).left()
    assert repeated.progress.skipped == math.ceil(40 / repeated.run.plan.steps_per_epoch)
    assert tape.repeated > 0


def test_where_a_look_cannot_be_recorded_the_steps_between_still_are(
    make_config: MakeConfig, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(training={**LENGTH, "steps": 40}, probes={**NO_PROBES, **LOOKS})
    told, recorder, run = list[str](), TapeRecorder(), built(config, on_tensors)
    measure = NormState.after_backward

    def deciding(probe: NormState, look: Look) -> Reading:
        random.random()
        return measure(probe, look)

    monkeypatch.setattr(NormState, "after_backward", deciding)
    monkeypatch.setattr(TrainingRun, "has_own_code", True)
    random.seed(1)
    repeated = Trained(run, Graphed(run, recorder, told.append)).left()
    assert told == ["looks of probes are not recorded as a CUDA graph: it draws random numbers on the CPU"]
    assert run.graph == Graphing(tried=True, recorded=2)
    random.seed(1)
    assert repeated == Trained(built(config, on_tensors)).left()


class Noisy(nn.Module):
    """Adds noise that a host decides on, or counts its calls in Python: what no recording can hold."""

    def __init__(self, decide: Callable[[], float]) -> None:
        super().__init__()
        self.decide = decide

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.decide()) if self.training else x


def with_noise(decide: Callable[[], float]) -> Change:
    def change(run: TrainingRun) -> None:
        run.items["block1.linear"].register_forward_hook(lambda module, inputs, output: Noisy(decide)(output))

    return change


class Broken(TapeRecorder):
    """Cannot record."""

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        work()
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        finally:
            raise RuntimeError("capture_end failed")


def test_stacked_runs_say_once_why_their_step_is_not_recorded(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockstep, "Stack", functools.partial(Stack, recorder=Broken()))
    config, notes = make_config(training=LENGTH, probes=NO_PROBES), list[str]()
    trainings = [Training(built(config.model_copy(update={"seed": seed}), on_tensors)) for seed in range(2)]
    ends: dict[int, object] = {}
    lockstep.train_together([one.course() for one in trainings], StopRequest(), ends.__setitem__, note=notes.append)  # type: ignore[misc]
    assert notes == ["the step is not recorded as a CUDA graph: operation not permitted when stream is capturing"]
    assert ends == {0: None, 1: None}


class Breaks(TapeRecorder):
    """Breaks off after so many operations."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> Work:
        recorder = self

        class Breaking(TorchDispatchMode):
            def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                recorder.left -= 1
                if recorder.left == 0:
                    raise RuntimeError("operation not permitted when stream is capturing")
                return function(*args, **(kwargs or {}))

        with Breaking():
            work()
        raise AssertionError("more operations than the step has")


@pytest.mark.parametrize("after", [30, 75, 110, 160])
def test_a_recording_that_breaks_off_leaves_nothing(make_config: MakeConfig, after: int) -> None:
    """In the first batch, the second, after the gradients were unscaled, in the optimizer."""
    training = {**LENGTH, **STEPS["scaled"]["training"], "accumulate": 2}
    config = make_config(**{**STEPS["scaled"], "training": training, "probes": NO_PROBES})
    run = built(config, on_tensors)
    broken = Trained(run, Graphed(run, Breaks(after), lambda text: None))
    assert run.graph.reason == "operation not permitted when stream is capturing"
    assert broken.left() == Trained(built(config, on_tensors)).left()


def calls() -> Callable[[], float]:
    counted = itertools.count()
    return lambda: 0.001 * next(counted)


@pytest.mark.parametrize(
    ("recorder", "decide", "reason"),
    [
        (Broken, float, "operation not permitted when stream is capturing"),
        (TapeRecorder, random.random, "it draws random numbers on the CPU"),
        (TapeRecorder, calls, "a repeated step leaves other bits than one that is taken"),
    ],
)
def test_what_cannot_be_recorded_is_taken_without_and_told_of_once(
    make_config: MakeConfig, recorder: type[TapeRecorder], decide: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingRun, "has_own_code", True)
    config = make_config(**STEPS["random"], training={**LENGTH, "steps": 32}, probes=NO_PROBES)
    told, tape = list[str](), recorder()
    random.seed(0)
    run = built(config, on_tensors, with_noise(decide() if decide is calls else decide))
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(True)
        try:
            repeated = Trained(run, Graphed(run, tape, told.append))
        finally:
            torch.use_deterministic_algorithms(False)
    assert run.graph == Graphing(tried=True, reason=reason)
    assert told == [f"the step is not recorded as a CUDA graph: {reason}"]
    if decide is not calls:
        random.seed(0)
        watched = Trained(built(config, on_tensors, with_noise(decide)))
        assert repeated.left() == watched.left()


def test_a_run_that_demands_a_graph_ends_where_there_can_be_none(make_config: MakeConfig) -> None:
    run = built(make_config(training=LENGTH, probes=NO_PROBES), on_tensors)
    run.graph.demanded = True
    with pytest.raises(BnexpError, match=r"training\.graph on: the step cannot be recorded .* expected auto or off"):
        Trained(run, Graphed(run, Broken(), lambda text: None))


def test_where_a_graph_is_tried(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    configs = {asked: make_config(training={"graph": asked}) for asked in ("auto", "on", "off")}
    assert graphing(configs["auto"], cuda) == Graphing(tried=True)
    assert graphing(configs["on"], cuda) == Graphing(tried=True, demanded=True)
    assert graphing(configs["off"], cuda) == graphing(configs["auto"], cpu) == Graphing()
    with pytest.raises(ConfigError, match=r"training\.graph on needs CUDA, found cpu; expected auto or off"):
        built(configs["on"])
    run, notes = built(configs["off"]), list[str]()
    assert isinstance(way_of(dataclasses.replace(run, device=cuda)), OneByOne)
    own = dataclasses.replace(ITEMS["bn"], source=Source("own.py"))
    monkeypatch.setitem(ITEMS, "bn", own)
    assert graphing(configs["on"], cuda) == Graphing(tried=True, demanded=True)
    untried, reason = graphing(configs["auto"], cuda), "the code of bn is not bnexp's, and may decide something anew"
    assert untried == Graphing(reason=f"{reason} at each step")
    assert way_of(run) is None
    on_cuda = dataclasses.replace(run, device=cuda, graph=untried)
    assert way_of(on_cuda, notes.append) is None
    assert notes == [f"the step is not recorded as a CUDA graph: {reason} at each step"]
    assert way_of(dataclasses.replace(on_cuda, world=World(0, 2, 0))) is None


def test_the_figures_of_ten_steps_are_as_many_operations_as_those_of_two() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = [torch.randn(8, 4, generator=draw) for _ in range(10)]
    labels = torch.arange(8) % 4
    steps = [Stepped(each.mean(), each, labels, [each.sum()]) for each in logits]
    expected = [[each.mean().item(), (each.argmax(1) == labels).sum().item(), each.sum().item()] for each in logits]
    assert torch.equal(figures_of(steps), torch.tensor(expected))
    assert torch.equal(told(steps[3]).figures, torch.tensor(expected[3]))
    assert kernels_of(lambda: figures_of(steps)) == kernels_of(lambda: figures_of(steps[:2]))
    assert kernels_of(lambda: figures_of(steps[:1])) < kernels_of(lambda: figures_of(steps[:2]))
