"""Normalized weights against torch's parametrization and the formula of NF-ResNets, and what they make of a layer."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from bnexp.config.block import BlockError, parse_item
from bnexp.config.items import ACTIVATION_NAMES, NORM_NAMES
from bnexp.config.layout import Placed, layout_of
from bnexp.config.model import MlpConfig
from bnexp.config.norm_lint import no_scale_left
from bnexp.config.schema import PlainInit
from bnexp.inspection.outline import outline
from bnexp.models.build import build_model, leaves
from bnexp.norms.registry import build_norm
from bnexp.norms.weights import NormalizedLinear, build_linear, weight_norm, weight_std
from bnexp.training.optimizer import parameter_groups

OPTIONS = ["weight_norm", "weight_std"]


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layer_of(text, width_in=5, width=4, seed=1):
    layer = build_linear(parse_item(text).options, width_in, width, bias=True).double()
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed + number))
    return layer


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2, 2)], ids=str)
def test_weight_norm_is_torchs_parametrization(shape):
    layer = nn.Linear(5, 4) if len(shape) == 2 else nn.Conv2d(3, 4, 2)
    layer = parametrizations.weight_norm(layer.double(), dim=0)
    column, weight = (getattr(layer.parametrizations.weight, f"original{number}").detach() for number in (0, 1))
    torch.testing.assert_close(weight_norm(weight, column.flatten()), layer.weight.detach(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2, 2)], ids=str)
def test_weight_std_is_the_formula_of_nf_resnets(shape):
    weight, gain = draw(*shape) + 3, draw(4, seed=1)
    effective = weight_std(weight, gain)
    fan_in = math.prod(shape[1:])
    for unit in range(4):
        mean = weight[unit].sum() / fan_in
        var = ((weight[unit] - mean) ** 2).sum() / fan_in
        expected = gain[unit] * (weight[unit] - mean) / (fan_in * var) ** 0.5
        torch.testing.assert_close(effective[unit], expected, rtol=0, atol=1e-13)
    flat = effective.flatten(1)
    torch.testing.assert_close(flat.sum(dim=1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(flat.square().sum(dim=1), gain**2, rtol=1e-12, atol=0)


def test_weights_that_do_not_vary_are_not_blown_up():
    effective = weight_std(torch.full((2, 3), 5.0) + 1e-6 * torch.tensor([1.0, 0.0, -1.0]), torch.ones(2))
    assert torch.isfinite(effective).all()
    assert effective.abs().max() < 1e-3


@pytest.mark.parametrize("rule", [weight_norm, weight_std])
def test_the_scale_of_the_weights_does_not_matter_and_for_weight_std_neither_does_their_mean(rule):
    weight, gain = draw(4, 5), draw(4, seed=1)
    torch.testing.assert_close(rule(7 * weight, gain), rule(weight, gain), rtol=1e-12, atol=0)
    change = (rule(weight + 2, gain) - rule(weight, gain)).abs().max()
    assert change < 1e-12 if rule is weight_std else change > 1e-2


@pytest.mark.parametrize("rule", [weight_norm, weight_std])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 2, 2)], ids=str)
def test_the_gradient_is_that_of_the_function(rule, shape):
    inputs = (draw(*shape).requires_grad_(), draw(shape[0], seed=1).requires_grad_())
    assert torch.autograd.gradcheck(rule, inputs)


@pytest.mark.parametrize("option", OPTIONS)
def test_the_layer_is_linear_in_its_effective_weights(option):
    layer, x = layer_of(f"linear({option}=true)"), draw(3, 5)
    effective = {"weight_norm": weight_norm, "weight_std": weight_std}[option](layer.weight, layer.gain)
    torch.testing.assert_close(layer(x), x @ effective.T + layer.bias, rtol=0, atol=1e-13)


def test_without_options_it_is_torchs_linear_layer():
    assert type(layer_of("linear")) is nn.Linear
    assert type(layer_of("linear(weight_norm=false)")) is nn.Linear


def test_both_at_once_are_refused():
    with pytest.raises(
        BlockError, match=r"linear\(weight_std=true\): expected weight_std to be false beside weight_norm"
    ):
        parse_item("linear(weight_norm=true, weight_std=true)")


# In a network


def network_of(block, **init):
    model = MlpConfig(arch="mlp", hidden=(7, 5), block=block)
    return build_model(layout_of(model, (1, 3, 3), 4), PlainInit(**init), seed=3)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("scheme", ["torch", "kaiming", "orthogonal"])
def test_the_weights_underneath_start_as_in_a_layer_without(option, scheme):
    plain, normalized = (
        network_of(block, scheme=scheme) for block in ("linear -> relu", f"linear({option}=true) -> relu")
    )
    theirs = dict(normalized.named_parameters())
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, theirs[name]), name


def test_with_weight_norm_the_network_starts_as_the_one_without():
    x = torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    plain, normalized = network_of("linear -> relu", gain=1.5), network_of("linear(weight_norm=true) -> relu", gain=1.5)
    torch.testing.assert_close(normalized(x), plain(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_the_gain_of_weight_std_makes_up_for_the_activation_before_times_the_gain_of_the_config(gain):
    network = network_of("linear(weight_std=true) -> relu", gain=gain)
    assert torch.equal(network.block1.linear.gain, torch.full((7,), gain))  # standardized images
    after_relu = gain * math.sqrt(2 / (1 - 1 / math.pi))
    torch.testing.assert_close(network.block2.linear.gain, torch.full((5,), after_relu))


@pytest.mark.parametrize("activation", [*ACTIVATION_NAMES, "leaky_relu(slope=0.3)"])
def test_with_weight_std_the_variance_stays_one_from_layer_to_layer(activation):
    model = MlpConfig(arch="mlp", hidden=(1000,) * 6, block=f"linear(weight_std=true) -> {activation}")
    network = build_model(layout_of(model, (1, 20, 20), 4), PlainInit(scheme="kaiming"), seed=3)
    seen = {}
    for name, module in leaves(network).items():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
    network(torch.randn(500, 1, 20, 20, generator=torch.Generator().manual_seed(0)))
    for number in range(1, 7):
        assert seen[f"block{number}.linear"].var().item() == pytest.approx(1, rel=0.1), number


@pytest.mark.parametrize("option", OPTIONS)
def test_the_layer_is_one_item_with_its_shape_parameters_and_bias_note(option):
    network = network_of(f"linear({option}=true) -> bn -> relu")
    assert list(leaves(network))[:3] == ["block1.linear", "block1.bn", "block1.relu"]
    model = MlpConfig(arch="mlp", hidden=(7, 5), block=f"linear({option}=true) -> bn -> relu")
    row = outline(network, layout_of(model, (1, 3, 3), 4))[0]
    assert (row.name, row.shape, row.parameters) == ("block1.linear", (7,), 9 * 7 + 7)
    assert row.note == "no bias: bn subtracts the mean of each feature, a bias cancels"


@pytest.mark.parametrize("option", OPTIONS)
def test_the_gain_is_not_decayed_and_the_weight_is(option):
    network = network_of(f"linear({option}=true) -> relu")
    decayed, spared = parameter_groups(network, 0.1, decay_norm_and_bias=False)
    layers = [module for module in network.modules() if isinstance(module, NormalizedLinear)]
    assert len(layers) == 2
    for layer in layers:
        assert any(parameter is layer.weight for parameter in decayed["params"])
        assert any(parameter is layer.gain for parameter in spared["params"])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("positions", [(), (6, 6)], ids=str)
@pytest.mark.parametrize("name", NORM_NAMES)
def test_the_lint_names_the_norms_before_which_the_scale_of_weights_has_no_effect(name, positions, bias):
    if name == "in" and not positions:
        return
    item, layer = parse_item(name), parse_item("conv" if positions else "linear")
    if name in ("gn", "evonorm_s0"):
        item = parse_item(f"{name}(groups=2)")
    shape = (8, *positions)
    norm = build_norm(item, shape).double().train()
    norm.noisy = False  # where it draws noise: what it adds does not look at x
    scale = torch.tensor([0.5, 2, 1, 4, 0.7, 3, 1.5, 0.3], dtype=torch.float64).view(-1, *[1] * len(positions))
    x, added = draw(64, *shape), draw(8, seed=1).view(-1, *[1] * len(positions)) if bias else 0.0
    with torch.no_grad():
        before, after = norm(x + added), norm(scale * x + added)
    undone = ((after - before).std() / before.std()).item() < 3e-3
    place = Placed("layer", layer, shape, shape, bias=bias)
    # batch_renorm with its first batch is bn; later, the running statistics know the old scale
    assert no_scale_left(place, item, of_each_unit=True) == (undone and name != "batch_renorm")
