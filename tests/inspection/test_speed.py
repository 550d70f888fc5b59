"""What is measured of a way of computing, and which ways there are."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.blueprint import Blueprint, draw
from bnexp.config.schema import Config
from bnexp.document.terminal_table import table_lines
from bnexp.inspection import speed
from bnexp.inspection.speed import Moment, Speed, Way, moment_of, speeds_of, ways_of
from bnexp.inspection.speed_table import speed_table
from bnexp.training import loop
from bnexp.training.build import build
from bnexp.training.clock import Clock

MakeConfig = Callable[..., Config]
CPU = torch.device("cpu")
CNN = {"arch": "cnn", "hidden": None, "stages": [[4]], "block": "conv -> norm -> act", "norm": "bn"}


def blueprint_of(config: Config) -> Blueprint:
    return draw(config, Path("unused"))


def test_the_config_as_it_stands_comes_first_and_each_way_once(make_config: MakeConfig) -> None:
    ways = ways_of(make_config(), CPU, cores=4)
    assert ways[0] == Way({})
    assert len({way.label for way in ways}) == len(ways)
    labels = {way.label for way in ways[1:]}
    both = "training.precision=bf16 training.compile=true"
    threads = {f"OMP_NUM_THREADS={count}" for count in (4, 2, 1) if count != torch.get_num_threads()}
    assert labels == {"training.compile=true", "training.precision=bf16", both, *threads}


def test_what_draws_is_not_compiled_and_maps_have_a_format(make_config: MakeConfig) -> None:
    labels = [way.label for way in ways_of(make_config(model={"block": "linear -> norm -> act -> dropout"}), CPU, 1)]
    assert labels == ["", "training.precision=bf16"]
    for asked, other in (("auto", "contiguous"), ("channels_last", "contiguous"), ("contiguous", "channels_last")):
        config = make_config(model=CNN, training={"memory_format": asked})
        formats = [way.label for way in ways_of(config, CPU, 1) if "memory_format" in way.changes]
        assert formats == [f"training.memory_format={other}"]


def test_cuda_has_every_precision_and_the_price_of_determinism(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_is_refused", lambda training, device: False)
    labels = {way.label for way in ways_of(make_config(training={"precision": "bf16"}), torch.device("cuda"), 8)}
    for precision in ("fp32", "tf32", "fp16"):
        assert {f"training.precision={precision}", f"training.precision={precision} training.compile=true"} <= labels
    assert {"training.deterministic=false", "training.graph=off"} <= labels
    assert not any("THREADS" in label or "bf16" in label for label in labels)


def test_a_moment_is_of_steps_and_changes_no_switch(make_config: MakeConfig) -> None:
    run = build(blueprint_of(make_config(training={"epochs": 50})), data_dir=Path("unused"), device="cpu")
    moment = moment_of(run, 0.01)
    assert 0 < moment.step_s < 1
    assert moment.evaluation_s > 0


def test_a_step_is_measured_without_the_evaluations_between(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, evaluate = [0.0], loop.score_of

    def now() -> float:
        passed[0] += 1e-3
        return passed[0]

    def slowly(*part: Any) -> Any:
        passed[0] += 60.0
        return evaluate(*part)

    monkeypatch.setattr(loop, "score_of", slowly)
    monkeypatch.setattr(time, "perf_counter", now)
    monkeypatch.setattr(Clock.__init__, "__defaults__", (now, *(Clock.__init__.__defaults__ or ())[1:]))
    run = build(blueprint_of(make_config(training={"epochs": 50})), data_dir=Path("unused"), device="cpu")
    assert 0 < moment_of(run, 1.0).step_s < 1


def test_the_whole_run_is_its_steps_and_evaluations(make_config: MakeConfig) -> None:
    threads = torch.get_num_threads()
    blueprint = blueprint_of(make_config(training={"epochs": 5}))
    asked = [Way({}), Way({"precision": "fp16"}), Way({"precision": "bf16"}, threads=1)]
    speeds, switch = speeds_of(blueprint, Path("unused"), CPU, asked), torch.get_deterministic_debug_mode()
    own = next(speeds)
    assert torch.get_deterministic_debug_mode() == switch  # while others go on, too
    refused, other = speeds
    assert own.moment is not None
    # 90 examples in 6 steps an epoch; 5 evaluations, and as long as two more for the test set
    assert own.run_s == pytest.approx(30 * own.moment.step_s + 7 * own.moment.evaluation_s)
    assert own.examples_per_s == pytest.approx(15 / own.moment.step_s)
    assert (own.compile_s, own.device_mib) == (None, None)
    assert refused.moment is None
    assert "fp16 needs CUDA" in refused.refusal
    assert other.moment is not None
    assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("changes", "run_s", "said"),
    [
        ({"precision": "bf16"}, 5.0, "training.precision=bf16 ends first; its figures are of another precision"),
        ({"deterministic": False}, 5.0, "training.deterministic=false ends first; the same config then gives other"),
        ({"deterministic": True}, 5.0, "training.deterministic=true ends first; its figures are the same up to"),
        ({"compile": True}, 9.5, "nothing here ends the run more than 10% earlier"),
    ],
)
def test_the_fastest_is_named_with_its_price(
    make_config: MakeConfig, changes: dict[str, object], run_s: float, said: str
) -> None:
    own = Speed(Way({}), Moment(0.010, 0.1), 1500.0, 10.0)
    other = Speed(Way(changes), Moment(0.004, 0.1), 3750.0, run_s)
    refused = Speed(Way({"precision": "fp16"}), refusal="no GPU")
    table = speed_table(blueprint_of(make_config()), [own, other, refused])
    assert [row["step_ms"].value for row in table.rows] == pytest.approx([10, 4])
    assert [row["speed"].value for row in table.rows] == pytest.approx([1, 2.5])
    assert "device_mib" not in [column.key for column in table.columns]
    assert any(note.startswith(said) for note in table.notes)
    assert "training.precision=fp16: no GPU" in table.notes


def test_what_a_person_copies_is_whole_in_a_narrow_terminal(make_config: MakeConfig) -> None:
    changes: list[dict[str, Any]] = [{}, {"memory_format": "channels_last"}, {"precision": "bf16", "compile": True}]
    speeds = [Speed(Way(change), Moment(0.0123, 0.1), 12345.0, 3600.0, 60.0) for change in changes]
    lines, left_out = table_lines(speed_table(blueprint_of(make_config()), speeds), 60)
    words = [word for piece in lines for line in piece for word in line.plain.split()]
    assert {key for speed in speeds for key in speed.way.label.split()} <= set(words)
    assert {"12.3", "x", "1:00:00"} <= set(words)
    assert left_out == ["examples/s", "compiling"]
