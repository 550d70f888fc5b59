"""Trainings, watched or taken ahead, and all that they leave behind: rows, checkpoints, ends."""

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.data.batches import Drawn
from bnexp.measure.restore import weights_of
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Rows as Written
from bnexp.session.checkpoint import restore_run, state_of
from bnexp.session.lockstep import train_together
from bnexp.session.signals import StopRequest
from bnexp.training.ahead import Stretch, Take
from bnexp.training.build import TrainingRun, build
from bnexp.training.loop import steps
from bnexp.training.optimizer import LossScaler, begin_momentum
from bnexp.training.progress import Progress
from bnexp.training.unseen import OneByOne
from written_rows import CLOCKED, Rows

Change = Callable[[TrainingRun], object]
NO_PROBES = dict.fromkeys(PROBES, "off")
LENGTH = {"epochs": None, "steps": 20, "log_every": 5, "eval_every_epochs": 1.5}
"""Of 6 steps an epoch, the last of 4 examples: rows after 5, 10, 15 and 20, scores after 9 and 18."""
STEPS = {
    "momentum": {"optimizer": {"momentum": 0.9, "weight_decay": 0.01}},
    "adam": {
        "optimizer": {"name": "adam", "lr": 0.01},
        "training": {"grad_clip": 0.5},
        "schedule": {"name": "cosine"},
    },
    "averaged": {"training": {"ema": 0.9}},
    "accumulated": {"training": {"accumulate": 2, "precision": "bf16"}, "model": {"norm": "ln"}},
    "random": {"model": {"block": "linear -> norm -> act -> dropout(p=0.5)", "norm": "noisy_bn"}},
    "augmented": {"data": {"augment": "shift"}, "model": {"norm": "batch_renorm"}},
    "scaled": {"name": "scaled", "training": {"precision": "bf16", "ema": 0.9}, "model": {"norm": "none"}},
}


def built(config: Config, *changes: Change, device: str = "cpu") -> TrainingRun:
    """Return a run with some changes."""
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device=device)
    if config.training.precision == "bf16" and config.name == "scaled":  # torch's scaler runs on the CPU as well
        run.train_step.scaler = LossScaler("fp16", run.device)
        begin_momentum(run.train_step.optimizer)
    for change in changes:
        change(run)
    return run


class Training:
    """A run in memory with its rows, as a course of stretches."""

    def __init__(self, run: TrainingRun) -> None:
        self.run, self.rows = run, Rows()
        self.progress = Progress.start(run, self.rows)

    def course(self, *, until: int = 0) -> Iterator[Stretch]:
        return steps(self.run, self.progress, stop=lambda: self.progress.steps >= until > 0, ahead=True, alone=False)

    def alone(self) -> "Training":
        for stretch in self.course():
            stretch.seen = OneByOne(self.run)(stretch)
        return self

    def state(self) -> dict[str, Tensor]:
        """Return all that the steps moved."""
        step, found = self.run.train_step, dict(weights_of(self.run.network))
        for number, state in step.optimizer.state_dict()["state"].items():
            found |= {f"{number}.{name}": value for name, value in state.items() if value is not None}
        return found | dict(enumerate(step.average.weights if step.average else []))


def stacked(trainings: Sequence[Training], **options: Any) -> Sequence[Training]:
    def ended(number: int, outcome: object) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        trainings[number].progress.clock.stop()

    train_together([training.course() for training in trainings], StopRequest(), ended, **options)  # type: ignore[misc]
    return trainings


class Trained:
    """A training, watched where there is no way to take its stretches, and all that it left."""

    def __init__(self, run: TrainingRun, take: Take | None = None, state: Any = None, stop_at: int = 0) -> None:
        self.run, self.rows, self.stretches, self.shown = run, Rows(), list[tuple[int, int]](), list[int]()
        self.saved = dict[int, dict[str, Any]]()
        self.progress = Progress.start(run, self.rows)
        if state is not None:
            restore_run(run, state)
            self.progress.load_state_dict(state["progress"], state["step"])
        stop: Callable[[], bool] = lambda: self.progress.steps >= stop_at > 0  # noqa: E731
        for stretch in steps(run, self.progress, self.show, self.save, stop, ahead=take is not None):
            self.stretches.append((stretch.first, stretch.last))
            stretch.seen = take(stretch) if take else None

    def show(self, step: int, clock: object) -> None:
        self.shown.append(step)

    def save(self, progress: Progress) -> None:
        if self.run.plan.regularly_at(progress.steps, 2):
            self.saved[progress.steps] = copy.deepcopy(self.state())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint would hold now."""
        return state_of(self.run, self.progress, Written(0, 0, ""))

    def left(self) -> str:
        """Return all that it left but times, as text, so that nan equals nan."""
        divergence = self.progress.divergence and asdict(self.progress.divergence)
        ends = [self.progress.ended, self.progress.sound, divergence, self.progress.train.figures()]
        rows = [without_times(self.rows.rows), str(self.rows.histograms_of)]
        return json.dumps([*rows, ends, *map(plain, [*self.saved.values(), self.state()])])


def without_times(rows: list[dict[str, float]]) -> str:
    """Return rows as text (so that nan equals nan), without what time and memory were measured."""
    return json.dumps([{key: value for key, value in row.items() if not key.startswith(CLOCKED)} for row in rows])


def plain(value: Any) -> Any:
    """Return a state with its tensors as the digests of their bits."""
    if isinstance(value, Tensor):
        return (
            str(value.dtype),
            tuple(value.shape),
            hashlib.sha256(value.detach().cpu().contiguous().numpy()).hexdigest(),
        )
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items() if key != "clock"}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def non_finite(where: str, *numbers: int) -> Change:
    """Return what lets a training have values that are not finite at these steps, whenever and however they come."""

    def fault(run: TrainingRun) -> None:
        draw, gather, drawn = run.batches.draw, run.batches.gather, [-1]
        batches = {number for step in numbers for number in run.plan.batches_of(step)}

        def noted(number: int) -> Drawn:
            drawn[0] = number
            return draw(number)

        def poisoned(index: Tensor, moves: Tensor | None) -> tuple[Tensor, Tensor]:
            x, y = gather(index, moves)
            return (x * math.nan if where == "input" and drawn[0] in batches else x), y

        def enlarged(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return output * 1e30 if module.training and drawn[0] in batches else None

        def infinite(gradient: Tensor) -> Tensor | None:
            return gradient * math.inf if drawn[0] in batches else None

        run.batches.draw, run.batches.gather = noted, poisoned  # type: ignore[method-assign]
        if where == "statistics":
            run.items["block1.linear"].register_forward_hook(enlarged)
        if where == "gradient":
            run.items["block2.linear"].weight.register_hook(infinite)

    return fault
