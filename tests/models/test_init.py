"""Initial weights: their distributions in closed form, and streams that make arms comparable."""

import math

import pytest
import torch
from torch import nn

from bnexp.config.layout import layout_of
from bnexp.config.model import MlpConfig
from bnexp.config.schema import NormalInit, PlainInit
from bnexp.models.build import build_model, initialize

OUT, IN = 400, 300
SCHEMES = ["torch", "kaiming", "xavier", "normal", "orthogonal"]  # those that draw; the other is "zeros"


def init_of(scheme="torch", **init):
    return (NormalInit if scheme == "normal" else PlainInit)(scheme=scheme, **init)


def layer_of(seed=0, out=OUT, width_in=IN, **init):
    layer = nn.Sequential(nn.Linear(width_in, out))
    initialize(layer, init_of(**init), seed)
    return layer[0]


def assert_moments(values, std, kurtosis):
    """Check mean 0, standard deviation and kurtosis, each within five of its standard errors."""
    n = values.numel()
    values = values.detach().double()
    assert abs(values.mean().item()) < 5 * std / math.sqrt(n)
    relative_error = math.sqrt((kurtosis - 1) / n)
    assert values.pow(2).mean().item() == pytest.approx(std**2, rel=5 * relative_error)
    assert (values.pow(4).mean() / std**4).item() == pytest.approx(kurtosis, rel=0.1)


@pytest.mark.parametrize(
    ("init", "bound"),
    [
        ({"scheme": "torch"}, 1 / math.sqrt(IN)),
        ({"scheme": "xavier"}, math.sqrt(6 / (IN + OUT))),
        ({"scheme": "xavier", "gain": 2.5}, 2.5 * math.sqrt(6 / (IN + OUT))),
    ],
)
def test_the_uniform_schemes_fill_their_bounds(init, bound):
    weight = layer_of(**init).weight
    assert 0.999 * bound < weight.abs().max().item() <= bound * (1 + 1e-6)
    assert_moments(weight, std=bound / math.sqrt(3), kurtosis=9 / 5)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ({"scheme": "kaiming"}, math.sqrt(2 / IN)),
        ({"scheme": "normal"}, 0.01),
        ({"scheme": "normal", "std": 0.3}, 0.3),
        ({"scheme": "normal", "std": 0.3, "gain": 0.5}, 0.15),
    ],
)
def test_the_gaussian_schemes_have_their_standard_deviation(init, std):
    assert_moments(layer_of(**init).weight, std=std, kurtosis=3)


@pytest.mark.parametrize("gain", [1.0, 1.7])
@pytest.mark.parametrize(("out", "width_in"), [(30, 20), (20, 30), (25, 25)])
def test_the_orthogonal_scheme_keeps_lengths(out, width_in, gain):
    weight = layer_of(scheme="orthogonal", gain=gain, out=out, width_in=width_in).weight.detach().double()
    gram = weight.T @ weight if out >= width_in else weight @ weight.T
    torch.testing.assert_close(gram, gain**2 * torch.eye(min(out, width_in), dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_gain_scales_the_weights_and_nothing_else(scheme):
    plain, scaled = layer_of(scheme=scheme), layer_of(scheme=scheme, gain=3.0)
    torch.testing.assert_close(scaled.weight, 3 * plain.weight)
    assert torch.equal(scaled.bias, plain.bias)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_biases_start_at_zero_but_for_torchs_scheme(scheme):
    bias = layer_of(scheme=scheme, out=20_000, width_in=4).bias
    if scheme == "torch":
        assert_moments(bias, std=0.5 / math.sqrt(3), kurtosis=9 / 5)
        assert bias.abs().max() <= 0.5
    else:
        assert not bias.any()


def test_the_schemes_of_torch_are_those_of_its_own_constructor():
    # The same distribution, so the same extremes and variance at a size where both are sharp.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = nn.Linear(IN, OUT)
    ours = layer_of(scheme="torch")
    for mine, torchs in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert mine.abs().max().item() == pytest.approx(torchs.abs().max().item(), rel=0.05)
        assert mine.std().item() == pytest.approx(torchs.std().item(), rel=0.1)


def weights_of(block="linear -> norm -> relu", seed=0, bias="auto", scheme="torch", norm="none", hidden=(9, 9, 9)):
    """Return the weights and biases of the linear layers, by name."""
    model = MlpConfig(arch="mlp", hidden=hidden, block=block, norm=norm if "norm" in block else None, bias=bias)
    network = build_model(layout_of(model, (1, 3, 3), 9), init_of(scheme=scheme), seed)
    return {name: p.detach() for name, p in network.named_parameters() if "linear" in name or "head" in name}


def assert_equal_where_shared(weights, others, count):
    shared = weights.keys() & others.keys()
    assert len(shared) == count
    for name in shared:
        assert torch.equal(weights[name], others[name]), name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("norm", ["bn", "ln", "bn(affine=false)"])
def test_arms_that_differ_in_norm_start_from_the_same_weights(norm, scheme):
    # Three layers and the head: four weights, and the biases where both arms have them.
    without, with_norm = weights_of(scheme=scheme), weights_of(scheme=scheme, norm=norm)
    assert_equal_where_shared(without, with_norm, count=8 if norm == "ln" else 5)


@pytest.mark.parametrize("bias", [True, False])
def test_arms_that_differ_in_bias_start_from_the_same_weights(bias):
    assert_equal_where_shared(weights_of(norm="bn"), weights_of(norm="bn", bias=bias), count=5)


def test_arms_that_differ_in_placement_or_depth_start_from_the_same_weights():
    after = weights_of("linear -> relu -> bn")
    assert_equal_where_shared(weights_of("linear -> bn -> relu"), after, count=5)
    assert_equal_where_shared(weights_of("bn -> dropout -> linear"), after, count=6)
    deeper = weights_of("linear -> relu -> bn", hidden=(9, 9, 9, 9))
    assert_equal_where_shared(deeper, after, count=8)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_and_seeds_start_differently(scheme):
    first, other = weights_of(scheme=scheme), weights_of(scheme=scheme, seed=1)
    drawn = [tensor for tensors in (first, other) for name, tensor in tensors.items() if name.endswith("weight")]
    assert len(drawn) == 8
    assert len({tuple(tensor.flatten().tolist()) for tensor in drawn}) == 8


def test_the_same_seed_starts_the_same():
    assert_equal_where_shared(weights_of(seed=5), weights_of(seed=5), count=8)


@pytest.mark.parametrize(
    "block", ["linear -> relu", "linear -> bn -> sigmoid", "linear(weight_std=true) -> ln -> tanh"]
)
def test_zeros_give_a_loss_of_ln_classes_and_no_hidden_layer_a_gradient(block):
    """The logits are the head's bias, 0, and what passes back through the head is W^T g with W = 0."""
    model = MlpConfig(arch="mlp", hidden=(6, 5), block=block)
    network = build_model(layout_of(model, (1, 3, 3), 7), init_of(scheme="zeros"), seed=0)
    x, labels = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 7
    logits = network(x)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    assert not logits.any()
    assert loss.item() == pytest.approx(math.log(7), rel=1e-7)
    hidden = [p for name, p in network.named_parameters() if not name.startswith("head")]
    assert len(hidden) >= 4
    assert not any(p.grad.any() for p in hidden)
    one_hot = nn.functional.one_hot(labels, 7).float()
    torch.testing.assert_close(network.head.bias.grad, 1 / 7 - one_hot.mean(dim=0))
    # The head's weights see what the last block gives for zeros: of sigmoid one half, of the others nothing.
    of_half = 0.5 * (1 / 7 - one_hot.mean(dim=0)).unsqueeze(1).expand(7, 5)
    expected = of_half if "sigmoid" in block else torch.zeros(7, 5)
    torch.testing.assert_close(network.head.weight.grad, expected)


def test_norms_start_with_gamma_one_and_beta_zero():
    model = MlpConfig(arch="mlp", hidden=(6, 6), block="linear -> bn -> ln")
    network = build_model(layout_of(model, (1, 2, 2), 3), NormalInit(scheme="normal"), seed=0)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.LayerNorm)]
    assert len(norms) == 4
    for module in norms:
        assert torch.equal(module.weight, torch.ones(6))
        assert torch.equal(module.bias, torch.zeros(6))
