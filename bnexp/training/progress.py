"""How far a training has come: all of its state beside the network, the optimizer and the loss scaling."""

import math
from dataclasses import dataclass

from torch import Tensor

from bnexp.measure.evaluation import Score
from bnexp.measure.machine import synchronize
from bnexp.measure.weights import copy_of_weights
from bnexp.runs.rows import Writer
from bnexp.training.build import Experiment
from bnexp.training.clock import Clock
from bnexp.training.divergence import Divergence
from bnexp.training.log import StepLog


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
    """What a training has come to, at its end or on the way there.

    Attributes:
        log: collects the figures of the steps, and writes the rows.
        clock: where the time went.
        steps: steps done, those left out among them.
        skipped: steps left out for a loss or a gradient that was not finite, beside those that loss scaling left out.
        skipped_in_a_row: those among them since the last step that was taken.
        last: the last evaluation on the validation part, or None before the first.
        best: the evaluation with the highest accuracy, the earliest of equals.
        divergence: where it first left the finite numbers, or None.
        sound: whether it is within them now, by the last evaluation or the step that ended the run.
        ended: whether a divergence ended it before its plan.
    """

    log: StepLog
    clock: Clock
    steps: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    last: Evaluated | None = None
    best: Best | None = None
    divergence: Divergence | None = None
    sound: bool = True
    ended: bool = False

    @classmethod
    def start(cls, run: Experiment, writer: Writer) -> "Progress":
        """Return that of a training that begins now, whose rows go to the writer."""
        clock = Clock(wait=lambda: synchronize(run.device))
        return cls(StepLog(run.plan, writer, clock), clock)

    @property
    def diverged(self) -> bool:
        """Whether it left the finite numbers for good."""
        return self.divergence is not None and not self.sound

    @property
    def train(self) -> Score:
        """Loss and accuracy over the training batches of the last epoch (of all steps, where there were fewer)."""
        return self.log.last_epoch()

    def note_score(self, run: Experiment, score: Score) -> None:
        """Take the evaluation after the last step, and keep the weights where it is the best."""
        self.last = Evaluated(self.steps, score)
        if math.isfinite(score.loss) and (self.best is None or score.accuracy > self.best.evaluated.score.accuracy):
            self.best = Best(self.last, copy_of_weights(run.network))
