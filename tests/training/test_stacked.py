"""Stacked runs: each is, up to rounding, what it is by itself, and none moves a bit of another."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.data.preprocess import Affine
from bnexp.training.build import TrainingRun, build
from bnexp.training.stacked import Stack, norm_of_each
from bnexp.training.unseen import OneByOne
from left_behind import NO_PROBES, Training, stacked
from written_rows import CLOCKED

MakeConfig = Callable[..., Config]
CNN = {"arch": "cnn", "stages": [[3], [5]], "hidden": None, "block": "conv -> norm -> act"}
FIFTY = {"epochs": None, "steps": 50, "log_every": 10, "eval_every_epochs": 3}
"""Of 6 steps an epoch, the last of 4 examples."""
KINDS: dict[str, dict[str, Any]] = {
    "none": {"optimizer": {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True}},
    "bn": {"optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}, "training": {"ema": 0.9}},
    "ln": {
        "optimizer": {"name": "adam", "lr": 0.01},
        "training": {"grad_clip": 0.3, "label_smoothing": 0.2},
        "data": {"augment": "shift"},
    },
    "gn(groups=1)": {"training": {"grad_clip": 0.3, "accumulate": 2}, "schedule": {"name": "cosine"}},
    "rms": {"optimizer": {"momentum": 0.9, "decay_norm_and_bias": True, "weight_decay": 0.1}},
    "batch_renorm": {"training": {"on_divergence": "skip_step"}},
}


def config_of(make_config: MakeConfig, norm: str, model: dict[str, Any], kind: dict[str, Any], seed: int) -> Config:
    training = {**FIFTY, **kind.get("training", {})}
    return make_config(
        **{**kind, "training": training, "model": {**model, "norm": norm}, "probes": NO_PROBES, "seed": seed}
    )


def built(config: Config, dtype: torch.dtype = torch.float32) -> TrainingRun:
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    run.network.to(dtype)
    if (average := run.train_step.average) is not None:
        average.weights, average.best = ([w.to(dtype) for w in each] for each in (average.weights, average.best))
    return run


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all inputs be in double precision."""
    single = Affine.__call__
    monkeypatch.setattr(Affine, "__call__", lambda affine, images: single(affine, images).double())


def compare(configs: Sequence[Config], near: float, dtype: torch.dtype = torch.float32) -> None:
    """Train some seeds by themselves and stacked, and find all that they leave as near to each other."""
    alone = [Training(built(config, dtype)).alone() for config in configs]
    for own, other in zip(alone, stacked([Training(built(config, dtype)) for config in configs]), strict=True):
        expected, found = own.state(), other.state()
        assert expected.keys() == found.keys()
        assert {name: apart for name in expected if (apart := _apart(found[name], expected[name])) > near} == {}
        assert [row.keys() for row in own.rows.rows] == [row.keys() for row in other.rows.rows]
        for theirs, ours in zip(own.rows.rows, other.rows.rows, strict=True):
            figures = [name for name in theirs if not name.startswith(CLOCKED)]
            assert [ours[name] for name in figures] == pytest.approx([theirs[name] for name in figures], rel=1e-4)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("model", [{}, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("norm", KINDS)
def test_each_stacked_run_is_what_it_is_by_itself(make_config: MakeConfig, norm: str, model: dict[str, Any]) -> None:
    compare([config_of(make_config, norm, model, KINDS[norm], seed) for seed in (0, 1)], 1e-10, torch.float64)


@pytest.mark.parametrize(("norm", "model"), [("none", {}), ("bn", CNN), ("ln", {})], ids=["none", "bn", "ln"])
def test_in_single_precision_it_is_that_up_to_rounding(
    make_config: MakeConfig, norm: str, model: dict[str, Any]
) -> None:
    compare([config_of(make_config, norm, model, KINDS["none"], seed) for seed in (0, 1, 2)], 1e-3)


def test_numbers_of_one_value_are_stacked_too(make_config: MakeConfig) -> None:
    """As a norm or an activation of one's own may learn or keep."""
    config = config_of(make_config, "bn", {}, {"training": {"on_divergence": "skip_step"}}, 0)
    trainings = [Training(built(config)) for _ in range(2)]
    for training in trainings:
        training.run.network.register_buffer("scale", torch.tensor(2.0))
    assert [training.progress.steps for training in stacked(trainings)] == [50, 50]
    of_each = norm_of_each([torch.tensor([3.0, 1.0]), torch.tensor([[0.0, 4.0], [2.0, 2.0]])])
    assert of_each.tolist() == [5.0, 3.0]


@pytest.mark.parametrize("policy", ["stop", "skip_step", "continue"])
def test_a_seed_that_diverges_moves_no_bit_of_the_others(make_config: MakeConfig, policy: str) -> None:
    kind = {"training": {"on_divergence": policy}, "optimizer": {"momentum": 0.9}}
    configs = [config_of(make_config, "bn", {}, kind, seed) for seed in range(3)]

    def trainings() -> list[Training]:
        return [Training(built(config)) for config in configs]

    def poison(training: Training) -> Training:
        """Let a layer go so far in one direction that its running variance overflows in the third step."""
        network, optimizer = training.run.network, training.run.train_step.optimizer
        for name, parameter in network.named_parameters():
            speed = 6e18 if name == "block1.linear.weight" else 0.0
            optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, speed)
        return training

    sound = stacked(trainings())
    poisoned = (1, 2) if policy == "stop" else (1,)
    others = trainings()
    stacked([poison(other) if seed in poisoned else other for seed, other in enumerate(others)])
    by_itself = poison(trainings()[1]).alone()
    assert (divergence := others[1].progress.divergence) is not None
    assert divergence == by_itself.progress.divergence
    assert 2 < divergence.step < 10  # amid the first stretch
    assert others[1].progress.steps == by_itself.progress.steps
    assert [row["step"] for row in others[1].rows.rows] == [row["step"] for row in by_itself.rows.rows]
    for number in {0, 1, 2} - set(poisoned):
        expected, found = sound[number].state(), others[number].state()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert others[number].progress.steps == 50


def test_a_step_costs_each_an_equal_part_whatever_its_place(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a step of the stack takes 3 s, and a row of the second run 100: of no other run, and of no step."""
    passed, rows = [0.0], list[dict[str, float]]()
    take = Stack.take

    def slowly(stack: Stack, drawn: Any) -> Tensor:
        passed[0] += 3
        return take(stack, drawn)

    def slow_row(step: int, values: dict[str, float]) -> None:
        passed[0] += 100
        rows.append(values)

    monkeypatch.setattr(Stack, "take", slowly)
    trainings = [Training(built(config_of(make_config, "bn", {}, {}, seed))) for seed in range(3)]
    monkeypatch.setattr(trainings[1].rows, "scalars", slow_row)
    for training in trainings:
        training.progress.clock.__init__(now=lambda: passed[0])  # type: ignore[misc]
    stacked(trainings, now=lambda: passed[0])
    steps_ms = [
        [row["step_ms/train"] for row in found if "step_ms/train" in row] for found in (trainings[0].rows.rows, rows)
    ]
    assert steps_ms == [[pytest.approx(900), *4 * [pytest.approx(1000)]]] * 2  # the first of ten steps is no stack's
    clocks = [training.progress.clock for training in trainings]
    assert [clock.training_s - clock.measuring_s for clock in clocks] == pytest.approx([49] * 3)
    assert sum(clock.total_s for clock in clocks) == pytest.approx(passed[0])


def test_runs_at_unlike_steps_meet(make_config: MakeConfig) -> None:
    configs = [config_of(make_config, "bn", {}, {}, seed) for seed in range(3)]
    ahead_of_others = [Training(built(config)) for config in configs]
    for training, until in zip(ahead_of_others, (0, 17, 30), strict=True):
        for stretch in training.course(until=until) if until else ():
            stretch.seen = OneByOne(training.run)(stretch)
    for config, other in zip(configs, stacked(ahead_of_others), strict=True):
        expected = Training(built(config)).alone().state()
        assert all(_apart(other.state()[name], expected[name]) < 1e-3 for name in expected)


def _apart(one: Tensor, other: Tensor) -> float:
    """Return the distance of two tensors, of the size of the second."""
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-3))
