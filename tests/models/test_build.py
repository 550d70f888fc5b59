"""What `build_model` promises besides the network itself."""

import pytest
import torch
from torch import nn

from bnexp.config.layout import layout_of
from bnexp.config.model import MlpConfig, ResnetConfig
from bnexp.config.randomness import derive_seed
from bnexp.config.schema import NormalInit, PlainInit
from bnexp.models.build import build_model, leaves
from bnexp.models.dropout import Dropout
from bnexp.norms.noisy_batch_norm import NoisyBatchNorm

PLAIN = ("torch", "kaiming", "xavier", "orthogonal")
INITS = [*(PlainInit(scheme=scheme) for scheme in PLAIN), NormalInit(scheme="normal")]


def model_of(block="linear -> bn -> relu -> dropout", hidden=(5, 4)):
    return MlpConfig(arch="mlp", hidden=hidden, block=block)


@pytest.mark.parametrize("init", INITS, ids=lambda init: init.scheme)
def test_building_leaves_torchs_own_stream_untouched(init):
    before = torch.get_rng_state()
    build_model(layout_of(model_of(), (1, 3, 3), 4), init, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_torchs_own_stream_holds_does_not_matter():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = build_model(layout_of(model_of(), (1, 3, 3), 4), PlainInit(), seed=0)
        torch.manual_seed(2)
        second = build_model(layout_of(model_of(), (1, 3, 3), 4), PlainInit(), seed=0)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_leaves_are_the_items_and_the_head_in_order():
    network = build_model(layout_of(model_of(), (1, 3, 3), 4), PlainInit(), seed=0)
    items = ["linear", "bn", "relu", "dropout"]
    assert list(leaves(network)) == [f"block{number}.{item}" for number in (1, 2) for item in items] + ["head"]


def test_a_module_without_children_is_its_own_leaf():
    layer = nn.Linear(2, 2)
    assert leaves(layer) == {"": layer}


def test_what_draws_at_every_step_has_the_seed_of_its_place():
    model = ResnetConfig(
        arch="resnet", stages=(1, 1), shortcut="projection", block="conv -> relu -> dropout -> conv -> noisy_bn -> add"
    )
    network = build_model(layout_of(model, (3, 8, 8), 4), PlainInit(), seed=5)
    purposes = {Dropout: "dropout", NoisyBatchNorm: "noise"}
    drawing = {name: module for name, module in network.named_modules() if type(module) in purposes}
    assert {"stem.dropout", "stage1.block1.dropout", "stage2.block1.shortcut.noisy_bn"} <= drawing.keys()
    for name, module in drawing.items():
        assert module.stream.seed == derive_seed(5, purposes[type(module)], name)
