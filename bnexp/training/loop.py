"""The training loop."""

from collections.abc import Callable, Sequence

from bnexp.measure.evaluation import Score
from bnexp.measure.subject import Look
from bnexp.probes.probe import Reading
from bnexp.training.build import TrainingRun
from bnexp.training.clock import Clock
from bnexp.training.divergence import Guard
from bnexp.training.evaluation import averaged_row, averaged_scores, evaluating, score_of
from bnexp.training.optimizer import set_learning_rate
from bnexp.training.progress import Progress


def train(
    run: TrainingRun,
    progress: Progress,
    show: Callable[[int, Clock], None] = lambda step, clock: None,
    save_if_due: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train the network of a run from where it stands to the end of its plan, or to its divergence.

    Args:
        run: the network, its data and its optimizer.
        progress: the state of the training; updated at each step.
        show: takes note of each finished step.
        save_if_due: writes the checkpoints during the training; the caller writes the one at its end.
        stop: returns True to make the step just taken the last.
    """
    plan, train_step = run.plan, run.train_step
    clock, log, guard = progress.clock, progress.log, Guard(run, progress)
    run.network.train()
    for step in range(progress.steps + 1, plan.total_steps + 1):
        lr = set_learning_rate(train_step.optimizer, run.learning_rate(step))
        guard.before_forward()
        x, y = run.last_batch(step)  # (B, C, H, W), (B,)
        look, due = Look(run.subject, step, lr, x, y), run.probes.at(step, clock.measuring)

        due.before(look)
        logits, labels, loss = train_step.gradients(x, y)  # (N, classes), (N,), () of all its batches
        readings = due.after_backward(look)
        with clock.measuring():
            # The one transfer of every step to Python: a step from a non-finite loss would poison every weight, and
            # with them the trace to the layer where it began.
            train_loss, statistics_finite = guard.transfer(loss)
            decision = guard.decide(train_loss, statistics_finite, x, step)
        match decision:
            case "take":
                log.add(train_loss, logits, labels)
                train_step.update()
            case "skip":
                train_step.skip()
            case "end":
                log.add(train_loss, logits, labels)
                log.write(step, {"learning_rate/optimizer": lr}, readings, averages=True)
                break
        progress.steps = step
        readings += due.after_step(look)

        score, averaged = _evaluate(run, progress) if plan.evaluates_at(step) else (None, {})
        _write_row(run, progress, lr, readings, score, averaged)
        show(step, clock)
        if guard.ends_after(step, score) or stop():
            break
        save_if_due(progress)


def _evaluate(run: TrainingRun, progress: Progress) -> tuple[Score, dict[str, float]]:
    """Score the validation part after the step just taken, with averaged weights too where there are any."""
    with evaluating(progress.clock):
        score, averaged = score_of(run, run.dataset.val), averaged_row(averaged_scores(run, ["val"]))
    progress.note_score(run, score)
    return score, averaged


def _write_row(
    run: TrainingRun,
    progress: Progress,
    lr: float,
    readings: Sequence[Reading],
    score: Score | None,
    averaged: dict[str, float],
) -> None:
    """Write the row of the step just taken, where averages are due or there is a reading or a score."""
    step, training, scaler = progress.steps, run.config.training, run.train_step.scaler
    averages = step % training.log_every == 0 or step == run.plan.total_steps
    if not (averages or readings or score is not None):
        return
    figures = {"learning_rate/optimizer": lr, **scaler.figures()}
    if training.on_divergence == "skip_step":
        figures["skipped_steps/optimizer"] = float(scaler.skipped + progress.skipped)
    progress.log.write(step, figures, readings, averages=averages, score=score, averaged=averaged)
