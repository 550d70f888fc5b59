"""Gradient norms against a closed form."""

import math
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.probes.gradients import Gradients
from bnexp.probes.probe import Look

Measure = Callable[[nn.Module], dict[str, Tensor]]


@pytest.fixture
def measured(look_at: Callable[..., Look]) -> Measure:
    return lambda network: Gradients(ProbeSchedule(every=1)).after_backward(look_at(network)).scalars


def test_norms_of_a_two_layer_linear_network(measured: Measure) -> None:
    """For loss = sum(W2 W1 x): dW2 = 1 (W1 x)^T, dW1 = W2^T 1 x^T, in closed form."""
    first, second = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
    network = nn.Sequential(first, nn.Identity(), second).double()
    x = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
    network(x).sum().backward()
    found = measured(network)
    hidden, back = first.weight @ x[0], second.weight.sum(dim=0)
    expected = {"0": back.norm() * x.norm(), "2": math.sqrt(2) * hidden.norm()}
    for name, norm in expected.items():
        assert found[f"gradient_norm/{name}"].item() == pytest.approx(norm.item())
    assert found["gradient_norm/total"].item() == pytest.approx(
        math.hypot(*(norm.item() for norm in expected.values()))
    )
    assert set(found) == {"gradient_norm/0", "gradient_norm/2", "gradient_norm/total"}


def test_weight_and_bias_count_together(measured: Measure) -> None:
    layer = nn.Linear(2, 2)
    layer(torch.tensor([[3.0, 4.0]])).sum().backward()
    found = measured(nn.Sequential(OrderedDict(layer=layer)))
    assert found["gradient_norm/layer"].item() == pytest.approx(math.sqrt(2 * 25 + 2))


def test_without_gradients_there_is_nothing_to_read(measured: Measure) -> None:
    assert measured(nn.Linear(2, 2)) == {}
