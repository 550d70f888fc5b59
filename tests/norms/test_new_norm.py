"""The recipe for a new norm: an entry in ITEMS and a line in NORMS are all that checking, training and probes need."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bnexp.blueprint import draw
from bnexp.commands.check import check
from bnexp.commands.train import train
from bnexp.config.items import ITEMS, BatchNormOptions, ItemKind
from bnexp.config.layout import layout_of
from bnexp.config.lint import warnings_of
from bnexp.config.plan import make_plan
from bnexp.config.reference import config_reference
from bnexp.config.schema import Config, ProbesConfig
from bnexp.data.sources.facts import dataset_info
from bnexp.errors import ConfigError
from bnexp.norms.registry import NORMS
from bnexp.norms.shapes import Shape, over_batch, per_feature
from bnexp.norms.statistics import Moments
from bnexp.runs.folder import METRICS

MakeConfig = Callable[..., Config]
PROBES = [f"probes.{name}={{at: [1, 3]}}" for name in ProbesConfig.model_fields]


class MeanSizeNorm(nn.Module):
    """Divide each feature by the root of its mean square over the batch; its running statistics have a name of its own.

    y = gamma * x / sqrt(mean(x^2) + eps)
    """

    def __init__(self, features: int, options: BatchNormOptions) -> None:
        super().__init__()
        self.eps, self.momentum = options.eps, options.momentum
        self.weight = nn.Parameter(torch.ones(features))
        self.register_buffer("running_size", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        size = self.size_of(x) if self.training else self.running_size
        if self.training:
            self.running_size.lerp_(size.detach(), self.momentum)
        return x * per_feature(self.weight / torch.sqrt(size + self.eps), x)

    def size_of(self, x: Tensor) -> Tensor:
        """Return the mean square of each feature, (F,)."""
        return x.square().mean(dim=over_batch(x))


class AnsweringNorm(MeanSizeNorm):
    """The same with the methods by which a norm of its own kind answers for its statistics."""

    def statistics_from(self, moments: Moments) -> dict[str, Tensor]:
        return {"running_size": moments.var + moments.mean.square()}

    def running_moments(self) -> dict[str, Tensor]:
        return {"std": self.running_size.sqrt()}


@pytest.fixture(params=[MeanSizeNorm, AnsweringNorm])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[MeanSizeNorm]:
    """Add a norm as a person would: one entry, one line."""
    kind: type[MeanSizeNorm] = request.param

    def build(shape: Shape, options: BatchNormOptions) -> nn.Module:
        return kind(shape[0], options)

    facts = ItemKind("norm", "a toy", BatchNormOptions, over="batch", divides_by="root mean square")
    monkeypatch.setitem(ITEMS, "toy", facts)
    monkeypatch.setitem(NORMS, "toy", build)
    return kind


def test_it_is_checked_and_trained_under_every_probe(
    toy: type[MeanSizeNorm], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["model.norm=toy", "training.log_every=1", "training.epochs=1", *PROBES]
    check(config_file, overrides=overrides, signal=True)
    assert "toy" in capsys.readouterr().out
    (result,) = train([config_file], overrides=overrides, device="cpu", runs_dir=tmp_path, quiet=True)
    rows = [json.loads(line) for line in (tmp_path / "small" / "seed0" / METRICS).read_text().splitlines()]
    names = {name for row in rows for name in row}
    assert result.folder.is_dir()
    assert {"gamma_mean/block1.toy", "eps_dominates/block1.toy", "accuracy_by_mode/recomputed"} <= names
    assert ("running_std_distance/block1.toy" in names) == (toy is AnsweringNorm)
    assert "running_mean_distance/block1.toy" not in names


def test_its_recomputed_statistics_are_its_own(toy: type[MeanSizeNorm], trained: Callable[..., object]) -> None:
    from bnexp.measure.statistics_modes import using_recomputed_statistics

    run = trained(model={"norm": "toy"})
    linear, norm = run.items["block1.linear"], run.items["block1.toy"]
    before, x = norm.running_size.clone(), run.dataset.inputs(run.dataset.train.images[:16]).flatten(1)
    with torch.no_grad(), using_recomputed_statistics(run.subject, 16):
        expected = norm.size_of(linear(x)) if toy is AnsweringNorm else before
        torch.testing.assert_close(norm.running_size, expected)
    assert torch.equal(norm.running_size, before)


def test_refusals_warnings_and_the_reference_follow_from_its_facts(
    toy: type[MeanSizeNorm], make_config: MakeConfig
) -> None:
    def plan_of(config: Config):
        return make_plan(config, dataset_info(config.data, Path("unused")))

    def layout(config: Config):
        info = dataset_info(config.data, Path("unused"))
        return layout_of(config.model, info.shape, info.classes)

    config = make_config(model={"norm": "toy(momentum=0.9)"}, data={"batch_size": 4})
    warnings = "\n".join(warnings_of(config, plan_of(config), layout(config)))
    assert "toy(momentum=0.9): the momentum is PyTorch's" in warnings
    assert "data.batch_size 4 with toy: batch statistics of so few examples are noisy" in warnings
    with pytest.raises(ConfigError, match=r"data\.batch_size 1 with toy"):
        plan_of(make_config(model={"norm": "toy"}, data={"batch_size": 1}))
    assert "| `toy(momentum=0.1, eps=1e-05, affine=true)` | norm | a toy |" in config_reference()
    with pytest.raises(ConfigError, match=r'unknown norm "tooy"\. Did you mean "toy"'):
        make_config(model={"norm": "tooy"})


def test_a_norm_over_examples_is_refused_a_lone_value(monkeypatch: pytest.MonkeyPatch, make_config: MakeConfig) -> None:
    monkeypatch.setitem(ITEMS, "toy", ItemKind("norm", "a toy", over="example", subtracts_mean=True))
    config = make_config(model={"norm": "toy", "hidden": [3, 1]})
    with pytest.raises(ConfigError, match="the toy of block 2 would see 1 feature and give beta"):
        draw(config, Path("unused"))
