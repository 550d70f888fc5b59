"""On a GPU: the same bits twice, watched, ahead and as a graph, with probes and resumed; no wait between rows."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from bnexp.config.schema import Config
from bnexp.training import ahead
from bnexp.training.ahead import Seen, Stretch
from bnexp.training.build import TrainingRun
from bnexp.training.compiling import warm_up
from bnexp.training.device import computing_as
from bnexp.training.graph import way_of
from bnexp.training.unseen import OneByOne, Sight
from left_behind import NO_PROBES, Trained, Training, built, plain, stacked

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use by CUDA")
MakeConfig = Callable[..., Config]
LENGTH = {"epochs": None, "steps": 60, "log_every": 15, "eval_every_epochs": 3}
"""Of 6 steps an epoch, the last of 4 examples."""
CNN = {"arch": "cnn", "block": "conv -> norm -> act", "stages": [8, 16], "hidden": None}
KINDS: dict[str, dict[str, Any]] = {
    "mlp, momentum": {"optimizer": {"momentum": 0.9, "weight_decay": 0.01}, "schedule": {"name": "cosine"}},
    "mlp, adamw, clipped, averaged": {
        "optimizer": {"name": "adamw", "lr": 0.01},
        "training": {"ema": 0.9, "grad_clip": 0.5},
    },
    "mlp, dropout, bf16": {
        "model": {"block": "linear -> norm -> act -> dropout(p=0.5)", "norm": "noisy_bn"},
        "training": {"precision": "bf16"},
    },
    "mlp, accumulated": {"training": {"accumulate": 2}, "model": {"norm": "batch_renorm"}},
    "cnn, augmented, fp16": {"model": CNN, "data": {"augment": "crop_flip"}, "training": {"precision": "fp16"}},
    "cnn, gn": {"model": {**CNN, "norm": "gn(groups=2)"}, "optimizer": {"lr": 0.01}},
}


@pytest.fixture(autouse=True)
def same_bits() -> Iterator[None]:
    with computing_as():
        yield


def config_of(make_config: MakeConfig, kind: str, probes: dict[str, Any], graph: str = "on") -> Config:
    sections = {name: dict(values) for name, values in KINDS[kind].items()}
    sections["training"] = {**LENGTH, **sections.get("training", {}), "graph": graph}
    return make_config(**sections, probes=probes)


def on_gpu(config: Config, way: Callable[[TrainingRun], Any] = way_of, **options: Any) -> Trained:
    run = built(config, device="cuda")
    if run.train_step.compiled:
        warm_up(run.train_step, run.batches, run.plan)
    return Trained(run, way(run), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_watched_ahead_and_as_a_graph_are_the_same_bits_twice(make_config: MakeConfig, kind: str) -> None:
    config = config_of(make_config, kind, NO_PROBES)
    graphed, again = on_gpu(config), on_gpu(config)
    assert graphed.run.graph.recorded == 2
    assert graphed.run.graph.reason is None
    assert graphed.left() == again.left()
    assert on_gpu(config, OneByOne).left() == graphed.left()
    assert on_gpu(config, lambda run: None).left() == graphed.left()


@pytest.mark.parametrize("kind", ["mlp, dropout, bf16", "cnn, augmented, fp16"])
def test_probes_change_nothing_of_a_graph(make_config: MakeConfig, kind: str) -> None:
    probes = {"gradients": {"every": 7}, "activations": {"every": 7}, "landscape": {"every": 20, "points": 2}}
    looked = on_gpu(config_of(make_config, kind, {**NO_PROBES, **probes}))
    expected = on_gpu(config_of(make_config, kind, NO_PROBES))
    assert looked.run.graph.recorded == 2
    assert plain(looked.state()["weights"]) == plain(expected.state()["weights"])


@pytest.mark.parametrize(
    "kind", ["mlp, momentum", "mlp, dropout, bf16", "mlp, accumulated", "cnn, augmented, fp16", "compiled"]
)
def test_recorded_looks_read_what_watched_ones_read(make_config: MakeConfig, kind: str) -> None:
    """Step 7 is the first that is looked at ahead; looks at full and short steps are recorded from their second on."""
    probes = {name: {"every": 7} for name in ("activations", "gradients", "updates", "norm_state")}
    if kind == "compiled":
        training = {**LENGTH, "steps": 100, "compile": True, "graph": "on"}
        config = make_config(training=training, probes={**NO_PROBES, **probes, "histograms": {"every": 21}})
    else:
        config = config_of(make_config, kind, {**NO_PROBES, **probes, "histograms": {"every": 21}})
    told = list[str]()
    graphed = on_gpu(config, lambda run: way_of(run, told.append))
    assert not told
    assert any(first < last and last % 7 == 0 for first, last in graphed.stretches)
    assert graphed.left() == on_gpu(config, OneByOne).left()
    assert graphed.left() == on_gpu(config, lambda run: None).left()


@pytest.mark.parametrize("kind", ["mlp, adamw, clipped, averaged", "mlp, dropout, bf16", "cnn, augmented, fp16"])
def test_a_resumed_graph_is_the_uninterrupted_one(make_config: MakeConfig, kind: str) -> None:
    config = config_of(make_config, kind, NO_PROBES)
    begun = on_gpu(config, stop_at=25)
    resumed = on_gpu(config, state=copy.deepcopy(begun.state()))
    assert plain(resumed.state()) == plain(on_gpu(config).state())


def test_a_compiled_step_is_recorded_too(make_config: MakeConfig) -> None:
    sections = {"training": {**LENGTH, "compile": True, "graph": "on"}, "probes": NO_PROBES}
    config = make_config(**sections)
    graphed = on_gpu(config)
    assert graphed.run.graph.recorded == 2
    assert graphed.left() == on_gpu(config, OneByOne).left()


def spanned(profiler: profile, name: str) -> list[str]:
    """Return what happened on the CPU while a span of this name lasted."""
    on_cpu = [event for event in profiler.events() or [] if event.device_type == DeviceType.CPU]
    (span,) = [event.time_range for event in on_cpu if event.name == name]
    return [event.name for event in on_cpu if span.start <= event.time_range.start <= span.end]


@pytest.mark.parametrize("graph", ["on", "off"])
@pytest.mark.parametrize("kind", ["mlp, adamw, clipped, averaged", "cnn, augmented, fp16"])
def test_nothing_waits_between_two_rows(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, kind: str, graph: str
) -> None:
    """From the row of step 30 on until what was seen of the steps is brought to Python, over an end of an epoch."""
    config = config_of(make_config, kind, NO_PROBES, graph)
    rarely = {"checkpoints": config.checkpoints.model_copy(update={"every_epochs": 100.0})}
    run = built(config.model_copy(update=rarely), device="cuda")
    take, bring, begun = way_of(run), Sight.of, list[record_function]()
    profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True)

    def observed(stretch: Stretch) -> Seen:
        if stretch.first == 31:
            profiler.start()
            begun.append(record_function("between rows"))
            begun[0].__enter__()
        assert take is not None
        return take(stretch)

    def ended(sight: Sight, taken: Any, meanwhile: Any) -> Seen:
        if begun:
            begun.pop().__exit__(None, None, None)
            profiler.stop()
        return bring(sight, taken, meanwhile)

    monkeypatch.setattr(ahead, "LONGEST_S", math.inf)
    monkeypatch.setattr(Sight, "of", ended)
    assert (31, 36) in Trained(run, observed).stretches
    within = spanned(profiler, "between rows")
    assert any("LaunchKernel" in name or "GraphLaunch" in name for name in within), "the profiler saw the steps"
    assert not [name for name in within if "Synchronize" in name or name in ("aten::item", "aten::_local_scalar_dense")]


@pytest.mark.parametrize("kind", ["mlp, momentum", "mlp, adamw, clipped, averaged", "mlp, accumulated", "cnn, gn"])
def test_stacked_runs_are_the_same_bits_twice_and_as_a_graph(make_config: MakeConfig, kind: str) -> None:
    def left(graph: str) -> list[dict[str, torch.Tensor]]:
        probes = {**NO_PROBES, **{name: {"every": 7} for name in ("activations", "norm_state", "updates")}}
        configs = [config_of(make_config, kind, probes, graph).model_copy(update={"seed": k}) for k in range(3)]
        return [
            training.state() for training in stacked([Training(built(config, device="cuda")) for config in configs])
        ]

    taken, again, repeated = left("off"), left("off"), left("on")
    for number, own in enumerate(taken):
        assert all(torch.equal(own[name], again[number][name]) for name in own)
        assert all(torch.equal(own[name], repeated[number][name]) for name in own)
    config = config_of(make_config, kind, NO_PROBES, "off").model_copy(update={"seed": 1})
    by_itself = Training(built(config, device="cuda")).alone().state()
    apart = {name: float((taken[1][name] - value).abs().max()) for name, value in by_itself.items()}
    assert {name: value for name, value in apart.items() if value > 1e-3} == {}
