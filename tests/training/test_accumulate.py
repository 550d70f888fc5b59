"""Gradients of several batches for one step: against the large batch, and against batch normalization by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.inspection.stored import probe_once
from bnexp.measure.restore import copy_of_weights
from bnexp.probes.registry import PROBES
from bnexp.training.build import TrainingRun, build
from bnexp.training.loop import train
from bnexp.training.optimizer import set_learning_rate
from bnexp.training.progress import Progress
from written_rows import Rows

MakeConfig = Callable[..., Config]


def made(
    make_config: MakeConfig, accumulate: int, batch_size: int = 16, norm: str = "bn", **sections: Any
) -> TrainingRun:
    """Build a run over 90 examples: batches of 16 are five and one of 10."""
    training = {"epochs": 2, "log_every": 1, **sections.pop("training", {}), "accumulate": accumulate}
    config = make_config(data={"batch_size": batch_size}, model={"norm": norm}, training=training, **sections)
    return build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")


def trained(run: TrainingRun) -> tuple[Progress, list[dict[str, float]]]:
    rows = Rows()
    progress = Progress.start(run, rows)
    train(run, progress)
    return progress, rows.rows


def stepped_in_float64(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Take all steps of a run in float64, and return the weights."""
    at = run.batches.at
    monkeypatch.setattr(run.batches, "at", lambda number: (at(number)[0].double(), at(number)[1]))
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the logits, before the loss
    run.network.double().train()
    for step in range(1, run.plan.total_steps + 1):
        set_learning_rate(run.train_step.optimizer, run.learning_rate(step))
        run.train_step.gradients(*run.last_batch(step))
        run.train_step.update()
    return copy_of_weights(run.network)


@pytest.mark.parametrize("norm", ["none", "ln", "gn(groups=2)"])
def test_without_batch_statistics_the_weights_are_those_of_the_large_batch(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    """The steps are of 16 + 16 + 16 and 16 + 16 + 10 examples, clipped, with a schedule over them."""
    recipe: dict[str, Any] = {
        "training": {"grad_clip": 0.5, "epochs": 3},
        "optimizer": {"weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
    }
    runs = [made(make_config, *sizes, norm, **recipe) for sizes in ((3, 16), (1, 48))]
    small, large = (stepped_in_float64(run, monkeypatch) for run in runs)
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-11, atol=1e-13)


def test_with_batch_statistics_each_batch_has_its_own(make_config: MakeConfig) -> None:
    run, large = made(make_config, 3), made(make_config, 1, 48)
    at, norm = run.batches.at, run.items["block1.bn"]
    weight, gradient = run.items["block1.linear"].weight.detach().double(), torch.zeros(8, 12, dtype=torch.float64)
    mean = torch.zeros(12, dtype=torch.float64)
    start = {name: value.double() for name, value in copy_of_weights(run.network).items()}
    for number in range(3):
        x, y = at(number)[0].flatten(1).double(), at(number)[1]
        mean = 0.9 * mean + 0.1 * (x @ weight.T).mean(0)
        second = start["block2.linear.weight"].clone().requires_grad_()
        h = functional.batch_norm(x @ weight.T, None, None, training=True).relu()
        h = functional.batch_norm(h @ second.T, None, None, training=True).relu()
        loss = functional.cross_entropy(h @ start["head.weight"].T + start["head.bias"], y)
        gradient += torch.autograd.grad(loss, second)[0] / 3
    run.network.train()
    run.train_step.gradients(*run.last_batch(1))
    found = run.items["block2.linear"].weight.grad
    torch.testing.assert_close(found.double(), gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-6)
    assert norm.num_batches_tracked == 3
    large.network.train()
    large.train_step.gradients(*large.last_batch(1))
    distance = (large.items["block2.linear"].weight.grad - found).norm() / found.norm()
    assert distance > 0.05


def test_rows_are_of_all_examples_of_a_step(make_config: MakeConfig) -> None:
    _, small = trained(made(make_config, 3, 16, "ln"))
    _, large = trained(made(make_config, 1, 48, "ln"))
    assert [row["step"] for row in small] == [1, 2, 3, 4]
    for mine, theirs in zip(small, large, strict=True):
        assert mine["accuracy/train"] == theirs["accuracy/train"]
        for name in ("loss/train", "epoch", "learning_rate/optimizer"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-5)


def test_what_is_left_at_the_end_of_an_epoch_is_a_step(make_config: MakeConfig) -> None:
    run = made(make_config, 4)
    progress, _ = trained(run)
    assert progress.clock.examples == 2 * 90
    assert [len(run.plan.batches_of(step)) for step in (1, 2, 3, 4)] == [4, 2, 4, 2]
    assert [run.plan.examples_of(step) for step in (1, 2, 3, 4)] == [64, 26, 64, 26]
    assert (run.plan.steps_per_epoch, run.plan.step_size, run.plan.batches_per_epoch) == (2, 64, 6)


def test_all_probes_change_no_bit_and_look_at_the_step(make_config: MakeConfig) -> None:
    options = {"evaluation_modes": {"recomputed_over": 20}, "coupling": {"draws": 2, "examples": 1}}
    probes = {name: {"every": 2, **options.get(name, {})} for name in PROBES}
    run, plain = made(make_config, 4, probes=probes), made(make_config, 4, probes=dict.fromkeys(PROBES, "off"))
    _, rows = trained(run)
    trained(plain)
    expected = copy_of_weights(plain.network)
    assert all(torch.equal(value, expected[name]) for name, value in copy_of_weights(run.network).items())

    again = made(make_config, 4, probes=probes)
    again.network.train()
    for step in (1, 2):
        again.train_step.gradients(*again.last_batch(step))
        norms = torch.stack([parameter.grad.norm() for parameter in again.network.parameters()])
        set_learning_rate(again.train_step.optimizer, again.learning_rate(step))
        again.train_step.update()
    row = next(row for row in rows if row["step"] == 2)
    assert row["gradient_norm/total"] == pytest.approx(norms.norm().item(), rel=1e-6)


def test_stored_weights_are_probed_with_all_batches_of_the_next_step(make_config: MakeConfig) -> None:
    run, other = made(make_config, 3, norm="ln"), made(make_config, 1, 48, "ln")
    asked = [PROBES["gradients"](run.config.probes.gradients)]
    found, expected = (probe_once(each, asked, 1)["gradient_norm/total"] for each in (run, other))
    assert found == pytest.approx(expected, rel=1e-5)


def poison(run: TrainingRun, number: int) -> None:
    """Let one batch hold a value that is not finite."""
    at = run.batches.at

    def poisoned(batch: int) -> tuple[Tensor, Tensor]:
        x, y = at(batch)
        return (x * float("inf") if batch == number else x), y

    run.batches.at = poisoned  # type: ignore[method-assign]


@pytest.mark.parametrize("norm", ["bn", "none"])
def test_a_value_that_is_not_finite_in_an_earlier_batch_is_traced(make_config: MakeConfig, norm: str) -> None:
    run = made(make_config, 3, norm=norm)
    poison(run, 4)  # the second of the second step
    progress, _ = trained(run)
    found = progress.divergence
    assert found is not None
    assert (found.step, found.layer, found.quantity, progress.steps) == (2, "block1.linear", "output", 1)


def test_a_skipped_step_leaves_no_trace_of_any_of_its_batches(make_config: MakeConfig) -> None:
    recipe: dict[str, Any] = {"training": {"on_divergence": "skip_step", "epochs": None, "steps": 2}}
    run, other = made(make_config, 3, **recipe), made(make_config, 3, training={"epochs": None, "steps": 1})
    poison(run, 4)
    progress, _ = trained(run)
    trained(other)
    assert (progress.steps, progress.skipped) == (2, 1)
    expected = copy_of_weights(other.network)
    assert all(torch.equal(value, expected[name]) for name, value in copy_of_weights(run.network).items())
