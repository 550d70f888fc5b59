"""What a training takes against the memory that is free, before anything is built."""

import dataclasses

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.commands.check import check
from bnexp.commands.train import train
from bnexp.config.memory import memory_of
from bnexp.errors import ConfigError
from bnexp.training import room

CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets how many bytes are free."""
    return lambda number: monkeypatch.setattr(room, "free_bytes", lambda device: number)


@pytest.fixture
def blueprint(make_config, tmp_path):
    """Return a network of 16 -> 12 -> 8 -> 4, of batches of 16, scored on 20 at most."""
    return draw(make_config(), tmp_path)


def needed_by(blueprint):
    return memory_of(blueprint.config, blueprint.plan, blueprint.layout)


def test_the_estimate_is_the_arithmetic_of_its_parts(blueprint):
    weights = 4 * (16 * 12 + 12 * 8 + 8 * 4)
    kept = 16 + 3 * 12 + 3 * 8  # the images, and of each block linear, bn and relu
    found = needed_by(blueprint)
    assert found.weights == weights
    assert found.training in (3 * weights, 4 * weights)  # without and with a momentum
    assert found.training == weights * (4 if blueprint.config.optimizer.momentum else 3)
    assert found.batch == 4 * 16 * (kept + 2 * 16)
    assert (found.evaluated, found.evaluation) == (20, 4 * 20 * 3 * 16)
    assert found.dataset == (16 + 8) * (90 + 10 + 20)  # images of bytes, and labels


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_steps_taken_ahead_change_is_kept_once_more(make_config, tmp_path, device):
    drawn = draw(make_config(optimizer={"name": "adam", "lr": 1e-3}, training={"ema": 0.9}), tmp_path)
    found = room.needed_on(torch.device(device), drawn.config, drawn.plan, drawn.layout)
    # the weight, two of adam and the average, then gradient and best value
    assert found.training == {"cpu": 4 + 2, "cuda": 2 * 4 + 2}[device] * found.weights


@pytest.mark.parametrize(("optimizer", "copies"), [({"name": "adam", "lr": 1e-3}, 5), ({"momentum": 0.0}, 3)])
def test_the_optimizer_counts(make_config, tmp_path, optimizer, copies):
    config = make_config(optimizer={**optimizer, **({} if "lr" in optimizer else {"name": "sgd", "lr": 0.1})})
    found = needed_by(draw(config, tmp_path))
    assert found.training == copies * found.weights


def test_each_part_that_does_not_fit_is_named_with_its_key(blueprint, free):
    needed = needed_by(blueprint)
    resident = needed.training + needed.dataset
    free(resident + max(needed.batch, needed.evaluation))
    assert room.doubts_about_memory(blueprint, CPU) == []
    free(resident + needed.batch * 12 // 16)
    of_batch, *_ = room.doubts_about_memory(blueprint, CPU)
    assert "are free, enough for 8 examples" in of_batch
    assert "--set data.batch_size=8 --set training.accumulate=2" in of_batch
    free(resident + needed.batch * 5 // 16)
    assert "enough for 5 examples: less with --set data.batch_size=4" in room.doubts_about_memory(blueprint, CPU)[0]
    wide = dataclasses.replace(blueprint, plan=dataclasses.replace(blueprint.plan, test_examples=4096))
    wide_needed = needed_by(wide)
    free(wide_needed.training + wide_needed.dataset + wide_needed.evaluation // 3)
    (of_evaluation,) = room.doubts_about_memory(wide, CPU)
    assert "scoring 1,024 examples at once" in of_evaluation
    assert of_evaluation.endswith("for the same figures, with --set data.eval_batch_size=336")
    free(needed.training + needed.dataset - 1)
    (of_data,) = room.doubts_about_memory(blueprint, CPU)
    assert of_data.startswith("the dataset takes about")
    free(needed.training - 1)
    (of_weights,) = room.doubts_about_memory(blueprint, CPU)
    assert of_weights.startswith("training 320 weights")
    free(None)
    assert room.doubts_about_memory(blueprint, CPU) == []


def test_where_scoring_ran_out_of_memory_at_most_half_is_to_be_tried(blueprint, free):
    wide = dataclasses.replace(blueprint, plan=dataclasses.replace(blueprint.plan, test_examples=4096))
    needed = needed_by(wide)
    for left, expected in ((needed.training + needed.evaluation // 4, 256), (1 << 40, 512), (None, 512)):
        free(left)
        assert room.smaller_evaluation(wide.config, wide.plan, wide.layout, CPU) == expected


def test_a_limit_on_addresses_and_the_machine_are_what_is_free(monkeypatch):
    found = [room._of_machine(), room._of_container(), room._of_limit()]
    known = [number for number in found if number is not None]
    assert room.free_bytes(CPU) == pytest.approx(max(min(known) - room._PROGRAM, 0), abs=2**30)
    monkeypatch.setattr(room, "_of_limit", lambda: 10 << 30)
    monkeypatch.setattr(room, "_of_machine", lambda: 20 << 30)
    monkeypatch.setattr(room, "_of_container", lambda: None)
    assert room.free_bytes(CPU) == (10 << 30) - room._PROGRAM


@pytest.mark.parametrize(("limit", "left"), [("max", None), ("5000", 5000 - 3000 + 1000)])
def test_a_container_leaves_its_limit_less_what_it_uses(tmp_path, monkeypatch, limit, left):
    for name, text in {
        "memory.max": limit,
        "memory.current": "3000",
        "memory.stat": "anon 7\ninactive_file 1000",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(room, "_GROUPS", tmp_path)
    assert room._of_container() == left


def test_check_shows_what_cannot_fit_and_train_refuses_it(config_file, tmp_path, free, capsys):
    free(1 << 40)
    check(config_file)
    assert "memory" not in capsys.readouterr().out
    free(1000)
    check(config_file, overrides=["model.hidden=[100000, 100000]"])
    out = " ".join(capsys.readouterr().out.split())
    assert "total 10,00" in out
    assert "GiB for weights, gradients and optimizer" in out
    with pytest.raises(ConfigError, match=r"--signal builds the network, which takes about .* of memory, and 0.0 MiB"):
        check(config_file, signal=True)
    with pytest.raises(ConfigError, match=r"training 320 weights.* are free; expected a smaller network"):
        train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    assert not (tmp_path / "runs").exists()


def test_train_warns_before_it_begins(config_file, tmp_path, free, capsys):
    advice = "--set data.eval_batch_size="
    free(10**9)
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu")
    assert advice not in capsys.readouterr().err
    free(4 * 320 * 4 + 24 * 120 + 1000)
    train([config_file], runs_dir=tmp_path / "runs", quiet=True, device="cpu", again=True)
    assert advice in capsys.readouterr().err


def test_stacked_seeds_take_what_each_does_and_more_and_the_dataset_once(free, blueprint):
    free(None)
    assert room.memory_of_stack(blueprint, CPU) is None
    free(10**6)
    one = memory_of(blueprint.config, blueprint.plan, blueprint.layout, ahead=True)
    stack = room.memory_of_stack(blueprint, CPU)
    assert stack.free == 10**6 - one.dataset
    assert stack.needed(3) == pytest.approx(1.4 * 3 * (one.training + one.batch), abs=3)
    assert stack.needed(stack.fitting(1)) <= stack.free < stack.needed(stack.fitting(1) + 1)
    free(one.dataset)
    assert room.memory_of_stack(blueprint, CPU).fitting(1) == 0
