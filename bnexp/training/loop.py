"""The training loop."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from bnexp.data.images import Part
from bnexp.store.writers import Writer
from bnexp.training.build import Experiment
from bnexp.training.clock import Clock
from bnexp.training.display import Display
from bnexp.training.divergence import Divergence, first_non_finite
from bnexp.training.evaluation import Score, evaluate, inference_mode_of
from bnexp.training.log import StepLog
from bnexp.training.optimizer import set_learning_rate
from bnexp.training.schedule import learning_rate


@dataclass(frozen=True)
class Evaluated:
    """A score on the validation part, and when it was taken."""

    step: int
    score: Score


@dataclass(frozen=True)
class Best(Evaluated):
    """The best score on the validation part, with a copy of the weights that reached it."""

    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        steps: steps taken.
        train: loss and accuracy on the training batches since the last but one evaluation (an epoch, by default).
        last: the last evaluation on the validation part, or None before the first.
        best: the evaluation with the highest accuracy, the earliest of equals, with its weights.
        divergence: where it left the finite numbers, or None.
        clock: where the time went.
    """

    steps: int
    train: Score | None
    last: Evaluated | None
    best: Best | None
    divergence: Divergence | None
    clock: Clock


def train(run: Experiment, writer: Writer, display: Display) -> Outcome:
    """Train the network of an experiment to the end of its plan, or to its divergence."""
    plan, training = run.plan, run.config.training
    clock = Clock()
    log = StepLog(plan, writer, clock)
    last: Evaluated | None = None
    best: Best | None = None
    divergence: Divergence | None = None
    run.network.train()
    for step in range(1, plan.total_steps + 1):
        lr = learning_rate(run.config.schedule, run.config.optimizer.lr, step - 1, plan)
        set_learning_rate(run.optimizer, lr)
        x, y = run.batches.at(step - 1)  # (B, C, H, W), (B,)

        looking = [probe for probe in run.probes if step == 1 or step % probe.every == 0]
        with clock.measuring():
            for probe in looking:
                probe.before(run.items)
        with run.precision:
            logits = run.network(x)  # (B, classes)
            loss = functional.cross_entropy(logits, y)  # ()
        run.scaler.scale(loss).backward()
        run.scaler.unscale_(run.optimizer)
        with clock.measuring():
            readings = [probe.after(run.items) for probe in looking]
            log.add(loss, logits, y)

        # The one figure that every step brings to Python: a step from a non-finite loss would poison every weight,
        # and with them the trace to the layer where it began.
        if not math.isfinite(loss.item()):
            divergence = locate(run, x, step)
            log.write(step, lr, readings, averages=True, score=None)
            break
        if training.grad_clip is not None:
            clip_grad_norm_(run.network.parameters(), training.grad_clip)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.optimizer.zero_grad()

        score = None
        if plan.evaluates_at(step):
            with clock.evaluating():
                score = score_of(run, run.dataset.val)
            last = Evaluated(step, score)
            if best is None or score.accuracy > best.score.accuracy:
                best = Best(step, score, copy_of_weights(run))
        averages = step % training.log_every == 0 or score is not None
        if averages or readings:
            with clock.measuring():
                log.write(step, lr, readings, averages=averages, score=score)
        display.step(step, clock)
        if score is not None and not math.isfinite(score.loss):
            with inference_mode_of(run.network):
                divergence = locate(run, run.dataset.inputs(run.dataset.val.images[: plan.batch_size]), step)
            break
    return Outcome(step, log.train_score, last, best, divergence, clock)


def score_of(run: Experiment, part: Part) -> Score:
    """Score the network as it is now on a part of its dataset."""
    return evaluate(run.network, run.dataset, part, run.config.data.eval_batch_size, run.precision)


def copy_of_weights(run: Experiment) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer; later steps do not change it."""
    state = {**dict(run.network.named_parameters()), **dict(run.network.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in state.items()}


@torch.no_grad()
def put_weights(run: Experiment, weights: dict[str, Tensor]) -> None:
    """Give the network the weights of `copy_of_weights`."""
    for name, tensor in {**dict(run.network.named_parameters()), **dict(run.network.named_buffers())}.items():
        tensor.copy_(weights[name])


def locate(run: Experiment, x: Tensor, step: int) -> Divergence:
    """Say where the network first is not finite for the batch x."""
    with run.precision:
        layer, quantity = first_non_finite(run.network, x)
    return Divergence(step, run.plan.epoch_at(step), layer, quantity)
