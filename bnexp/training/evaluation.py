"""The test set, looked at once: with the final weights and with those that were best on the validation part."""

from dataclasses import asdict

from bnexp.measure.weights import copy_of_weights, put_weights
from bnexp.training.build import Experiment
from bnexp.training.loop import score_of
from bnexp.training.progress import Progress

TestScores = dict[str, dict[str, float]]
"""Loss and accuracy with the `final` and the `best` weights."""


def scores_on_test(run: Experiment, progress: Progress) -> TestScores | None:
    """Score the test set; the network keeps its final weights. None after a divergence."""
    if progress.diverged or progress.best is None:
        return None
    with progress.clock.evaluating():
        final = score_of(run, run.dataset.test)
        best = final
        if progress.best.evaluated.step != progress.steps:
            kept = copy_of_weights(run.network)
            put_weights(run.network, progress.best.weights)
            best = score_of(run, run.dataset.test)
            put_weights(run.network, kept)
    return {"final": asdict(final), "best": asdict(best)}


def as_row(epoch: float, scores: TestScores) -> dict[str, float]:
    """Return the test scores as a row: `loss/test` with the final weights, `loss/test_best` with the best."""
    places = {"final": "test", "best": "test_best"}
    return {"epoch": epoch} | {
        f"{figure}/{places[which]}": value for which in scores for figure, value in scores[which].items()
    }
