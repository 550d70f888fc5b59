"""The compiled network is the plain one: its parameters and its buffers."""

import pytest
import torch
import torch._dynamo.config
import torch._dynamo.utils
from torch import Tensor, nn

from bnexp.training.compiling import compiled

pytestmark = pytest.mark.usefixtures("as_traced")


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


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


@pytest.mark.long
@torch._dynamo.config.patch(recompile_limit=2)
def test_it_is_compiled_also_after_many_others() -> None:
    """torch gives up on a code that it has compiled eight times over, here twice, unless it is told to begin anew."""
    for _ in range(4):
        forward = compiled(network())
        torch._dynamo.utils.counters.clear()
        forward(inputs())
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
