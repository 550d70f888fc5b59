"""The progress of a training: all of its state beside the network, the optimizer and the loss scaling."""

import math
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, get_type_hints

from torch import Tensor

from bnexp.measure.evaluation import Score
from bnexp.measure.machine import Marks, synchronize
from bnexp.measure.restore import copy_of_weights
from bnexp.runs.rows import Writer
from bnexp.training.build import TrainingRun
from bnexp.training.clock import Clock
from bnexp.training.log import StepLog
from bnexp.training.state import OrAbsent, form_of_type, from_plain, to_plain


@dataclass(frozen=True)
class Divergence:
    """The first values of a training that were not finite.

    The step, counted from 1, is that of the non-finite loss, or the one after which the validation part gave none.
    """

    step: int
    epoch: float
    layer: str  # the first that was not finite, or `loss` where all outputs still were
    quantity: str  # found there, such as `output`, `weight` or `gradient`
    poisoned: tuple[str, ...] = ()  # the buffers that the passes until then left without finite values


@dataclass(frozen=True)
class Evaluated:
    """A score on the validation part, and after which step it was taken."""

    step: int
    score: Score


@dataclass(frozen=True)
class Best:
    """The best evaluation, with a copy of the weights that reached it."""

    evaluated: Evaluated
    weights: dict[str, Tensor]


@dataclass
class Progress:
    """The state of a training, at its end or before."""

    log: StepLog
    clock: Clock
    steps: int = 0  # done, skipped ones among them
    skipped: int = 0  # for what was not finite, beside those that loss scaling skipped
    skipped_in_a_row: int = 0  # since the last step that was taken
    last: Evaluated | None = None
    best: Best | None = None  # by accuracy, the earliest of equals
    divergence: Divergence | None = None
    sound: bool = True  # whether its values are finite, by the last evaluation or the step that ended the run
    ended: bool = False  # whether a divergence ended it before its plan

    @classmethod
    def start(cls, run: TrainingRun, writer: Writer) -> "Progress":
        """Return the state of a training that begins now, whose rows go to the writer."""
        kind = run.device.type
        wait = _wait_for_nothing if kind == "cpu" else partial(synchronize, run.device)
        clock = Clock(wait=wait, marks=Marks(run.device) if kind == "cuda" else None)
        return cls(StepLog(run.plan, writer, clock), clock)

    @property
    def diverged(self) -> bool:
        """Whether its values became non-finite and stayed so."""
        return self.divergence is not None and not self.sound

    @property
    def train(self) -> Score:
        """Loss and accuracy over the training batches of the last epoch (of all steps, where there were fewer)."""
        return self.log.last_epoch()

    def note_score(self, run: TrainingRun, score: Score) -> None:
        """Keep the evaluation after the last step, and a copy of the weights where it is the best."""
        self.last = Evaluated(self.steps, score)
        if math.isfinite(score.loss) and (self.best is None or score.accuracy > self.best.evaluated.score.accuracy):
            self.best = Best(self.last, copy_of_weights(run.network))
            if run.train_step.average is not None:
                run.train_step.average.keep_best()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the number of steps, under which a checkpoint stands."""
        values = {name: to_plain(getattr(self, name)) for name in _value_types()}
        return {"log": self.log.state_dict(), "clock": self.clock.state_dict(), **values}

    def load_state_dict(self, state: dict[str, Any], steps: int) -> None:
        """Resume from the state after so many steps."""
        self.steps = steps
        self.log.load_state_dict(state["log"])
        self.clock.load_state_dict(state["clock"])
        for name, kind in _value_types().items():
            setattr(self, name, from_plain(kind, state[name]))

    def state_form(self) -> dict[str, Any]:
        """Return what a stored state may be."""
        values = {name: form_of_type(kind) for name, kind in _value_types().items()}
        clock = {**self.clock.state_dict(), "untimed_steps": OrAbsent(0)}
        return {"log": self.log.state_form(), "clock": clock, **values}


def _wait_for_nothing() -> None:
    """Return at once: on the CPU work is done as it returns."""


def _value_types() -> dict[str, Any]:
    """Return the fields of `Progress` that are plain values or records of them, with their types."""
    hints = get_type_hints(Progress)
    return {field.name: hints[field.name] for field in fields(Progress) if field.name not in ("log", "clock", "steps")}
