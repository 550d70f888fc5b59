"""`training.compile`: the same training in less time, in which probes still change nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from bnexp.blueprint import draw
from bnexp.config.items import ITEMS, NORM_NAMES
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Writers
from bnexp.session.display import Display
from bnexp.training import compiling
from bnexp.training.build import TrainingRun, build
from bnexp.training.compiling import warm_up
from bnexp.training.device import computing_as
from bnexp.training.loop import train
from bnexp.training.progress import Progress
from effort import long_but

MakeConfig = Callable[..., Config]
SIZES = {"gn": "(groups=2)", "ghost_bn": "(size=4)", "evonorm_s0": "(groups=2)"}
MODEL = {"block": "linear -> norm -> act"}
CNN = {"arch": "cnn", "stages": [4, 4], "block": "conv -> norm -> act"}
RESNET = {"arch": "resnet", "stages": [1, 1], "width": 4}
ON_IMAGES: dict[str, dict[str, Any]] = {
    "cnn, bn": CNN,
    "cnn, in": {**CNN, "norm": "in"},
    "resnet, bn": {**RESNET, "block": "conv -> norm -> act -> conv -> norm -> add -> act"},
    "resnet, weight_std": {
        **RESNET,
        "block": "conv(weight_std=true) -> act -> conv(weight_std=true) -> add -> act",
        "norm": None,
        "skip_gain": True,
    },
}


def experiment(config: Config) -> TrainingRun:
    return build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")


def trained(config: Config) -> TrainingRun:
    run = experiment(config)
    warm_up(run.train_step, run.batches, run.plan)
    train(run, Progress.start(run, Writers([])))
    return run


def test_the_compiler_is_told_to_be_deterministic_too() -> None:
    with computing_as():
        assert torch._inductor.config.deterministic
    assert not torch._inductor.config.deterministic
    compiling.compiled(nn.Linear(1, 1))  # torch refuses an option of the compiler that it does not know


def state_of(run: TrainingRun) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.network.state_dict().items() if torch.is_tensor(value)}


def compiled(make_config: MakeConfig, every: int = 0, **training: Any) -> Config:
    probes = {probe: {"every": every} for probe in PROBES}
    return make_config(model=MODEL, probes=probes, training={"compile": True, **training})


@pytest.mark.long
@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_compiled_training_is_the_plain_one_within_rounding(make_config: MakeConfig, accumulate: int) -> None:
    torch.compiler.reset()
    run = trained(compiled(make_config, accumulate=accumulate))
    plain = experiment(make_config(model=MODEL, training={"accumulate": accumulate}))
    train(plain, Progress.start(plain, Writers([])))
    assert run.train_step.compiled
    assert not plain.train_step.compiled
    expected = state_of(plain)
    for name, value in state_of(run).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("as_traced")
@pytest.mark.parametrize("norm", long_but([name for name in NORM_NAMES if name not in ("in", "noisy_bn")], "bn", "ln"))
def test_every_norm_trains_the_same_and_is_compiled_before_the_first_step(make_config: MakeConfig, norm: str) -> None:
    # A last batch that is shorter is compiled by itself, which those of one example each need not show all.
    data = {} if norm == "ln" or ITEMS[norm].batch_statistics else {"batch_size": 18}
    assert_trains_the_same(make_config, data=data, model={**MODEL, "hidden": [8], "norm": norm + SIZES.get(norm, "")})


@pytest.mark.usefixtures("as_traced")
@pytest.mark.parametrize("name", long_but(ON_IMAGES, "cnn, bn"))
def test_networks_on_images_do_too(make_config: MakeConfig, name: str) -> None:
    images = {"synthetic": {"classes": 4, "shape": [2, 6, 6], "size": 100}}
    assert_trains_the_same(make_config, data=images, model={"hidden": None, **ON_IMAGES[name]})


def assert_trains_the_same(make_config: MakeConfig, **sections: Any) -> None:
    """Check that steps are compiled before the first one only, and come to what plain ones do within rounding."""
    run = experiment(make_config(training={"compile": True}, **sections))
    counters.clear()
    warm_up(run.train_step, run.batches, run.plan)
    assert counters["stats"]["unique_graphs"] > 0
    with torch.compiler.set_stance("fail_on_recompile"):
        train(run, Progress.start(run, Writers([])))
    plain = experiment(make_config(**sections))
    train(plain, Progress.start(plain, Writers([])))
    expected = state_of(plain)
    for name, value in state_of(run).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("model", [{"norm": "noisy_bn"}, {"block": "linear -> norm -> act -> dropout(p=0.2)"}])
def test_what_draws_is_not_compiled(make_config: MakeConfig, model: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"training.compile with (noisy_bn|dropout), whose random numbers"):
        make_config(model=model, training={"compile": True})


@pytest.mark.usefixtures("as_traced")
def test_probes_see_every_item_of_a_compiled_network_and_change_nothing(make_config: MakeConfig) -> None:
    class Rows(Display):
        def __init__(self) -> None:
            self.seen: dict[str, float] = {}

        def scalars(self, step: int, values: dict[str, float]) -> None:
            self.seen |= values

    run, rows = experiment(compiled(make_config, every=1, log_every=1)), Rows()
    warm_up(run.train_step, run.batches, run.plan)
    train(run, Progress.start(run, rows))
    assert {f"activation_std/{name}" for name in run.items} <= rows.seen.keys()
    expected = state_of(trained(compiled(make_config, every=0, log_every=1000)))
    assert all(torch.equal(value, expected[name]) for name, value in state_of(run).items())
    assert run.items["block1.bn"].num_batches_tracked == run.plan.total_steps


@pytest.mark.usefixtures("as_traced")
def test_warming_up_leaves_no_trace(make_config: MakeConfig) -> None:
    run = experiment(compiled(make_config))
    before, generator = state_of(run), torch.get_rng_state()
    assert warm_up(run.train_step, run.batches, run.plan) > 0
    assert all(torch.equal(value, before[name]) for name, value in state_of(run).items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(parameter.grad is None for parameter in run.network.parameters())


@pytest.mark.long
def test_without_a_compiler_the_message_says_what_to_set(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))  # as CXX does before torch is loaded
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    run = experiment(compiled(make_config))
    with pytest.raises(BnexpError) as refused:
        warm_up(run.train_step, run.batches, run.plan)
    said = str(refused.value)
    assert said.startswith("training.compile: torch could not compile the network")
    assert "No working C++ compiler" in said
    assert "set training.compile: false" in said
    assert "name one in the variable CXX" in said
    assert "\n" not in said


def test_an_error_of_the_compiler_without_words_is_named_by_its_type(make_config: MakeConfig) -> None:
    def stopped(x: Tensor) -> Tensor:
        raise TorchDynamoException

    run = experiment(make_config())
    run.train_step.forward = stopped
    with pytest.raises(BnexpError, match=r"could not compile the network \(TorchDynamoException\)"):
        warm_up(run.train_step, run.batches, run.plan)
