"""Steps of the weights against a step taken by hand, and which layers forget the length of their weights."""

import math
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn

from bnexp.config.layout import layout_of
from bnexp.config.schema import Config
from bnexp.models.build import build_model
from bnexp.probes.probe import Look
from bnexp.probes.updates import Updates, scale_invariant_layers

MakeConfig = Callable[..., Config]
SHAPE, CLASSES = (3, 8, 8), 4


def layout_for(make_config: MakeConfig, **model: object):
    base = {"arch": "mlp", "hidden": [6, 6], "norm": None, "activation": None}
    values = {**make_config().model_dump(mode="json", exclude_none=True), "model": {**base, **model}}
    values["model"] = {key: value for key, value in values["model"].items() if value is not None}
    return layout_of(Config.model_validate(values).model, SHAPE, CLASSES)


def test_the_step_is_measured_against_the_weight_before_it(
    look_at: Callable[..., Look], make_config: MakeConfig
) -> None:
    network = nn.Sequential(OrderedDict(block1=nn.Sequential(OrderedDict(linear=nn.Linear(4, 6, bias=False)))))
    layout = layout_for(make_config, block="linear -> bn -> relu")
    weight, probe, look = network.block1.linear.weight, Updates(None), look_at(network, layout=layout)
    with torch.no_grad():
        weight.copy_(torch.full((6, 4), 0.5))  # |W| = sqrt(24 / 4)
        probe.before(look)
        weight[0, 0] += 0.02  # |step| = 0.02
    found = probe.after_step(look).scalars
    assert found["weight_norm/block1.linear"].item() == pytest.approx(math.sqrt(6))
    assert found["update_ratio/block1.linear"].item() == pytest.approx(math.log10(0.02 / math.sqrt(6)), abs=1e-4)
    assert found["effective_lr/block1.linear"].item() == pytest.approx(look.lr / 6)


def test_a_step_that_was_not_taken_has_the_ratio_zero(look_at: Callable[..., Look], make_config: MakeConfig) -> None:
    network, layout = nn.Sequential(nn.Linear(3, 2)), layout_for(make_config, block="linear -> relu")
    probe, look = Updates(None), look_at(network, layout=layout)
    probe.before(look)
    found = probe.after_step(look).scalars
    assert found["update_ratio/0"].item() == -math.inf
    assert "effective_lr/0" not in found


@pytest.mark.parametrize(
    ("block", "invariant"),
    [
        ("linear -> bn -> relu", True),
        ("linear -> relu -> bn", False),
        ("linear -> ln -> relu", False),  # its bias stays, and is not multiplied
        ("linear -> batch_renorm -> relu", False),
        ("linear -> dyt", False),
        ("linear(weight_std=true) -> relu", True),
        ("linear(weight_norm=true) -> ln -> relu", True),
        ("linear -> relu", False),
    ],
)
def test_the_layers_before_a_norm_forget_their_scale(make_config: MakeConfig, block: str, invariant: bool) -> None:
    expected = {"block1.linear", "block2.linear"} if invariant else set()
    assert scale_invariant_layers(layout_for(make_config, block=block)) == expected


def test_without_a_bias_layer_normalization_forgets_it_too(make_config: MakeConfig) -> None:
    layout = layout_for(make_config, block="linear -> ln -> relu", bias=False)
    assert scale_invariant_layers(layout) == {"block1.linear", "block2.linear"}


@pytest.mark.parametrize(
    "block",
    ["conv -> bn -> relu -> conv -> bn -> add -> relu", "bn -> relu -> conv -> bn -> relu -> conv -> add"],
)
def test_in_a_residual_network_they_are_those_whose_weights_can_be_multiplied(
    make_config: MakeConfig, block: str
) -> None:
    """Multiplying the weight by 8 changes the logits in training, up to eps, exactly where the layer is not listed."""
    model = {"arch": "resnet", "depth": 8, "block": block, "shortcut": "projection", "hidden": None}
    config = make_config()
    layout = layout_for(make_config, **model)
    given = {key: value for key, value in model.items() if value is not None}
    values = {**config.model_dump(mode="json", exclude_none=True), "model": given}
    network = build_model(Config.model_validate(values).model, config.init, SHAPE, CLASSES, seed=0).double()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12
    x = torch.randn(16, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected, found = network(x), set()
    for name, layer in layers.items():
        with torch.no_grad():
            layer.weight.mul_(8)
            if torch.allclose(network(x), expected, rtol=1e-6, atol=1e-8):
                found.add(name)
            layer.weight.div_(8)
    assert found == scale_invariant_layers(layout)
    assert found
    assert found < layers.keys() or "add -> relu" in block
