"""Scores of a training's network: on any part of its dataset, and on the test set, which is scored once, at the end."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict

from bnexp.data.parts import Part
from bnexp.measure.evaluation import Score, evaluate
from bnexp.measure.restore import put_weights, restored, weights_of
from bnexp.measure.statistics_modes import using_recomputed_statistics
from bnexp.training.build import TrainingRun
from bnexp.training.progress import Progress

TestScores = dict[str, dict[str, float]]
"""Loss and accuracy with the `final` and the `best` weights."""


def score_of(run: TrainingRun, part: Part) -> Score:
    """Score the network as it is now on a part of its dataset."""
    return evaluate(run.network, run.dataset, part, run.config.data.eval_batch_size, run.precision)


def score_with_recomputed_statistics(run: TrainingRun, part: Part) -> Score:
    """Score the network as it is now on a part, with running statistics recomputed for its weights.

    Without running statistics that is `score_of`. The network keeps the running statistics that it has.
    """
    with _recomputed_statistics(run):
        return score_of(run, part)


@contextlib.contextmanager
def _recomputed_statistics(run: TrainingRun) -> Iterator[None]:
    """Let the network have recomputed running statistics until the context ends."""
    with contextlib.ExitStack() as stack:
        with run.precision:  # for the passes that recompute them alone: what follows enters it by itself
            stack.enter_context(using_recomputed_statistics(run.subject))
        yield


def scores_on_test(run: TrainingRun, progress: Progress) -> TestScores | None:
    """Score the test set with the final weights and with those that were best on the validation part.

    The network keeps its final weights.

    Returns:
        None after a divergence.
    """
    if progress.diverged or progress.best is None:
        return None
    with progress.clock.evaluating():
        final = score_of(run, run.dataset.test)
        best = final
        if progress.best.evaluated.step != progress.steps:
            with restored(weights_of(run.network).values()):
                put_weights(run.network, progress.best.weights)
                best = score_of(run, run.dataset.test)
    return {"final": asdict(final), "best": asdict(best)}


def as_row(epoch: float, scores: TestScores) -> dict[str, float]:
    """Return the test scores as a row: `loss/test` with the final weights, `loss/test_best` with the best."""
    places = {"final": "test", "best": "test_best"}
    return {"epoch": epoch} | {
        f"{figure}/{places[which]}": value for which in scores for figure, value in scores[which].items()
    }
