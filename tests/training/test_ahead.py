"""Steps taken ahead are, bit for bit and row for row, those that the guard watches one at a time."""

import copy
import itertools
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.probes.probe import NOTHING_MEASURED
from bnexp.session.display import LineDisplay
from bnexp.session.life import start
from bnexp.session.terms import Terms
from bnexp.training import ahead, loop
from bnexp.training.ahead import Ahead, Seen, Stretch
from bnexp.training.progress import Progress
from bnexp.training.unseen import OneByOne
from effort import long_but
from left_behind import LENGTH, NO_PROBES, STEPS, Change, Trained, built, non_finite, plain, without_times
from written_rows import Rows, final_weights, rows_of

MakeConfig = Callable[..., Config]
POLICIES = ["skip_step", "stop", "continue"]


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stretches end where the config ends them, not the clock."""
    monkeypatch.setattr(ahead, "LONGEST_S", math.inf)


def unwatched(config: Config, *changes: Change, state: Any = None, stop_at: int = 0) -> Trained:
    run = built(config, *changes)
    return Trained(run, OneByOne(run), state, stop_at)


class Transfers(TorchDispatchMode):
    """Notes what brings a value of a tensor to Python, or makes Python wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket.__name__ in (
            "_local_scalar_dense",
            "nonzero",
            "equal",
            "masked_select",
            "is_nonzero",
        ):
            self.noted.append(str(function))
        return function(*args, **(kwargs or {}))


def both(config: Config) -> tuple[Trained, Trained]:
    """Train watched and ahead, and see that nothing is brought to Python within a stretch, nor anything else left."""
    watched, run, transfers = Trained(built(config)), built(config), Transfers()
    take = OneByOne(run)

    def observed(stretch: Stretch) -> Seen:
        with transfers:
            return take(stretch)

    unseen = Trained(run, observed)
    assert not transfers.noted
    assert not watched.stretches
    assert unseen.stretches
    assert unseen.left() == watched.left()
    return watched, unseen


@pytest.mark.parametrize(("kind", "policy"), [*zip(STEPS, itertools.cycle(POLICIES), strict=False)])
def test_steps_taken_ahead_leave_what_watched_ones_leave(make_config: MakeConfig, kind: str, policy: str) -> None:
    training = {**LENGTH, **STEPS[kind].get("training", {}), "on_divergence": policy}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})
    _, unseen = both(config)
    if kind == "momentum":
        assert unseen.stretches == [(2, 5), (6, 6), (7, 9), (10, 10), (11, 12), (13, 15), (16, 18), (19, 20)]
        assert unseen.shown == [1, 5, 6, 9, 10, 12, 15, 18, 20]
    if kind == "scaled":
        assert unseen.run.train_step.scaler.scales


def test_a_stretch_ends_with_a_look_or_before_one_that_cannot_be_taken_ahead(
    make_config: MakeConfig, as_on_a_gpu: None
) -> None:
    looks = {name: {"every": 4} for name in ("activations", "gradients", "updates", "norm_state")}
    probes = {**NO_PROBES, **looks, "histograms": {"at": [2, 11, 12]}, "landscape": {"at": [8, 14], "points": 2}}
    _, unseen = both(make_config(training=LENGTH, probes=probes))
    assert unseen.stretches[:7] == [(3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (9, 9), (10, 10)]
    assert unseen.stretches[7:] == [(11, 11), (12, 12), (13, 13), (15, 15), (16, 16), (17, 18), (19, 20)]
    assert sorted(unseen.rows.histograms_of) == [2, 11, 12]


def test_a_look_taken_ahead_costs_what_its_stretch_takes_longer(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 2 s, looks of 7 s more, rows of 3 s: the first step is watched, in no time; looks at steps 8 and 16."""
    training = {**LENGTH, "log_every": 4}
    run = built(make_config(training=training, probes={**NO_PROBES, "gradients": {"every": 8}}))
    passed, rows, taker = [0.0], Rows(), OneByOne(run)
    write = rows.scalars
    rows.scalars = lambda step, values: (passed.append(passed.pop() + 3), write(step, values))[1]  # type: ignore[method-assign]
    progress = Progress.start(run, rows)
    progress.clock.__init__(now=lambda: passed[0])  # type: ignore[misc]
    monkeypatch.setattr(loop, "Ahead", partial(Ahead, now=lambda: passed[0]))
    for stretch in loop.steps(run, progress, ahead=True):
        stretch.seen = taker(stretch)
        passed[0] += 2 * len(stretch.steps) + 7 * any(stretch.seen.measured)
    assert progress.clock.measuring_s == pytest.approx(14 + 3 * len(rows.rows))
    assert progress.clock.total_s == pytest.approx(2 * 19 + 14 + 3 * len(rows.rows))
    assert [row["step_ms/train"] for row in rows.rows if row["step"] in (8, 12, 16, 20)] == [2000.0] * 4


def test_a_row_that_cannot_be_written_ends_its_own_run_not_what_takes_the_steps(make_config: MakeConfig) -> None:
    """Those of other runs may be among them."""
    run, rows = built(make_config(training={**LENGTH, "log_every": 4}, probes=NO_PROBES)), Rows()
    rows.scalars = lambda step, values: os.stat("missing")  # type: ignore[method-assign,assignment]
    course, taker = loop.steps(run, Progress.start(run, rows), ahead=True), OneByOne(run)
    for to in (4, 6):
        stretch = next(course)
        stretch.seen = taker(stretch)
        assert stretch.last == to
    with pytest.raises(FileNotFoundError):
        next(course)


def test_a_row_is_written_while_the_device_takes_the_next_stretch(make_config: MakeConfig) -> None:
    """Unless an evaluation or a checkpoint comes first; at the end none is missing."""
    run = built(make_config(training={**LENGTH, "log_every": 4}, probes=NO_PROBES))
    rows, taker, events = Rows(), OneByOne(run), list[str]()
    progress = Progress.start(run, rows)
    write = rows.scalars
    rows.scalars = lambda step, values: (events.append(f"row {step}"), write(step, values))[1]  # type: ignore[method-assign]
    for stretch in loop.steps(run, progress, ahead=True):
        meanwhile = stretch.meanwhile
        stretch.meanwhile = lambda meanwhile=meanwhile: (events.append("busy"), meanwhile())[1]  # type: ignore[misc]
        events.append(f"to {stretch.last}")
        stretch.seen = taker(stretch)
    assert events[:9] == ["to 4", "busy", "to 6", "busy", "row 4", "to 8", "busy", "to 9", "busy"]
    assert events[9:13] == ["row 8", "row 9", "to 12", "busy"]
    assert [row["step"] for row in rows.rows] == [4, 8, 9, 12, 16, 18, 20]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("where", ["input", "statistics", "gradient"])
@pytest.mark.parametrize("step", long_but([1, 2, 3, 5, 9, 20], 5))
def test_a_step_that_is_not_finite_is_found_and_treated_as_if_watched(
    make_config: MakeConfig, step: int, where: str, policy: str
) -> None:
    """The first of a session; first, middle and last of a stretch; with an evaluation; the last of all."""
    training = {**LENGTH, "on_divergence": policy, "ema": 0.9}
    sections = {"model": STEPS["random"]["model"], "optimizer": STEPS["momentum"]["optimizer"]}
    config = make_config(**sections, training=training, probes=NO_PROBES)
    fault = non_finite(where, step)
    watched, unseen = Trained(built(config, fault)), unwatched(config, fault)
    assert unseen.left() == watched.left()
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(unseen.stretches)), (
        "once ahead, then watched"
    )
    progress = unseen.progress
    if (where, policy) != ("gradient", "stop") or step < 20:
        assert progress.divergence is not None
    if policy == "skip_step":
        assert (progress.skipped, progress.steps, progress.ended) == (1, 20, False)
    if policy == "continue" and where == "input":
        assert all(last < step or first <= step for first, last in unseen.stretches), "watched from there on"
    if policy == "stop" and where != "gradient":
        assert (progress.steps, progress.ended) == (step - 1, True)


@pytest.mark.parametrize("policy", POLICIES)
def test_faults_at_looks_and_in_a_row_are_treated_as_if_watched(make_config: MakeConfig, policy: str) -> None:
    """Steps 4 and 12 are looked at; 9 and 10 follow each other over an evaluation and a row."""
    probes = {**NO_PROBES, "gradients": {"every": 4}}
    config = make_config(training={**LENGTH, "on_divergence": policy}, probes=probes)
    for steps in ((4,), (7, 9, 10, 12)):
        fault = non_finite("input", *steps)
        watched, unseen = Trained(built(config, fault)), unwatched(config, fault)
        assert unseen.left() == watched.left()
        assert unseen.progress.skipped == (len(steps) if policy == "skip_step" else 0)


def test_an_overflow_under_loss_scaling_is_skipped_as_if_watched(make_config: MakeConfig) -> None:
    config = make_config(**{**STEPS["scaled"], "training": {**LENGTH, "precision": "bf16", "ema": 0.9}})
    fault = non_finite("gradient", 3, 8)
    watched, unseen = Trained(built(config, fault)), unwatched(config, fault)
    assert unseen.left() == watched.left()
    scaler = unseen.run.train_step.scaler
    assert (scaler.skipped, scaler.figures()["loss_scale/optimizer"]) == (2, 2.0**14)
    assert unseen.run.train_step.average is not None
    assert unseen.run.train_step.average.steps == 18


@pytest.mark.parametrize("kind", ["adam", "random", "averaged", "scaled"])
def test_a_run_goes_on_from_the_middle_of_what_would_be_a_stretch(make_config: MakeConfig, kind: str) -> None:
    """Stopped by a signal after step 9, where a stretch ends, it is resumed ahead and watched."""
    training = {**LENGTH, **STEPS[kind].get("training", {})}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})
    whole, begun = Trained(built(config)), unwatched(config, stop_at=8)
    assert (begun.progress.steps, begun.progress.ended) == (9, False)
    stored = copy.deepcopy(begun.state())
    for resumed in (unwatched(config, state=begun.state()), Trained(built(config), state=stored)):
        assert plain(resumed.state()) == plain(whole.state())
        assert without_times(begun.rows.rows + resumed.rows.rows) == without_times(whole.rows.rows)


def test_a_stretch_takes_no_longer_than_half_a_second_by_the_pace_of_the_last(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    length = {"epochs": None, "steps": 2000, "log_every": 2000, "eval_every_epochs": 1000}
    run = built(make_config(training=length, checkpoints={"every_epochs": 1000}, probes=NO_PROBES))
    time, found = [0.0], list[int]()
    progress = Progress.start(run, Rows())
    unseen = Ahead(run, progress, now=lambda: time[0])
    progress.steps = 1
    for step_s in (0.2, 0.2, 0.01, 0.0001, 3.0, 3.0):
        stretch = unseen.stretch()
        assert stretch is not None
        found.append(len(stretch.steps))
        time[0] += step_s * len(stretch.steps)
        stretch.seen = Seen([0.5] * len(stretch.steps), [1.0] * len(stretch.steps), sound=True)
        assert unseen.accept(stretch) == NOTHING_MEASURED
        time[0] += 60.0  # an evaluation
    assert found == [10, 2, 2, 50, 500, 1]


def test_steps_that_are_to_be_watched_are_in_no_stretch(make_config: MakeConfig) -> None:
    """Such as those of a profile, whose hooks see no step of a recorded graph."""
    length = {"epochs": None, "steps": 40, "log_every": 40, "eval_every_epochs": 1000}
    run = built(make_config(training=length, checkpoints={"every_epochs": 1000}, probes=NO_PROBES))
    shown, ahead_of = list[int](), list[int]()
    show = lambda step, clock: shown.append(step)  # noqa: E731
    for stretch in loop.steps(run, Progress.start(run, Rows()), show, ahead=True, watched=range(12, 16)):
        ahead_of += stretch.steps
        stretch.seen = OneByOne(run)(stretch)
    assert ahead_of == [*range(2, 12), *range(16, 41)]
    assert set(range(11, 17)) - {16} <= set(shown)


def test_stretches_that_were_not_taken_are_refused(make_config: MakeConfig) -> None:
    run = built(make_config(training=LENGTH, probes=NO_PROBES))
    with pytest.raises(ValueError, match="steps 2 to 5 were not taken"):
        Trained(run, lambda stretch: Seen([0.5], [3.0], sound=True))


def test_a_whole_run_taken_ahead_leaves_the_same_folder(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the default looks, among which stretches lie, and the lines of a log."""
    blueprint = draw(make_config(training=LENGTH), tmp_path)
    folders, lines = list[Path](), list[list[str]]()
    for way in (None, OneByOne):
        monkeypatch.setattr(loop, "way_of", lambda run, note, way=way: way and way(run))
        said = list[str]()
        show = lambda name, plan, said=said: LineDisplay("run", plan, said.append)  # noqa: E731
        folders.append(start(blueprint, Terms(tmp_path, device="cpu", show=show)).folder)
        lines.append([line.partition("  ETA")[0].partition(" examples/s")[0].rpartition("  ")[0] for line in said])
    assert rows_of(folders[0]) == rows_of(folders[1])
    assert lines[0] == lines[1]
    assert len(lines[0]) >= 3
    expected = final_weights(folders[0])
    assert all(torch.equal(value, expected[name]) for name, value in final_weights(folders[1]).items())
