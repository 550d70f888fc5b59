"""The training loop: `steps` takes each step watched, or lets whoever drives it take some ahead, and writes rows."""

from collections.abc import Callable, Collection, Iterator, Sequence

from bnexp.measure.evaluation import Score
from bnexp.measure.subject import Look
from bnexp.probes.probe import NOTHING_MEASURED, Measured, Reading, measured_from, numbers_in
from bnexp.probes.registry import Due
from bnexp.training.ahead import Ahead, Stretch
from bnexp.training.build import TrainingRun
from bnexp.training.clock import Clock
from bnexp.training.divergence import Guard
from bnexp.training.evaluation import averaged_row, averaged_scores, evaluating, score_of
from bnexp.training.graph import way_of
from bnexp.training.optimizer import set_learning_rate
from bnexp.training.progress import Progress

AT_ONCE = 64
"""Steps of which `Agenda` works out at once what is to be done, where none is taken ahead."""


def train(
    run: TrainingRun,
    progress: Progress,
    show: Callable[[int, Clock], None] = lambda step, clock: None,
    save_if_due: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
    watched: Collection[int] = (),
) -> None:
    """Train the network of a run from where it stands to the end of its plan, or to its divergence.

    Args:
        run: the network, its data and its optimizer.
        progress: the state of the training; updated at each step.
        show: takes note of each finished step, and of the last of those that were taken ahead.
        save_if_due: writes the checkpoints during the training; the caller writes the one at its end.
        stop: returns True to make the step just taken the last.
        note: is told, once, what could not be recorded as a CUDA graph, and why.
        watched: steps that are taken one at a time, and shown before the next, whatever is taken ahead.
    """
    take = way_of(run, note)
    for stretch in steps(run, progress, show, save_if_due, stop, ahead=take is not None, watched=watched):
        stretch.seen = take(stretch) if take else None


def steps(
    run: TrainingRun,
    progress: Progress,
    show: Callable[[int, Clock], None] = lambda step, clock: None,
    save_if_due: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    *,
    ahead: bool,
    alone: bool = True,
    watched: Collection[int] = (),
) -> Iterator[Stretch]:
    """Train as `train` does, and yield each stretch of steps that is to be taken ahead, by whoever drives it.

    Every other step is taken here, watched; rows, evaluations and checkpoints are made here, too.

    ahead       whether steps are taken ahead: see `Stretch` for what whoever takes them does
    alone       whether no other runs are driven with it; where some are, their stretches are taken together, to the
                nearest `last`, and a step that a probe looks at is a stretch of its own, or is taken here
    """
    guard, lookahead, total = Guard(run, progress), Ahead(run, progress, watched, alone=alone), run.plan.total_steps
    agenda = Agenda(run, progress.clock, at_once=1 if ahead else AT_ONCE)
    later = ahead and (alone or run.device.type != "cpu")  # a row is written while the device takes the next steps
    run.network.train()
    try:
        while progress.steps < total:
            if ahead and (stretch := lookahead.stretch()):
                yield stretch
                progress.log.catch_up()
                if (measured := lookahead.accept(stretch)) is None:  # the same steps come again, watched
                    continue
                evaluates = run.plan.evaluates_at(progress.steps)
            else:
                progress.log.catch_up()
                lr, due, evaluates = agenda.at(progress.steps + 1)
                measured = _watched_step(run, progress, guard, lr, due)
                if progress.ended:
                    break
            score, averaged = _evaluate(run, progress) if evaluates else (None, {})
            _write_row(run, progress, measured, score, averaged, later=later and score is None)
            show(progress.steps, progress.clock)
            if guard.ends_after(progress.steps, score) or stop():
                break
            save_if_due(progress)
    finally:
        progress.log.catch_up()


class Agenda:
    """Says what follows from the number of a step: its learning rate, the probes due, and whether an evaluation is.

    It works out `at_once` steps at a time: alone, between passes that fill the caches of the CPU, each takes longer.
    """

    def __init__(self, run: TrainingRun, clock: Clock, at_once: int) -> None:
        self._run, self._clock, self._at_once = run, clock, at_once
        self._first, self._known = 0, list[tuple[float, Due, bool]]()

    def at(self, step: int) -> tuple[float, Due, bool]:
        """Return learning rate, probes, and whether to evaluate, for a step, counted from 1."""
        if not 0 <= step - self._first < len(self._known):
            run, timing = self._run, self._clock.measuring
            self._first = step
            self._known = [
                (run.learning_rate(step), run.probes.at(step, timing), run.plan.evaluates_at(step))
                for step in range(step, min(step + self._at_once, run.plan.total_steps + 1))
            ]
        return self._known[step - self._first]


def _watched_step(run: TrainingRun, progress: Progress, guard: Guard, lr: float, due: Due) -> Measured:
    """Take the next step, if the guard lets it, and return what the probes that are due measured at it."""
    train_step, log, step = run.train_step, progress.log, progress.steps + 1
    set_learning_rate(train_step.optimizer, lr)
    guard.before_forward()
    x, y = run.last_batch(step)  # (B, C, H, W), (B,)
    look = Look(run.subject, step, lr, x, y)

    due.before(look)
    logits, labels, loss = train_step.gradients(x, y)  # (N, classes), (N,), () of all its batches
    readings = due.after_backward(look)
    with progress.clock.measuring():
        # A transfer to Python before the weights move: a step from a non-finite loss would poison every weight, and
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
            log.write(step, {"learning_rate/optimizer": lr}, _brought(readings, progress), averages=True)
            return NOTHING_MEASURED
    progress.steps = step
    return _brought(readings + due.after_step(look), progress)


def _brought(readings: Sequence[Reading], progress: Progress) -> Measured:
    """Bring what probes measured to Python, all in one transfer."""
    if not readings:
        return NOTHING_MEASURED
    with progress.clock.measuring():
        return measured_from(readings, numbers_in(readings).tolist())


def _evaluate(run: TrainingRun, progress: Progress) -> tuple[Score, dict[str, float]]:
    """Score the validation part after the step just taken, with averaged weights too where there are any."""
    with evaluating(progress.clock):
        score, averaged = score_of(run, run.dataset.val), averaged_row(averaged_scores(run, ["val"]))
    progress.note_score(run, score)
    return score, averaged


def _write_row(
    run: TrainingRun,
    progress: Progress,
    measured: Measured,
    score: Score | None,
    averaged: dict[str, float],
    *,
    later: bool,
) -> None:
    """Write the row of the step just taken, where averages are due or there is a reading or a score."""
    step, training, scaler = progress.steps, run.config.training, run.train_step.scaler
    averages = step % training.log_every == 0 or step == run.plan.total_steps
    if not (averages or any(measured) or score is not None):
        return
    figures = {"learning_rate/optimizer": run.learning_rate(step), **scaler.figures()}
    if training.on_divergence == "skip_step":
        figures["skipped_steps/optimizer"] = float(scaler.skipped + progress.skipped)
    progress.log.write(step, figures, measured, averages=averages, score=score, averaged=averaged, later=later)
