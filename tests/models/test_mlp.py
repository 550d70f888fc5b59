"""The MLP against the same network written by hand in torch, in float64."""

import pytest
import torch
from torch import nn

from bnexp.config.layout import layout_of
from bnexp.config.model import MlpConfig
from bnexp.config.schema import PlainInit
from bnexp.models.build import build_model

SHAPE, CLASSES, HIDDEN = (2, 3, 3), 4, (10, 8)


def build(block, bias="auto"):
    model = MlpConfig(arch="mlp", hidden=HIDDEN, block=block, bias=bias)
    return build_model(layout_of(model, SHAPE, CLASSES), PlainInit(), seed=0).double()


def by_hand(block):
    """Return the network as a person would write it in torch."""
    layers = {
        "linear -> bn -> relu": [
            *(nn.Linear(18, 10, bias=False), nn.BatchNorm1d(10), nn.ReLU()),
            *(nn.Linear(10, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU()),
        ],
        "linear -> tanh -> ln": [
            *(nn.Linear(18, 10), nn.Tanh(), nn.LayerNorm(10)),
            *(nn.Linear(10, 8), nn.Tanh(), nn.LayerNorm(8)),
        ],
        "bn -> relu -> linear": [
            *(nn.BatchNorm1d(18), nn.ReLU(), nn.Linear(18, 10, bias=False)),
            *(nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 8)),
        ],
        "linear -> sigmoid": [nn.Linear(18, 10), nn.Sigmoid(), nn.Linear(10, 8), nn.Sigmoid()],
    }
    return nn.Sequential(nn.Flatten(), *layers[block], nn.Linear(8, CLASSES)).double()


def same_weights(block):
    """Return bnexp's network and the one by hand with its weights."""
    ours, theirs = build(block), by_hand(block)
    own = list(ours.parameters())
    with torch.no_grad():
        for mine, other in zip(own, theirs.parameters(), strict=True):
            other.copy_(mine)
    return ours, theirs


@pytest.mark.parametrize(
    "block", ["linear -> bn -> relu", "linear -> tanh -> ln", "bn -> relu -> linear", "linear -> sigmoid"]
)
def test_forward_and_two_sgd_steps_are_those_of_the_network_by_hand(block):
    ours, theirs = same_weights(block)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        x = torch.randn(16, *SHAPE, dtype=torch.float64, generator=generator)
        labels = torch.randint(CLASSES, (16,), generator=generator)
        losses = []
        for network in (ours, theirs):
            optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
            loss = nn.functional.cross_entropy(network(x), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-13)
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    x = torch.randn(5, *SHAPE, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-12)


def test_images_are_flattened_channel_by_channel_row_by_row():
    network = build_model(
        layout_of(MlpConfig(arch="mlp", hidden=(18,), block="linear"), SHAPE, 18), PlainInit(), seed=0
    )
    for layer in (network.block1.linear, network.head):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.arange(36.0).view(2, *SHAPE)
    assert torch.equal(network(x), torch.stack([torch.arange(18.0), torch.arange(18.0, 36.0)]))
