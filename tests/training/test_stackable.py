"""What cannot be stacked is said by name, and what was not measured to pay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.blueprint import Blueprint, draw
from bnexp.config.items import NORM_NAMES
from bnexp.config.schema import Config
from bnexp.models.build import build_model
from bnexp.norms.layer_norm import RootMeanSquareNorm
from bnexp.training.stackable import PAYS_UP_TO, multiply_adds, why_not_stacked, why_not_worth, why_unpaid

Drawn = Callable[..., Blueprint]
CNN = {"arch": "cnn", "stages": [[4], [8]], "hidden": None, "block": "conv -> norm -> act"}
RESNET = {
    **{"arch": "resnet", "depth": 8, "hidden": None},
    "block": "conv -> norm -> act -> conv -> norm -> add -> act",
}
GROUPED = {"gn": "gn(groups=2)", "evonorm_s0": "evonorm_s0(groups=2)", "ghost_bn": "ghost_bn(size=8)"}


@pytest.fixture
def drawn(make_config: Callable[..., Config]) -> Drawn:
    return lambda **sections: draw(make_config(**sections), Path("unused"))


@pytest.mark.parametrize("norm", [name for name in NORM_NAMES if name != "noisy_bn"])
def test_every_norm_that_draws_nothing_can_be_stacked(drawn: Drawn, norm: str) -> None:
    assert why_not_stacked(drawn(model={**CNN, "norm": GROUPED.get(norm, norm)})) is None


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"model": {"block": "linear -> norm -> act -> dropout"}}, "dropout draws from a random stream"),
        ({"model": {"norm": "noisy_bn"}}, "noisy_bn draws from a random stream"),
        ({"training": {"compile": True}}, "training.compile was not tried"),
        ({"training": {"precision": "fp16"}}, "training.precision fp16 scales the loss"),
        ({"training": {"precision": "bf16"}}, "block1.bn cannot be vectorized in bf16"),
    ],
)
def test_what_cannot_be_is_said_by_name(drawn: Drawn, sections: dict[str, Any], reason: str) -> None:
    assert reason in (why_not_stacked(drawn(**sections)) or "")


def test_a_layer_that_decides_by_its_values_is_named(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = RootMeanSquareNorm.forward
    decides: Callable[[nn.Module, Tensor], Tensor] = lambda norm, x: forward(norm, x) if x.sum() > 0 else x  # noqa: E731
    monkeypatch.setattr(RootMeanSquareNorm, "forward", decides)
    assert "block1.rms cannot be vectorized in fp32" in (why_not_stacked(drawn(model={"norm": "rms"})) or "")


def test_a_layer_that_computes_something_else_is_found(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network, and not of each: such as what is kept beside parameters and buffers."""
    forward, calls = RootMeanSquareNorm.forward, list[int]()

    def counts(norm: RootMeanSquareNorm, x: Tensor) -> Tensor:
        calls.append(1)
        return forward(norm, x) * len(calls)

    monkeypatch.setattr(RootMeanSquareNorm, "forward", counts)
    assert "it gives other gradients than by itself" in (why_not_stacked(drawn(model={"norm": "rms"})) or "")


def test_a_parameter_without_a_gradient_is_named(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RootMeanSquareNorm, "forward", lambda norm, x: x)
    assert "does not depend on block1.rms.weight" in (why_not_stacked(drawn(model={"norm": "rms"})) or "")


@pytest.mark.parametrize("model", [{}, CNN, RESNET])
def test_the_work_of_a_step_is_counted(drawn: Drawn, model: dict[str, Any]) -> None:
    blueprint = drawn(model=model)
    network, counted = build_model(blueprint.layout, blueprint.config.init, 0), list[int]()

    def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
        counted.append(
            sum(weight.numel() for name, weight in layer.named_parameters() if name == "weight") * output[0, 0].numel()
        )

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(count)
    network.eval()(torch.zeros(1, *blueprint.info.shape))
    assert multiply_adds(blueprint.layout) == sum(counted)


def test_what_was_not_measured_to_pay_is_said(drawn: Drawn) -> None:
    assert why_not_worth(drawn(), "cpu") is None
    large = drawn(model={"hidden": [2048, 2048]})
    assert large.plan.batch_size * multiply_adds(large.layout) > PAYS_UP_TO
    assert "million multiply-adds" in (why_not_worth(large, "cpu") or "")


def test_what_was_measured_not_to_pay_is_said(drawn: Drawn) -> None:
    """As the table of docs/sweeps.md has it."""
    small, large = drawn(), drawn(model={"hidden": [2048, 2048]})  # 67 million multiply-adds a step
    maps = drawn(model=CNN), drawn(model={**CNN, "stages": [[256], [256]]})
    assert [why_unpaid(small, "cpu", seeds) is None for seeds in (2, 3, 4, 16)] == [False, False, True, True]
    assert [why_unpaid(large, "cpu", seeds) is None for seeds in (2, 4, 8, 16)] == [False, False, True, True]
    assert [why_unpaid(maps[0], "cpu", seeds) is None for seeds in (2, 16)] == [True, True]
    assert all("convolutional networks" in (why_unpaid(maps[1], "cpu", seeds) or "") for seeds in (2, 16))
