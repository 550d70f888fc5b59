"""A block becomes exactly the modules that are written, with a bias exactly where it can matter."""

import pytest
import torch
from torch import nn

from bnexp.config.block import parse_block
from bnexp.config.layout import layout_of, place_block, with_biases
from bnexp.config.model import MlpConfig
from bnexp.config.schema import PlainInit
from bnexp.models.build import build_model
from bnexp.models.dropout import Dropout
from bnexp.models.network import build_block
from bnexp.norms.layer_norm import LayerNorm


def block_of(line, *, norm=None, activation=None, following=None, bias="auto", width_in=6, width=4, seed=0):
    parts = [place_block(parse_block(line, norm, activation), "block1", (width_in,), width)]
    if following:
        parts.append(place_block(parse_block(following), "block2", (width,), width))
    return build_block(with_biases(parts, bias)[0], seed)


PLACEMENTS = {
    "linear -> bn -> relu": [("linear", nn.Linear), ("bn", nn.BatchNorm1d), ("relu", nn.ReLU)],
    "linear -> relu -> bn": [("linear", nn.Linear), ("relu", nn.ReLU), ("bn", nn.BatchNorm1d)],
    "bn -> relu -> linear": [("bn", nn.BatchNorm1d), ("relu", nn.ReLU), ("linear", nn.Linear)],
    "linear -> ln -> gelu": [("linear", nn.Linear), ("ln", LayerNorm), ("gelu", nn.GELU)],
    "linear -> relu": [("linear", nn.Linear), ("relu", nn.ReLU)],
    "linear": [("linear", nn.Linear)],
    "linear -> bn -> relu -> dropout(p=0.1)": [
        ("linear", nn.Linear),
        ("bn", nn.BatchNorm1d),
        ("relu", nn.ReLU),
        ("dropout", Dropout),
    ],
    "linear -> bn -> tanh -> linear -> ln -> tanh": [
        ("linear1", nn.Linear),
        ("bn", nn.BatchNorm1d),
        ("tanh1", nn.Tanh),
        ("linear2", nn.Linear),
        ("ln", LayerNorm),
        ("tanh2", nn.Tanh),
    ],
}


@pytest.mark.parametrize("line", PLACEMENTS)
def test_exactly_what_is_written_is_built_in_that_order(line):
    assert [(name, type(module)) for name, module in block_of(line).named_children()] == PLACEMENTS[line]


@pytest.mark.parametrize("line", PLACEMENTS)
def test_the_items_fit_and_lead_from_the_width_before_to_the_width(line):
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    assert block_of(line)(x).shape == (5, 4)


def test_the_placeholders_are_filled_and_none_takes_the_norm_out():
    with_norm = block_of("linear -> norm -> act", norm="ln(eps=0.5)", activation="silu")
    assert [type(module) for module in with_norm] == [nn.Linear, LayerNorm, nn.SiLU]
    assert with_norm.ln.eps == 0.5
    without = block_of("linear -> norm -> act", norm="none", activation="silu")
    assert [type(module) for module in without] == [nn.Linear, nn.SiLU]


def test_the_options_of_an_item_reach_its_module():
    block = block_of("linear -> bn(momentum=0.02) -> leaky_relu(slope=0.3) -> dropout(p=0.4)")
    assert (block.bn.momentum, block.leaky_relu.negative_slope, block.dropout.p) == (0.02, 0.3, 0.4)


def test_norms_before_the_first_layer_have_the_width_of_the_input_and_later_ones_that_of_the_output():
    block = block_of("bn -> linear -> bn -> relu -> linear", width_in=6, width=4)
    assert (block.bn1.num_features, block.bn2.num_features) == (6, 4)
    assert (tuple(block.linear1.weight.shape), tuple(block.linear2.weight.shape)) == ((4, 6), (4, 4))


@pytest.mark.parametrize(
    ("line", "following", "kept"),
    [
        ("linear -> bn -> relu", None, [False]),
        ("linear -> relu -> bn", None, [True]),
        ("linear -> ln -> relu", None, [True]),
        ("linear -> relu", "linear", [True]),
        ("linear -> dropout -> bn", None, [True]),
        ("bn -> relu -> linear", "bn", [False]),
        ("bn -> relu -> linear", None, [True]),
        ("ln -> relu -> linear", "ln", [True]),
        ("linear -> bn -> linear", None, [False, True]),
        ("linear -> linear -> bn", None, [True, False]),
    ],
)
def test_auto_leaves_the_bias_out_only_right_before_a_mean_per_feature(line, following, kept):
    layers = [module for module in block_of(line, following=following) if isinstance(module, nn.Linear)]
    assert [layer.bias is not None for layer in layers] == kept


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("line", ["linear -> bn -> relu", "linear -> relu", "linear -> ln"])
def test_true_and_false_are_obeyed_everywhere(line, bias):
    assert (block_of(line, bias=bias).linear.bias is not None) is bias


def network_of(line, bias, init=None):
    """Return a network of two blocks in float64, and the biases in its blocks."""
    model = MlpConfig(arch="mlp", hidden=(7, 5), block=line, bias=bias)
    network = build_model(layout_of(model, (1, 2, 3), 3), init or PlainInit(), seed=0).double()
    biases = [p for name, p in network.named_parameters() if name.startswith("block") and name.endswith("linear.bias")]
    return network, biases


@pytest.mark.parametrize(("line", "cancels"), [("linear -> bn -> tanh", True), ("linear -> ln -> tanh", False)])
def test_why_the_bias_is_left_out_before_bn_and_kept_before_ln(line, cancels):
    x = torch.randn(16, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    network, biases = network_of(line, True)
    before = network(x).detach()
    with torch.no_grad():
        for number, bias in enumerate(biases):
            bias.copy_(10 * torch.randn(len(bias), generator=torch.Generator().manual_seed(number)))
    assert len(biases) == 2
    difference = (network(x).detach() - before).abs().max().item()
    assert difference < 1e-12 if cancels else difference > 1e-2


def test_leaving_the_bias_out_is_the_same_function_in_training():
    x = torch.randn(16, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with_bias, biases = network_of("bn -> tanh -> linear", True)
    without, kept = network_of("bn -> tanh -> linear", "auto")
    assert (len(biases), len(kept)) == (2, 1)
    torch.testing.assert_close(without(x), with_bias(x), rtol=0, atol=1e-12)
