"""Steps of the weights against a step taken by hand, and which layers forget the length of their weights."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bnexp.blueprint import draw
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import Config
from bnexp.measure.subject import Look
from bnexp.probes.updates import Updates, scale_invariant_layers
from bnexp.training.build import TrainingRun, build
from kernels import kernels_of

MakeConfig = Callable[..., Config]
IMAGES = {"synthetic": {"classes": 4, "shape": [3, 8, 8], "size": 100}}


def experiment(make_config: MakeConfig, optimizer: dict[str, Any] | None = None, **model: Any) -> TrainingRun:
    given = {"norm": None, "activation": None, **model}
    config = make_config(model=given, data=IMAGES, optimizer=optimizer or {})
    return build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")


def looked_at(run: TrainingRun, change: Callable[[], None]) -> dict[str, float]:
    probe, look = Updates(ProbeSchedule(every=1)), Look(run.subject, 1, 0.1, *run.batches.at(0))
    probe.before(look)
    with torch.no_grad():
        change()
    return {name: value.item() for name, value in probe.after_step(look).scalars.items()}


def test_the_step_is_measured_against_the_weight_before_it(make_config: MakeConfig) -> None:
    run = experiment(make_config, block="linear -> bn -> relu")
    weight = run.items["block2.linear"].weight  # (8, 12)
    nn.init.constant_(weight, 0.5)  # |W| = sqrt(96 / 4)
    found = looked_at(run, lambda: weight[0, 0].add_(0.02))
    assert found["weight_norm/block2.linear"] == pytest.approx(math.sqrt(24))
    assert found["update_ratio/block2.linear"] == pytest.approx(math.log10(0.02 / math.sqrt(24)), abs=1e-4)
    assert found["effective_lr/block2.linear"] == pytest.approx(0.1 / 24)
    assert found["update_ratio/head"] == -math.inf
    assert "effective_lr/head" not in found


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_where_the_gradients_length_does_not_count_the_rate_is_that_of_the_direction(
    make_config: MakeConfig, name: str
) -> None:
    run = experiment(make_config, {"name": name, "momentum": None}, block="linear -> bn -> relu")
    nn.init.constant_(run.items["block2.linear"].weight, 0.5)
    assert looked_at(run, lambda: None)["effective_lr/block2.linear"] == pytest.approx(0.1 / math.sqrt(24))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("linear -> bn -> relu", {"block1", "block2"}),
        ("bn -> relu -> linear", {"block1"}),  # the norm of the next block
        ("linear -> relu -> bn", set()),
        ("linear -> ln -> relu", set()),  # its bias stays, and is not multiplied
        ("linear -> batch_renorm -> relu", set()),
        ("linear -> dyt", set()),
        ("linear(weight_std=true) -> relu", {"block1", "block2"}),
        ("linear(weight_norm=true) -> ln -> relu", {"block1", "block2"}),
        ("linear -> relu", set()),
    ],
)
def test_the_layers_before_a_norm_forget_their_scale(make_config: MakeConfig, block: str, expected: set[str]) -> None:
    run = experiment(make_config, block=block)
    assert scale_invariant_layers(run.subject) == {f"{name}.linear" for name in expected}


def test_without_a_bias_layer_normalization_forgets_it_too(make_config: MakeConfig) -> None:
    run = experiment(make_config, block="linear -> ln -> relu", bias=False)
    assert scale_invariant_layers(run.subject) == {"block1.linear", "block2.linear"}


def test_before_frn_of_one_position_the_scale_counts_beside_the_eps_that_it_learns(make_config: MakeConfig) -> None:
    run = experiment(make_config, block="linear -> frn -> tlu", bias=False)
    assert scale_invariant_layers(run.subject) == set()
    layer, frn = run.network.block1.linear, run.network.block1.frn
    x = run.batches.at(0)[0].flatten(1)
    before = frn(layer(x))
    with torch.no_grad():
        layer.weight.div_(100)
    assert (frn(layer(x)) - before).abs().max() > 0.1


RESNET = {"arch": "resnet", "depth": 8, "shortcut": "projection", "hidden": None}
CNN = {"arch": "cnn", "stages": [[6], [6, 6]], "hidden": None}


@pytest.mark.parametrize(
    "model",
    [
        {**RESNET, "block": "conv -> bn -> relu -> conv -> bn -> add -> relu"},
        {**RESNET, "block": "bn -> relu -> conv -> bn -> relu -> conv -> add"},
        {**CNN, "block": "bn -> relu -> conv"},
        {**CNN, "block": "conv -> bn -> relu"},
        {"block": "bn -> relu -> linear"},
    ],
    ids=lambda model: f"{model.get('arch', 'mlp')}: {model['block']}",
)
def test_they_are_those_whose_weights_can_be_multiplied(make_config: MakeConfig, model: dict[str, Any]) -> None:
    """Multiplying the weight by 8 changes the logits in training, up to eps, exactly where the layer is not listed.

    In a cnn a max pooling lets a scale through as well, which the list does not go into.
    """
    run = experiment(make_config, **model)
    network = run.network.double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = 1e-12
    x = run.batches.at(0)[0].double()
    expected, found = network(x), set()
    for name, layer in run.subject.layers.items():
        with torch.no_grad():
            layer.weight.mul_(8)
            if torch.allclose(network(x), expected, rtol=1e-6, atol=1e-8):
                found.add(name)
            layer.weight.div_(8)
    listed = scale_invariant_layers(run.subject)
    assert listed <= found
    before_a_pooling = {"stage1.block1.conv"} if model["block"] == "bn -> relu -> conv" else set()
    assert found - listed <= before_a_pooling
    assert listed


@pytest.mark.parametrize("block", ["linear -> bn -> relu", "linear(weight_norm=true) -> ln(affine=false) -> relu"])
def test_layers_that_are_measured_together_have_the_figures_of_each_by_itself(
    make_config: MakeConfig, block: str
) -> None:
    run = experiment(make_config, block=block)
    layers = run.subject.layers.items()
    before = {name: layer.weight.detach().double() for name, layer in layers}
    found = looked_at(
        run, lambda: [values.add_(0.01 * torch.randn_like(values)) for values in run.network.parameters()]
    )
    expected = dict[str, float]()
    for name, layer in layers:
        length, step = before[name].norm().item(), (layer.weight.detach().double() - before[name]).norm().item()
        expected |= {f"update_ratio/{name}": math.log10(step / length), f"weight_norm/{name}": length}
        if name in scale_invariant_layers(run.subject):
            expected[f"effective_lr/{name}"] = 0.1 / length**2
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-5)


def test_more_layers_take_no_more_operations(make_config: MakeConfig) -> None:
    def kernels(blocks: int) -> int:
        run = experiment(make_config, block="linear -> bn -> relu", hidden=[8] * blocks)
        probe, look = Updates(ProbeSchedule(every=1)), Look(run.subject, 1, 0.1, *run.batches.at(0))
        return kernels_of(lambda: probe.before(look)) + kernels_of(lambda: probe.after_step(look))

    assert kernels(8) == kernels(4) < 15
