"""The training loop."""

from collections.abc import Callable
from typing import Protocol

from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from bnexp.data.parts import Part
from bnexp.measure.evaluation import Score, evaluate
from bnexp.measure.subject import Look
from bnexp.training.build import Experiment
from bnexp.training.clock import Clock
from bnexp.training.compiling import rehearse
from bnexp.training.guard import Guard
from bnexp.training.optimizer import learning_rate, set_learning_rate
from bnexp.training.progress import Progress


class StepDisplay(Protocol):
    """Shows how far a training has come."""

    def step(self, step: int, clock: Clock) -> None:
        """Hear that a step was taken; returns at once when there is nothing new to show."""


class StepCheckpointer(Protocol):
    """Writes checkpoints on the way."""

    def is_due(self, step: int) -> bool:
        """Tell whether a checkpoint is due after this step."""

    def save(self, progress: Progress) -> None:
        """Write it."""


def train(
    run: Experiment,
    progress: Progress,
    display: StepDisplay,
    checkpointer: StepCheckpointer | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train the network of an experiment from where it stands: to the end of its plan, or to its divergence.

    Args:
        run: the experiment.
        progress: how far it has come; holds afterwards what became of it.
        display: hears of every step.
        checkpointer: writes checkpoints on the way; that of the end, whatever brings it about, is the caller's.
        stop: tells after each step whether it is to be the last.
    """
    plan, training = run.plan, run.config.training
    clock, log, guard = progress.clock, progress.log, Guard(run, progress)
    run.network.train()
    for step in range(progress.steps + 1, plan.total_steps + 1):
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
        guard.before_forward()
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
            verdict = guard.judge(train_loss, x, step)
            if verdict != "skip":
                log.add(train_loss, logits, y)
        if verdict == "end":
            log.write(step, {"learning_rate/optimizer": lr}, readings, averages=True)
            break
        if verdict == "take":
            if training.grad_clip is not None:
                clip_grad_norm_(run.network.parameters(), training.grad_clip)
            run.scaler.step(run.optimizer)
        run.optimizer.zero_grad()
        progress.steps = step
        if looking:
            with clock.measuring():
                readings += [probe.after_step(look) for probe in looking]

        score = None
        if plan.evaluates_at(step):
            with clock.evaluating():
                score = score_of(run, run.dataset.val)
            progress.note_score(run, score)
        averages = step % training.log_every == 0 or step == plan.total_steps
        if averages or readings or score is not None:
            with clock.measuring():
                log.write(step, _figures(run, progress, lr), readings, averages=averages, score=score)
        display.step(step, clock)
        if guard.ends_after(step, score) or stop():
            break
        if checkpointer is not None and checkpointer.is_due(step):
            checkpointer.save(progress)


def score_of(run: Experiment, part: Part) -> Score:
    """Score the network as it is now on a part of its dataset."""
    return evaluate(run.network, run.dataset, part, run.config.data.eval_batch_size, run.precision)


def _figures(run: Experiment, progress: Progress, lr: float) -> dict[str, float]:
    """Return what a row says of the optimizer."""
    figures = {"learning_rate/optimizer": lr, **run.scaler.figures()}
    if run.config.training.on_divergence == "skip_step":
        figures["skipped_steps/optimizer"] = float(run.scaler.skipped + progress.skipped)
    return figures
