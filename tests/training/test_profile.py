"""A profile says what the steps of a training took, and changes none of them."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType

from bnexp.blueprint import draw
from bnexp.commands.train import train
from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.runs.folder import read_json, write_json
from bnexp.session.life import RunResult, start
from bnexp.session.terms import Terms
from bnexp.training.build import build
from bnexp.training.profile import ALL_KINDS, WARM, Profiler, profile_of, refuse_profile
from written_rows import final_weights, rows_of

CPU = torch.device("cpu")


def finished(config: Config, runs_dir: Path, profile: int) -> RunResult:
    terms = Terms(runs_dir=runs_dir, data_dir=runs_dir, device="cpu", profile=profile)
    return start(draw(config, runs_dir), terms)


def test_a_profile_changes_no_bit_and_names_what_norms_take(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(
        model={"block": "linear -> norm -> ln -> act -> dropout(p=0.2)"},
        training={"epochs": 3, "log_every": 1},
        probes={"activations": {"every": 4}, "histograms": {"every": 4}},
    )
    plain, profiled = (finished(config, tmp_path / str(steps), steps) for steps in (0, 3))
    assert rows_of(plain.folder) == rows_of(profiled.folder)
    weights = final_weights(plain.folder)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in final_weights(profiled.folder).items())
    assert not any(hook for module in profiled.network.modules() for hook in module._forward_hooks)
    found = profiled.profile
    assert plain.profile is None
    assert found is not None
    assert (found.first, found.last, found.besides) == (9, 11, 0)  # the first three without a look: 4 and 8 have one
    assert found.shares is not None
    assert set(found.shares) == set(ALL_KINDS)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert min(found.shares[kind] for kind in ("norms", "layers", "activations", "rest", "optimizer")) > 0
    recorded = json.loads((profiled.folder / "profile.json").read_text())
    assert recorded["shares"] == found.shares
    events = json.loads((profiled.folder / "trace.json").read_text())["traceEvents"]
    passes = [event["name"] for event in events if event.get("name") in ("block1.bn", "head")]
    assert (passes.count("block1.bn"), passes.count("head")) == (3, 3)
    assert profiled.summary["time"]["profiled_steps"] == 3
    rows = [json.loads(line) for line in (profiled.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss/train" in row and "step_ms/train" not in row] == [9, 10, 11]


def event(name: str, start: float, ms: float, parent: Any = None, number: int = -1, scope: int = 0) -> SimpleNamespace:
    """Return an event as torch's profiler has them."""
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start),
        cpu_parent=parent,
        sequence_nr=number,
        scope=scope,
        device_type=DeviceType.CPU,
        self_cpu_time_total=1e3 * ms,
        self_device_time_total=2e3 * ms,
    )


def events_of_a_step() -> Sequence[Any]:
    """Return a norm of two operations between a layer and the loss, their backward passes and the optimizer."""
    layer, norm = event("fc", 0, 9.0), event("bn", 2, 9.0)
    mm, mean = event("mm", 1, 4.0, layer, 0), event("mean", 3, 1.0, norm, 1)
    # An operation that makes no node has the number of the next that does: here, that of the norm's `mul`.
    helper, mul, loss = event("empty", 4, 0.0, layer, 2), event("mul", 5, 1.0, norm, 2), event("loss", 6, 0.5, None, 3)
    nodes = [event(f"autograd::engine::evaluate_function: {n}", 10 - n, 0.0, None, n) for n in range(4)]
    backward = [event("Backward0", 10.2 - n, 0.0, node, n, scope=1) for n, node in enumerate(nodes)]
    inner = [event("mul", 10.5 - n, 2.0 if n == 2 else 1.0, node) for n, node in enumerate(backward)]
    step = event("Optimizer.step#SGD.step", 20, 9.0)
    return [layer, norm, mm, mean, helper, mul, loss, *nodes, *backward, *inner, step, event("add_", 21, 0.5, step)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_the_backward_pass_does_belongs_to_the_item_whose_operation_it_differentiates(device: str) -> None:
    kinds = {"fc": "layers", "bn": "norms"}
    found = profile_of(events_of_a_step(), kinds, range(6, 7), torch.device(device))
    scale = {"cpu": 1, "cuda": 2}[device]
    total = 4.0 + 1.0 + 1.0 + 0.5 + (1.0 + 1.0 + 2.0 + 1.0) + 0.5
    assert found.ms == pytest.approx(scale * total)
    assert found.shares == pytest.approx(
        {
            "norms": (1.0 + 1.0 + 1.0 + 2.0) / total,
            "layers": (4.0 + 1.0) / total,
            "activations": 0.0,
            "rest": 0.0,
            "optimizer": 0.5 / total,
            "other": (0.5 + 1.0) / total,
        }
    )
    costliest = found.operations[0]
    assert (costliest.name, costliest.calls) == ("mul", 5)
    assert costliest.in_norms == pytest.approx(4.0 / 6.0)
    assert {"fc", "bn", "Optimizer.step#SGD.step"}.isdisjoint(operation.name for operation in found.operations)
    fused = profile_of(events_of_a_step(), None, range(6, 7), CPU)
    assert fused.shares is fused.operations[0].in_norms is None


def test_where_every_step_has_a_look_the_profile_says_so(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(probes={"gradients": {"every": 1}})
    run = build(draw(config, tmp_path), data_dir=tmp_path, device="cpu")
    assert Profiler(run, tmp_path, 3).steps == range(WARM + 1, WARM + 4)
    assert Profiler(run, tmp_path, 3, taken=12).steps == range(18, 13)


def test_a_profile_of_several_processes_or_of_too_many_steps_is_refused(config_file: Path, tmp_path: Path) -> None:
    refuse_profile(12 - WARM, 12, 1)
    with pytest.raises(ConfigError, match=r"--profile 8: the run has 12 steps.*expected at most 7"):
        train([config_file], runs_dir=tmp_path / "runs", profile=8, device="cpu")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ConfigError, match=r"--profile 2: found 4 processes"):
        refuse_profile(2, 100, 4)
    with pytest.raises(ConfigError, match="too few to profile any"):
        refuse_profile(1, 5, 1)
    refuse_profile(200, 1000, 1)
    with pytest.raises(ConfigError, match=r"--profile 201: expected at most 200"):
        refuse_profile(201, 1000, 1)


def test_the_command_prints_the_costliest_operations_of_the_steps_that_are_left(
    config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def resume(steps: int) -> list[RunResult]:
        overrides = ["probes={}"]
        return train(
            [config_file], runs_dir=tmp_path, overrides=overrides, resume=True, profile=steps, quiet=True, device="cpu"
        )

    [first] = resume(2)  # of 12 steps, none of which is taken
    out, err = capfd.readouterr()
    assert re.search(r"^operation +calls +ms a step +of all +in norms$", out, re.MULTILINE)
    assert re.search(r"^aten::native_batch_norm +2 .* 100%$", out, re.MULTILINE)
    assert re.search(r"^norms +\d+\.\d% of that; layers ", out, re.MULTILINE)
    assert "trace.json, for https://ui.perfetto.dev" in out
    assert "profiler_start" not in err

    assert resume(8) == []  # it has ended: nothing is left to do, nor to profile
    (first.folder / "summary.json").unlink()
    write_json(first.folder / "meta.json", {**(read_json(first.folder / "meta.json") or {}), "status": "interrupted"})
    with pytest.raises(ConfigError, match=r"--profile 1: the run has 12 steps, 0 of them left, of which the first 5"):
        resume(1)
    refuse_profile(3, 12, 1, taken=4)
    with pytest.raises(ConfigError, match=r"8 of them left.*expected at most 3"):
        refuse_profile(4, 12, 1, taken=4)
