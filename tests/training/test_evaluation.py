"""Scores at the end, with running and with recomputed statistics, against batch normalization written in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bnexp.data.parts import Part
from bnexp.measure.restore import copy_of_weights
from bnexp.runs.rows import Writers
from bnexp.training.build import TrainingRun
from bnexp.training.evaluation import as_row, recomputed_statistics, score_of, scores_at_end
from bnexp.training.progress import Progress

MakeRun = Callable[..., TrainingRun]
Statistics = dict[str, tuple[Tensor, Tensor]]
SMALL: dict[str, Any] = {"data": {"val_fraction": 0.3}, "model": {"norm": "bn(momentum=0.03)"}}


def by_hand(run: TrainingRun, images: Tensor, statistics: Statistics | None = None) -> tuple[Tensor, Statistics]:
    """Return the logits of an MLP with bn in float64, and the mean and variance of all the images in each block."""
    own: Statistics = {}
    x = run.dataset.inputs(images).flatten(1).double()
    for block in ("block1", "block2"):
        bn = run.items[f"{block}.bn"]
        x = x @ run.items[f"{block}.linear"].weight.detach().double().T
        own[block] = (x.mean(0), x.var(0))
        mean, var = (x.mean(0), x.var(0, correction=0)) if statistics is None else statistics[block]
        x = ((x - mean) / torch.sqrt(var + bn.eps) * bn.weight.detach() + bn.bias.detach()).relu()
    return x @ run.items["head"].weight.detach().double().T + run.items["head"].bias.detach(), own


def running_of(run: TrainingRun) -> Statistics:
    norms = {block: run.items[f"{block}.bn"] for block in ("block1", "block2")}
    return {block: (norm.running_mean.double(), norm.running_var.double()) for block, norm in norms.items()}


def expected(run: TrainingRun, part: Part) -> dict[str, float]:
    """Return what a summary says of a part with recomputed statistics: of all training images at once."""
    _, recomputed = by_hand(run, run.dataset.train.images)
    logits, _ = by_hand(run, part.images, recomputed)
    with_running, _ = by_hand(run, part.images, running_of(run))
    right, before = logits.argmax(1) == part.labels, with_running.argmax(1) == part.labels
    return {
        "loss": pytest.approx(functional.cross_entropy(logits, part.labels).item(), rel=1e-4),
        "accuracy": right.double().mean().item(),
        "examples": len(part.labels),
        "only_running": int((before & ~right).sum()),
        "only_recomputed": int((right & ~before).sum()),
    }


def test_final_and_best_weights_are_scored_with_recomputed_statistics(trained: MakeRun) -> None:
    run, other = trained(**SMALL), trained(**SMALL, optimizer={"lr": 0.4})
    progress = Progress.start(run, Writers([]))
    progress.steps = 1
    progress.note_score(other, score_of(other, other.dataset.val))  # the best weights are those of another run
    progress.steps, kept = 10, copy_of_weights(run.network)
    scores = scores_at_end(run, progress)
    assert scores is not None
    assert scores.recomputed is not None
    assert scores.recomputed["over"] == len(run.dataset.train)
    for which, source in (("final", run), ("best", other)):
        for part in ("val", "test"):
            assert scores.recomputed[part][which] == expected(source, getattr(source.dataset, part))
        logits, _ = by_hand(source, source.dataset.test.images, running_of(source))
        accuracy = (logits.argmax(1) == source.dataset.test.labels).double().mean().item()
        assert scores.test[which]["accuracy"] == accuracy
    assert scores.recomputed["test"]["final"] != scores.recomputed["test"]["best"]
    row = as_row(2.0, scores)
    assert row["accuracy/val_best_recomputed"] == scores.recomputed["val"]["best"]["accuracy"]
    assert row["loss/test_recomputed"] == scores.recomputed["test"]["final"]["loss"]
    assert row["loss/test_best"] == scores.test["best"]["loss"]
    assert len(row) == 1 + 4 + 8
    assert all(torch.equal(value, kept[name]) for name, value in copy_of_weights(run.network).items())


def test_any_part_is_scored_with_recomputed_statistics(trained: MakeRun) -> None:
    run = trained(**SMALL)
    run.network.train()
    before = copy_of_weights(run.network)
    with recomputed_statistics(run):
        score = score_of(run, run.dataset.val)
    assert {"loss": score.loss, "accuracy": score.accuracy}.items() <= expected(run, run.dataset.val).items()
    assert score != score_of(run, run.dataset.val)
    assert run.network.training
    assert all(torch.equal(value, before[name]) for name, value in copy_of_weights(run.network).items())


def test_without_running_statistics_there_is_one_score(trained: MakeRun) -> None:
    run = trained(model={"norm": "ln"})
    progress = Progress.start(run, Writers([]))
    progress.note_score(run, score_of(run, run.dataset.val))
    scores = scores_at_end(run, progress)
    assert scores is not None
    assert scores.recomputed is None
    tested = {f"{figure}/{part}" for figure in ("loss", "accuracy") for part in ("test", "test_best")}
    assert as_row(1.0, scores).keys() == {"epoch", *tested}
    with recomputed_statistics(run):
        recomputed = score_of(run, run.dataset.val)
    assert recomputed == score_of(run, run.dataset.val)


def test_bf16_ends_where_the_scores_end(trained: MakeRun) -> None:
    run = trained(**SMALL, training={"precision": "bf16", "epochs": 2})
    with recomputed_statistics(run):
        score_of(run, run.dataset.val)
    assert not torch.is_autocast_enabled("cpu")
