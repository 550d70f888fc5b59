"""Steps taken ahead are, bit for bit and row for row, those that the guard watches one at a time."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Rows as Written
from bnexp.session.checkpoint import restore_run, state_of
from bnexp.training import ahead
from bnexp.training.ahead import OneByOne
from bnexp.training.build import TrainingRun, build
from bnexp.training.loop import steps
from bnexp.training.optimizer import LossScaler
from bnexp.training.progress import Progress
from written_rows import CLOCKED, Rows

MakeConfig = Callable[..., Config]
Fault = Callable[[TrainingRun], None]
NO_PROBES = dict.fromkeys(PROBES, "off")
LENGTH = {"epochs": None, "steps": 20, "log_every": 5, "eval_every_epochs": 1.5}
"""Of 6 steps an epoch, the last of 4 examples: rows after 5, 10, 15 and 20, scores after 9 and 18."""


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stretches end where the config ends them, not the clock."""
    monkeypatch.setattr(ahead, "LONGEST_S", math.inf)


def built(config: Config, fault: Fault = lambda run: None) -> TrainingRun:
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    if config.training.precision == "bf16" and config.name == "scaled":  # torch's scaler runs on the CPU as well
        run.train_step.scaler = LossScaler("fp16", run.device)
    fault(run)
    return run


class Trained:
    """A training: watched, or ahead with the stretches that it had, and all that it left."""

    def __init__(
        self, run: TrainingRun, *, unseen: bool, state: dict[str, Any] | None = None, stop_at: int = 0
    ) -> None:
        self.run, self.rows, self.stretches, self.shown = run, Rows(), list[tuple[int, int]](), list[int]()
        self.saved = dict[int, dict[str, Any]]()
        self.progress = Progress.start(run, self.rows)
        if state is not None:
            restore_run(run, state)
            self.progress.load_state_dict(state["progress"], state["step"])
        take, stop = OneByOne(run), lambda: self.progress.steps >= stop_at > 0
        show: Callable[..., None] = lambda step, clock: self.shown.append(step)  # noqa: E731
        for stretch in steps(run, self.progress, show, self.save, stop, ahead=unseen):
            self.stretches.append((stretch.first, stretch.last))
            stretch.seen = take(stretch)

    def save(self, progress: Progress) -> None:
        if self.run.plan.regularly_at(progress.steps, 1):
            self.saved[progress.steps] = self.state()

    def state(self) -> dict[str, Any]:
        state = state_of(self.run, self.progress, Written(0, 0, ""))
        state["progress"] = {**state["progress"], "clock": None}
        return plain(state)

    def left(self) -> str:
        """Return all that it left but times, as text, so that nan equals nan."""
        rows = [{name: value for name, value in row.items() if not name.startswith(CLOCKED)} for row in self.rows.rows]
        divergence = self.progress.divergence and asdict(self.progress.divergence)
        ends = [self.progress.ended, self.progress.sound, divergence, self.progress.train.figures()]
        return json.dumps([rows, ends, self.saved, self.state()])


def plain(value: Any) -> Any:
    """Return a state with its tensors as the digests of their bits."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), hashlib.sha256(value.detach().contiguous().numpy()).hexdigest()
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def both(config: Config, fault: Fault = lambda run: None) -> tuple[Trained, Trained]:
    watched, unseen = (Trained(built(config, fault), unseen=unseen) for unseen in (False, True))
    assert not watched.stretches
    assert unseen.stretches
    assert unseen.left() == watched.left()
    return watched, unseen


STEPS = {
    "momentum": {"optimizer": {"momentum": 0.9, "weight_decay": 0.01}},
    "adam": {"optimizer": {"name": "adam", "lr": 0.01}},
    "clipped": {"training": {"grad_clip": 0.5}, "schedule": {"name": "cosine"}},
    "averaged": {"training": {"ema": 0.9}},
    "accumulated": {"training": {"accumulate": 2}},
    "random": {"model": {"block": "linear -> norm -> act -> dropout(p=0.5)", "norm": "noisy_bn"}},
    "augmented": {"data": {"augment": "shift"}, "model": {"norm": "batch_renorm"}},
    "bf16": {"training": {"precision": "bf16"}, "model": {"norm": "ln"}},
    "scaled": {"name": "scaled", "training": {"precision": "bf16", "ema": 0.9}, "model": {"norm": "none"}},
}


@pytest.mark.parametrize("policy", ["stop", "skip_step", "continue"])
@pytest.mark.parametrize("kind", STEPS)
def test_steps_taken_ahead_leave_what_watched_ones_leave(make_config: MakeConfig, kind: str, policy: str) -> None:
    training = {**LENGTH, **STEPS[kind].get("training", {}), "on_divergence": policy}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})
    _, unseen = both(config)
    if kind == "momentum":
        assert unseen.stretches == [(2, 5), (6, 6), (7, 9), (10, 10), (11, 12), (13, 15), (16, 18), (19, 20)]
        assert unseen.shown == [1, 5, 6, 9, 10, 12, 15, 18, 20]
    if kind == "scaled":
        assert unseen.run.train_step.scaler.scales


def test_steps_that_a_probe_looks_at_are_watched(make_config: MakeConfig) -> None:
    probes = {**NO_PROBES, "gradients": {"every": 4}, "updates": {"at": [11, 12]}}
    _, unseen = both(make_config(training=LENGTH, probes=probes))
    assert not {1, 4, 8, 11, 12, 16, 20} & {step for first, last in unseen.stretches for step in range(first, last + 1)}
    assert unseen.stretches[:3] == [(2, 3), (5, 5), (6, 6)]
    assert sum(last - first + 1 for first, last in unseen.stretches) == 13


def non_finite(where: str, *numbers: int) -> Fault:
    """Return what lets a training have values that are not finite at these steps, whenever and however they come."""

    def fault(run: TrainingRun) -> None:
        at, batches, drawn = run.batches.at, {n for step in numbers for n in run.plan.batches_of(step)}, [-1]

        def poisoned(number: int) -> tuple[Tensor, Tensor]:
            drawn[0] = number
            x, y = at(number)
            return (x * math.nan if where == "input" and number in batches else x), y

        def enlarged(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return output * 1e30 if module.training and drawn[0] in batches else None

        def infinite(gradient: Tensor) -> Tensor | None:
            return gradient * math.inf if drawn[0] in batches else None

        run.batches.at = poisoned  # type: ignore[method-assign]
        if where == "statistics":
            run.items["block1.linear"].register_forward_hook(enlarged)
        if where == "gradient":
            run.items["block2.linear"].weight.register_hook(infinite)

    return fault


@pytest.mark.parametrize("policy", ["stop", "skip_step", "continue"])
@pytest.mark.parametrize("where", ["input", "statistics", "gradient"])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 9, 20], ids="at step {}".format)
def test_a_step_that_is_not_finite_is_found_and_treated_as_if_watched(
    make_config: MakeConfig, step: int, where: str, policy: str
) -> None:
    """The first of a session; first, middle and last of a stretch; with an evaluation; the last of all."""
    config = make_config(training={**LENGTH, "on_divergence": policy, "ema": 0.9}, probes=NO_PROBES)
    watched, unseen = (Trained(built(config, non_finite(where, step)), unseen=unseen) for unseen in (False, True))
    assert unseen.left() == watched.left()
    progress = unseen.progress
    if (where, policy) != ("gradient", "stop") or step < 20:
        assert progress.divergence is not None
    if policy == "skip_step":
        assert (progress.skipped, progress.steps, progress.ended) == (1, 20, False)
    if policy == "continue" and where == "input":
        assert all(last < step or first <= step for first, last in unseen.stretches), "watched from there on"
    if policy == "stop" and where != "gradient":
        assert (progress.steps, progress.ended) == (step - 1, True)
