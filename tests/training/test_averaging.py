"""Averaged weights against the closed form in float64, and their scores against the network that has them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.measure.restore import copy_of_weights, put_weights
from bnexp.training.averaging import WeightAverage
from bnexp.training.build import TrainingRun, build
from bnexp.training.evaluation import as_row, recomputed_statistics, score_of, scores_at_end
from bnexp.training.loop import train
from bnexp.training.progress import Progress
from written_rows import Rows

MakeConfig = Callable[..., Config]


def made(config: Config) -> TrainingRun:
    return build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")


def trained(run: TrainingRun) -> tuple[Progress, list[dict[str, float]], list[dict[str, Tensor]]]:
    """Train, and return the weights after each step too, beginning with the initial ones."""
    rows, path = Rows(), [copy_of_weights(run.network)]
    progress = Progress.start(run, rows)
    train(run, progress, lambda step, clock: path.append(copy_of_weights(run.network)))
    return progress, rows.rows, path


def averaged(path: list[Tensor], decay: float) -> Tensor:
    """Return sum_s (1 - d_s) w_s d_{s+1} ... d_t, with 1 in the place of 1 - d_0, in float64."""
    decays = [0.0, *(min(decay, (1 + t) / (10 + t)) for t in range(1, len(path)))]
    total = torch.zeros_like(path[0], dtype=torch.float64)
    for s, weights in enumerate(path):
        kept = torch.tensor(decays[s + 1 :], dtype=torch.float64).prod()
        total += (1 - decays[s]) * kept * weights.double()
    return total


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.999])
def test_it_is_the_closed_form(decay: float) -> None:
    network = nn.Linear(3, 2).double()
    average, path = WeightAverage(network, decay), [copy_of_weights(network)]
    for _ in range(30):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(path))))
        average.update()
        path.append(copy_of_weights(network))
    for name, value in average.state_dict()["weights"].items():
        torch.testing.assert_close(value, averaged([weights[name] for weights in path], decay), rtol=1e-12, atol=1e-13)
    if decay == 0.1:  # below 2/11, the first d, it is constant
        ours, terms = average.state_dict()["weights"]["bias"], range(1, 31)
        constant = 0.1**30 * path[0]["bias"] + sum(0.9 * 0.1 ** (30 - s) * path[s]["bias"] for s in terms)
        torch.testing.assert_close(ours, constant, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_a_training_averages_its_weights_and_is_not_changed(make_config: MakeConfig, norm: str) -> None:
    run, plain = (made(make_config(model={"norm": norm}, training={"ema": ema})) for ema in (0.7, None))
    progress, rows, path = trained(run)
    _, plain_rows, plain_path = trained(plain)
    assert all(torch.equal(value, plain_path[-1][name]) for name, value in path[-1].items())
    average = run.train_step.average
    assert average is not None
    assert average.steps == progress.steps == 12
    for name, value in average.state_dict()["weights"].items():
        expected = averaged([weights[name] for weights in path], 0.7)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert average.state_dict()["weights"].keys() == dict(run.network.named_parameters()).keys()
    own = {name for row in rows for name in row} - {name for row in plain_rows for name in row}
    places = ["val_ema", "val_ema_recomputed"] if norm == "bn" else ["val_ema"]
    assert own == {f"{figure}/{place}" for figure in ("loss", "accuracy") for place in places}


def test_averaged_weights_are_scored_with_running_and_with_recomputed_statistics(make_config: MakeConfig) -> None:
    run = made(make_config(model={"norm": "bn(momentum=0.03)"}, data={"val_fraction": 0.3}, training={"ema": 0.8}))
    progress, rows, path = trained(run)
    assert progress.best is not None
    kept, step = copy_of_weights(run.network), progress.best.evaluated.step
    scores = scores_at_end(run, progress)
    assert scores is not None
    assert scores.averaged is not None
    assert (scores.averaged["decay"], scores.averaged["steps"]) == (0.8, progress.steps)
    assert all(torch.equal(value, kept[name]) for name, value in copy_of_weights(run.network).items())
    other = made(make_config(model={"norm": "bn(momentum=0.03)"}, data={"val_fraction": 0.3}))
    for which, last in (("final", len(path) - 1), ("best", step)):
        names = dict(other.network.named_parameters())
        weights = {name: averaged([each[name] for each in path[: last + 1]], 0.8).float() for name in names}
        put_weights(other.network, path[last] | weights)
        for part in ("val", "test"):
            examples = getattr(other.dataset, part)
            expected = {part: score_of(other, examples)}
            with recomputed_statistics(other):
                expected[f"{part}_recomputed"] = score_of(other, examples)
            for place, score in expected.items():
                assert scores.averaged[which][place] == pytest.approx(score.figures(), rel=1e-4)
    final = scores.averaged["final"]
    assert final["val"]["loss"] != final["val_recomputed"]["loss"]
    row = as_row(2.0, scores)
    assert row["accuracy/test_ema"] == final["test"]["accuracy"]
    assert row["loss/test_ema_recomputed"] == final["test_recomputed"]["loss"]
    assert row["loss/val_best_ema_recomputed"] == scores.averaged["best"]["val_recomputed"]["loss"]
    assert rows[-1]["loss/val_ema_recomputed"] == final["val_recomputed"]["loss"]
    assert rows[-1]["loss/val_ema"] == final["val"]["loss"]


def test_a_step_that_is_not_taken_is_not_averaged(make_config: MakeConfig) -> None:
    recipe: dict[str, Any] = {"on_divergence": "skip_step", "ema": 0.9}
    run = made(make_config(training=recipe, optimizer={"lr": 1e19}, model={"norm": "none"}))
    progress, _, _ = trained(run)
    average = run.train_step.average
    assert average is not None
    assert progress.skipped > 0
    assert average.steps == progress.steps - progress.skipped
