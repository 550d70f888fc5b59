"""What `build_model` promises besides the network itself."""

import pytest
import torch
from torch import nn

from bnexp.config.model import MlpConfig
from bnexp.config.schema import InitConfig
from bnexp.models.build import build_model, leaves


def model_of(block="linear -> bn -> relu -> dropout", hidden=(5, 4)):
    return MlpConfig(arch="mlp", hidden=hidden, block=block)


@pytest.mark.parametrize("scheme", ["torch", "kaiming", "xavier", "normal", "orthogonal"])
def test_building_leaves_torchs_own_stream_untouched(scheme):
    before = torch.get_rng_state()
    build_model(model_of(), InitConfig(scheme=scheme), (1, 3, 3), 4, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_torchs_own_stream_holds_does_not_matter():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = build_model(model_of(), InitConfig(), (1, 3, 3), 4, seed=0)
        torch.manual_seed(2)
        second = build_model(model_of(), InitConfig(), (1, 3, 3), 4, seed=0)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_leaves_are_the_items_and_the_head_in_order():
    network = build_model(model_of(), InitConfig(), (1, 3, 3), 4, seed=0)
    items = ["linear", "bn", "relu", "dropout"]
    assert list(leaves(network)) == [f"block{number}.{item}" for number in (1, 2) for item in items] + ["head"]


def test_a_module_without_children_is_its_own_leaf():
    layer = nn.Linear(2, 2)
    assert leaves(layer) == {"": layer}
