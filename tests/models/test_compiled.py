"""The compiled network is the plain one: its parameters, its buffers, its streams."""

import pytest
import torch
from torch import Tensor, nn

from bnexp.models.compiled import compiled
from bnexp.models.dropout import Dropout

pytestmark = pytest.mark.usefixtures("as_traced")


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), Dropout(0.5, seed=3), nn.Linear(8, 2))


def inputs() -> Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def test_parameters_and_buffers_are_shared() -> None:
    plain = network()
    forward = compiled(plain)
    forward(inputs()).sum().backward()
    assert plain[1].num_batches_tracked == 1
    assert all(parameter.grad is not None for parameter in plain.parameters())
    with torch.no_grad():
        plain[3].weight.zero_()
    torch.testing.assert_close(forward(inputs()), plain[3].bias.expand(6, 2))


def test_what_draws_draws_as_in_the_plain_network() -> None:
    plain, twin = network(), network()
    forward = compiled(twin)
    for _ in range(3):
        torch.testing.assert_close(forward(inputs()), plain(inputs()))
    assert torch.equal(twin[2].stream.state(), plain[2].stream.state())


def test_to_compile_once_more_changes_nothing() -> None:
    plain, twin = network(), network()
    compiled(twin)
    forward = compiled(twin)
    for _ in range(2):
        torch.testing.assert_close(forward(inputs()), plain(inputs()))
    torch.testing.assert_close(twin.eval()(inputs()), plain.eval()(inputs()))
