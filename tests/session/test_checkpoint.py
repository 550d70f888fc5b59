"""What a checkpoint holds is plain, and each part of the state comes back as it was."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.measure.restore import put_random_states, random_states
from bnexp.norms.layer_norm import RootMeanSquareNorm
from bnexp.norms.random_stream import RandomStream
from bnexp.runs.checkpoints import load_checkpoint, save_checkpoint
from bnexp.runs.rows import Rows, Writers
from bnexp.session import checkpoint
from bnexp.session.checkpoint import Checkpointer, restore_run, state_of
from bnexp.training.build import TrainingRun, build
from bnexp.training.clock import Clock
from bnexp.training.loop import train
from bnexp.training.optimizer import LossScaler
from bnexp.training.progress import Progress

MakeConfig = Callable[..., Config]
ROWS = Rows(0, 0, "")


def trained(config: Config, place: Path) -> tuple[TrainingRun, dict[str, Any]]:
    """Return a trained run and its state after a way through a file."""
    run = build(draw(config, place), data_dir=place, device="cpu")
    progress = Progress.start(run, Writers([]))
    train(run, progress)
    save_checkpoint(place / "checkpoints" / "step.pt", state_of(run, progress, ROWS))
    return run, load_checkpoint(place / "checkpoints" / "step.pt")


def same(first: object, second: object) -> bool:
    """Compare nested tensors and plain values."""
    if torch.is_tensor(first) and torch.is_tensor(second):
        return torch.equal(first, second) and first.stride() == second.stride()
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1, "momentum": 0.9}, {"name": "adam", "lr": 0.01}])
def test_a_state_put_into_a_fresh_run_is_found_there_again(
    make_config: MakeConfig, tmp_path: Path, optimizer: dict[str, Any]
) -> None:
    config = make_config(optimizer=optimizer, model={"block": "linear -> norm -> act -> dropout(p=0.5)"})
    _, state = trained(config, tmp_path)
    fresh = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    progress = Progress.start(fresh, Writers([]))
    restore_run(fresh, state)
    progress.load_state_dict(state["progress"], state["step"])
    again = state_of(fresh, progress, ROWS)
    assert again["progress"].pop("clock")["total_s"] >= state["progress"].pop("clock")["total_s"]
    assert [key for key in state if not same(again[key], state[key])] == []


def test_a_parameter_that_no_loss_depends_on_has_no_state(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a norm of others, which may leave one of its own aside."""
    monkeypatch.setattr(RootMeanSquareNorm, "forward", lambda norm, x: x)
    config = make_config(model={"norm": "rms"}, training={"epochs": 1})
    run, state = trained(config, tmp_path)
    fresh = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    restore_run(fresh, state)
    kept = run.train_step.optimizer.state_dict()["state"]
    assert 0 < len(kept) < len(list(run.network.parameters()))
    assert same(fresh.train_step.optimizer.state_dict()["state"], kept)


@pytest.mark.parametrize("stored", [torch.channels_last, torch.contiguous_format])
def test_the_momentum_of_images_has_the_memory_format_of_the_run(
    make_config: MakeConfig, tmp_path: Path, stored: torch.memory_format
) -> None:
    """Also where it was stored by another device, whose networks are contiguous."""
    config = make_config(
        data={"synthetic": {"shape": [3, 8, 8]}},
        model={"arch": "cnn", "hidden": None, "stages": [[4, 8]], "block": "conv -> norm -> act", "norm": "bn"},
        training={"epochs": 1},
    )
    run, state = trained(config, tmp_path)
    assert run.memory_format is torch.channels_last
    for kept in state["optimizer"]["state"].values():
        if kept["momentum_buffer"].ndim == 4:
            kept["momentum_buffer"] = kept["momentum_buffer"].contiguous(memory_format=stored)
    fresh = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    restore_run(fresh, state)
    expected = run.train_step.optimizer.state_dict()["state"]
    assert same(fresh.train_step.optimizer.state_dict()["state"], expected)
    weight = next(item for item in list(fresh.items.values())[3:] if isinstance(item, torch.nn.Conv2d)).weight
    buffer = fresh.train_step.optimizer.state[weight]["momentum_buffer"]
    assert buffer.is_contiguous(memory_format=torch.channels_last)
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_on_another_device_a_stream_begins_anew_and_differs(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(model={"block": "linear -> norm -> act -> dropout(p=0.5)"})
    _, state = trained(config, tmp_path)
    moved = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    restore_run(moved, {**state, "device": "cuda"})
    dropout = moved.items["block1.dropout"]
    assert isinstance(dropout.stream, RandomStream)
    assert dropout.stream.get_state() is None, "a state of CUDA's generator means nothing to that of the CPU"
    assert (
        dropout.stream.seed
        != build(draw(config, tmp_path), data_dir=tmp_path, device="cpu").items["block1.dropout"].stream.seed
    )


def test_the_generators_of_the_process_go_on_where_they_were() -> None:
    kept = random_states(torch.device("cpu"))
    first = torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(2).tolist()
    put_random_states(kept, torch.device("cpu"))
    assert (torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(2).tolist()) == first


def test_loss_scaling_goes_on() -> None:
    scaler = LossScaler("fp16", torch.device("cpu"))
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for factor in (1.0, float("inf"), float("inf")):
        scaler.backward(weight.sum() * factor)
        scaler.unscale(optimizer)
        scaler.step(optimizer)
        optimizer.zero_grad()
    other = LossScaler("fp16", torch.device("cpu"))
    other.load_state_dict(scaler.state_dict())
    assert (other.skipped, other.skipped_in_a_row) == (2, 2)
    assert other.figures() == scaler.figures()
    assert other.state_dict() == scaler.state_dict()


def test_a_clock_goes_on_from_its_sums() -> None:
    now = {"s": 100.0}
    first = Clock(now=lambda: now["s"])
    first.count(32)
    with first.saving():
        now["s"] += 3
    with first.evaluating():
        now["s"] += 5
    now["s"] += 2
    second = Clock(now=lambda: now["s"])
    now["s"] += 1000  # between the sessions
    second.load_state_dict(first.state_dict() | {"total_s": 10.0})
    now["s"] += 1
    second.count(16)
    assert (second.total_s, second.training_s) == (11.0, 3.0)
    assert (second.evaluation_s, second.checkpoint_s, second.evaluations, second.examples) == (5.0, 3.0, 1, 48)
    pace = second.pace()
    assert (pace.step_ms, pace.examples_per_s) == (1000.0, 16.0)


@pytest.mark.parametrize(("device", "saved"), [("cpu", [10, 20, 30, 40, 50, 60, 70, 80, 90]), ("cuda", [10, 50, 90])])
def test_checkpoints_on_a_gpu_take_a_twentieth_of_its_time_at_most(
    monkeypatch: pytest.MonkeyPatch, device: str, saved: list[int]
) -> None:
    """Epochs of ten steps and 11 s, and checkpoints of 2 s each: not to be written more often than every 40 s."""
    passed, found = [0.0], list[int]()
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: passed[0])
    monkeypatch.setattr(checkpoint, "state_of", lambda run, progress, rows: {})
    config = SimpleNamespace(checkpoints=SimpleNamespace(every_epochs=1, every_minutes=10))
    plan = SimpleNamespace(total_steps=100, steps_per_epoch=10)

    def save(step: int, state: object) -> None:
        found.append(step)
        passed[0] += 2

    folder, rows = SimpleNamespace(save=save), SimpleNamespace(flushed=lambda: None)
    run = SimpleNamespace(config=config, plan=plan, device=torch.device(device))
    clock = SimpleNamespace(saving=contextlib.nullcontext)
    progress = SimpleNamespace(steps=0, best=None, clock=clock, log=SimpleNamespace(catch_up=lambda: None))
    checkpointer = Checkpointer(run, folder, rows)  # type: ignore[arg-type]
    for step in range(10, 101, 10):
        passed[0] += 11
        progress.steps = step
        checkpointer.save_if_due(progress)  # type: ignore[arg-type]
    assert found == saved
