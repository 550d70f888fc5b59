"""Scores of a training's network: on any part of its dataset, and at its end, where alone the test set is scored."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from bnexp.data.parts import Part
from bnexp.measure.evaluation import Score, evaluate, evaluate_each
from bnexp.measure.machine import numbers_of
from bnexp.measure.restore import put_weights, restored, weights_of
from bnexp.measure.statistics_modes import RECOMPUTED_OVER, batch_statistics_norms, using_recomputed_statistics
from bnexp.training.build import TrainingRun
from bnexp.training.clock import Clock
from bnexp.training.progress import Progress

FIGURES_IN_A_ROW = ("loss", "accuracy", "balanced_accuracy")
"""What a row of metrics.jsonl holds of a score with recomputed statistics; the counts beside them are not."""
IN_EVALUATION = "in the evaluation"
"""The note on an error that came while a part of the dataset was scored."""


class EndScores(NamedTuple):
    """Scores at the end of a run.

    Attributes:
        test: the figures of the score of the test set with the `final` and the `best` weights.
        recomputed: with running statistics recomputed `over` so many training examples, for `val` and `test` and those
            weights: loss, accuracy, the number of examples, and of those that only one of both kinds of statistics
            answers right. None where no norm has running statistics.
        averaged: those with averaged weights (`training.ema`): decay and steps of the average, and for the `final` one
            and that of the `best` step the scores of `val`, `test` and, where norms have running statistics, of
            `val_recomputed` and `test_recomputed`. None without such weights.
    """

    test: dict[str, dict[str, float]]
    recomputed: dict[str, Any] | None = None
    averaged: dict[str, Any] | None = None


@contextlib.contextmanager
def evaluating(clock: Clock) -> Iterator[None]:
    """Count the time until the context ends as spent on an evaluation, and note on an error that it came there."""
    with clock.evaluating():
        try:
            yield
        except Exception as error:
            error.add_note(IN_EVALUATION)
            raise


def score_of(run: TrainingRun, part: Part) -> Score:
    """Score the network as it is now on a part of its dataset."""
    return evaluate(run.network, run.dataset, part, run.config.data.eval_batch_size, run.precision)


@contextlib.contextmanager
def recomputed_statistics(run: TrainingRun) -> Iterator[None]:
    """Let the network have running statistics recomputed for its weights, if it has any, until the context ends."""
    with contextlib.ExitStack() as stack:
        with run.precision:  # for the passes that recompute them alone: what follows enters it by itself
            stack.enter_context(using_recomputed_statistics(run.subject))
        yield


def scores_at_end(run: TrainingRun, progress: Progress) -> EndScores | None:
    """Score the test set with the final weights and with those that were best on the validation part.

    Norms with running statistics are scored with recomputed ones too, on both parts. The network keeps its final
    weights.

    Returns:
        None after a divergence.
    """
    if progress.diverged or progress.best is None:
        return None
    with evaluating(progress.clock):
        final = best = _scores(run)
        if progress.best.evaluated.step != progress.steps:
            with restored(weights_of(run.network).values()):
                put_weights(run.network, progress.best.weights)
                best = _scores(run, best=True)
    weights = {"final": final, "best": best}
    test = {which: scores.test.figures() for which, scores in weights.items()}
    parts = {part: {which: scores.recomputed[part] for which, scores in weights.items()} for part in final.recomputed}
    recomputed = {"over": min(RECOMPUTED_OVER, len(run.dataset.train)), **parts} if parts else None
    if (average := run.train_step.average) is None:
        return EndScores(test, recomputed)
    averaged = {which: scores.averaged for which, scores in weights.items()}
    return EndScores(test, recomputed, {"decay": average.decay, "steps": average.steps, **averaged})


class _Scores(NamedTuple):
    """Scores of some weights: of the test set, and with recomputed statistics of both parts that are not trained on."""

    test: Score
    recomputed: dict[str, dict[str, float]]
    averaged: dict[str, dict[str, float]]  # with the average that belongs to them


def _scores(run: TrainingRun, *, best: bool = False) -> _Scores:
    """Score the weights that the network has, the final or the best ones."""
    averaged = averaged_scores(run, ["val", "test"], best=best)
    if not batch_statistics_norms(run.subject):
        return _Scores(score_of(run, run.dataset.test), {}, averaged)
    running = _on_both_parts(run)
    with recomputed_statistics(run):
        recomputed = _on_both_parts(run)
    paired = {part: _paired(running[part], recomputed[part]) for part in running}
    return _Scores(running["test"][0], paired, averaged)


def _on_both_parts(run: TrainingRun) -> dict[str, tuple[Score, Tensor]]:
    """Return the score of the validation part and of the test set, and which examples are answered right."""
    parts, size = {"val": run.dataset.val, "test": run.dataset.test}, run.config.data.eval_batch_size
    return {name: evaluate_each(run.network, run.dataset, part, size, run.precision) for name, part in parts.items()}


def _paired(running: tuple[Score, Tensor], recomputed: tuple[Score, Tensor]) -> dict[str, float]:
    """Return a score with recomputed statistics, and how many examples only it or only the other answers right."""
    (_, mine), (score, theirs) = running, recomputed
    only_running, only_recomputed = numbers_of([(mine & ~theirs).sum(), (theirs & ~mine).sum()])
    counts = {"only_running": int(only_running), "only_recomputed": int(only_recomputed)}
    return {**score.figures(), "examples": len(mine), **counts}


def averaged_scores(run: TrainingRun, parts: Sequence[str], *, best: bool = False) -> dict[str, dict[str, float]]:
    """Score the averaged weights, those of now or of the best step, on parts of the dataset: `val`, `test`.

    The running statistics are those that the network has. Where norms have any, the scores with recomputed ones follow
    under `val_recomputed` and `test_recomputed`. Without averaged weights there are none.
    """
    average = run.train_step.average
    if average is None:
        return {}
    with average.in_place(best=best):
        scores = {part: score_of(run, getattr(run.dataset, part)) for part in parts}
        if batch_statistics_norms(run.subject):
            with recomputed_statistics(run):
                scores |= {f"{part}_recomputed": score_of(run, getattr(run.dataset, part)) for part in parts}
    return {place: score.figures() for place, score in scores.items()}


def averaged_row(scores: Mapping[str, Mapping[str, float]], suffix: str = "") -> dict[str, float]:
    """Return what `averaged_scores` gives as a row: `accuracy/val_ema`, `accuracy/val_ema_recomputed` and so on."""
    row = dict[str, float]()
    for place, score in scores.items():
        part, recomputed, _ = place.partition("_recomputed")
        row |= {f"{figure}/{part}{suffix}_ema{recomputed}": value for figure, value in score.items()}
    return row


def as_row(epoch: float, scores: EndScores) -> dict[str, float]:
    """Return the scores of the end as a row.

    It holds `loss/test` with the final weights and `loss/test_best` with the best; with recomputed statistics
    `loss/val_recomputed`, `loss/val_best_recomputed` and the same of the test set; and so for `accuracy`. With averaged
    weights, `_ema` comes before `_recomputed`.
    """
    places = {"final": "", "best": "_best"}
    row = {"epoch": epoch}
    for which, suffix in places.items():
        row |= {f"{figure}/test{suffix}": value for figure, value in scores.test[which].items()}
        for part in ("val", "test"):
            own = (scores.recomputed or {}).get(part, {}).get(which, {})
            row |= {f"{key}/{part}{suffix}_recomputed": value for key, value in own.items() if key in FIGURES_IN_A_ROW}
        row |= averaged_row((scores.averaged or {}).get(which, {}), suffix)
    return row
