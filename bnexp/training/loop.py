"""The training loop."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from bnexp.data.images import Part
from bnexp.probes.evaluation import Score, evaluate
from bnexp.probes.machine import synchronize
from bnexp.probes.probe import Look
from bnexp.store.writers import Writer
from bnexp.training.build import Experiment
from bnexp.training.clock import Clock
from bnexp.training.compiling import rehearse
from bnexp.training.display import Display
from bnexp.training.divergence import Divergence, buffers_are_finite, find_divergence
from bnexp.training.log import StepLog
from bnexp.training.optimizer import set_learning_rate
from bnexp.training.scaling import MOST_SKIPS_IN_A_ROW
from bnexp.training.schedule import learning_rate
from bnexp.training.weights import copy_of_weights


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


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        steps: steps taken.
        train: loss and accuracy over the training batches of the last epoch (of all steps, where there were fewer).
        last: the last evaluation on the validation part, or None before the first.
        best: the evaluation with the highest accuracy, the earliest of equals.
        divergence: where it left the finite numbers, or None.
        clock: where the time went.
    """

    steps: int
    train: Score
    last: Evaluated | None
    best: Best | None
    divergence: Divergence | None
    clock: Clock


def train(run: Experiment, writer: Writer, display: Display) -> Outcome:
    """Train the network of an experiment to the end of its plan, or to its divergence."""
    plan, training = run.plan, run.config.training
    clock = Clock(wait=lambda: synchronize(run.device))
    log = StepLog(plan, writer, clock)
    last: Evaluated | None = None
    best: Best | None = None
    divergence: Divergence | None = None
    taken = 0
    run.network.train()
    for step in range(1, plan.total_steps + 1):
        lr = learning_rate(run.config.schedule, run.config.optimizer.lr, step - 1, plan)
        set_learning_rate(run.optimizer, lr)
        x, y = run.batches.at(step - 1)  # (B, C, H, W), (B,)

        look, looking = Look(run.subject, step, lr, x, y), run.probes.due(step)
        if looking:
            with clock.measuring():
                for probe in looking:
                    probe.before(look)
                if run.compiled and any(probe.watches for probe in looking):
                    rehearse(run, x)
        with run.precision:
            logits = run.forward(x)  # (B, classes)
        loss = functional.cross_entropy(logits.float(), y)  # ()
        run.scaler.backward(loss)
        run.scaler.unscale(run.optimizer)
        with clock.measuring():
            readings = [probe.after_backward(look) for probe in looking]
            # The one figure that every step brings to Python: a step from a non-finite loss would poison every
            # weight, and with them the trace to the layer where it began.
            train_loss = loss.item()
            log.add(train_loss, logits, y)
        if not math.isfinite(train_loss):
            divergence = find_divergence(run, x, step)
            log.write(step, {"learning_rate/optimizer": lr}, readings, averages=True)
            break
        if training.grad_clip is not None:
            clip_grad_norm_(run.network.parameters(), training.grad_clip)
        run.scaler.step(run.optimizer)
        run.optimizer.zero_grad()
        taken = step
        if looking:
            with clock.measuring():
                readings += [probe.after_step(look) for probe in looking]

        score = None
        if plan.evaluates_at(step):
            with clock.evaluating():
                score = score_of(run, run.dataset.val)
            last = Evaluated(step, score)
            if math.isfinite(score.loss) and (best is None or score.accuracy > best.evaluated.score.accuracy):
                best = Best(last, copy_of_weights(run.network))
        averages = step % training.log_every == 0 or step == plan.total_steps
        if averages or readings or score is not None:
            with clock.measuring():
                figures = {"learning_rate/optimizer": lr, **run.scaler.figures()}
                log.write(step, figures, readings, averages=averages, score=score)
        display.step(step, clock)
        if score is not None and not (math.isfinite(score.loss) and buffers_are_finite(run.network)):
            divergence = find_divergence(run, run.dataset.val_inputs(plan.batch_size), step, inference=True)
            break
        if run.scaler.skipped_in_a_row > MOST_SKIPS_IN_A_ROW:
            divergence = Divergence(step, plan.epoch_at(step), "loss scaling", "gradient")
            break
    return Outcome(taken, log.last_epoch(), last, best, divergence, clock)


def score_of(run: Experiment, part: Part) -> Score:
    """Score the network as it is now on a part of its dataset."""
    return evaluate(run.network, run.dataset, part, run.config.data.eval_batch_size, run.precision)
