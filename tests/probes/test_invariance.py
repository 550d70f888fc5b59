"""Scaled weights in networks whose answer is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.items import LayerOptions
from bnexp.config.probes_section import InvarianceSchedule
from bnexp.measure.subject import Look
from bnexp.norms.weights import build_conv, build_linear
from bnexp.probes.invariance import Invariance

Measure = Callable[..., dict[str, float]]


@pytest.fixture
def scaled(look_at: Callable[..., Look]) -> Measure:
    torch.manual_seed(1)

    def measure(network: nn.Module, x: Tensor, factor: float = 10.0) -> dict[str, float]:
        probe = Invariance(InvarianceSchedule(every=1, factor=factor))
        reading = probe.after_step(look_at(network, x, torch.arange(len(x)) % 3))
        return {name: value.item() for name, value in reading.scalars.items()}

    return measure


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_before_batch_normalization_weights_are_scale_invariant(scaled: Measure, factor: float) -> None:
    layers = nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4, eps=1e-12), nn.ReLU(), nn.Linear(4, 3)
    found = scaled(nn.Sequential(*layers).double(), torch.randn(8, 5, dtype=torch.float64), factor)
    assert found["invariance_change/0"] == pytest.approx(0.0, abs=1e-5)
    assert found["invariance_gradient/0"] == pytest.approx(1.0, rel=1e-5)
    assert found["invariance_change/3"] > 0.1


@pytest.mark.parametrize("factor", [0.25, 10.0])
def test_without_norms_and_biases_the_logits_of_a_relu_network_scale_along(scaled: Measure, factor: float) -> None:
    convolution = nn.Conv2d(2, 4, 3, bias=False)
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.ReLU())
    network.append(nn.Linear(6, 3, bias=False))
    found = scaled(network, torch.randn(7, 2, 4, 4), factor)
    changes = {name: value for name, value in found.items() if name.startswith("invariance_change/")}
    assert changes == {f"invariance_change/{layer}": pytest.approx(abs(factor - 1), rel=1e-4) for layer in (0, 3, 5)}


def test_a_bias_is_not_scaled(scaled: Measure) -> None:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.zero_()
    found = scaled(nn.Sequential(layer), torch.randn(5, 2))
    assert found == {"invariance_change/0": 0.0, "invariance_gradient/0": 10.0}


def test_under_weight_norm_the_weights_are_scale_invariant_without_any_norm_behind(scaled: Measure) -> None:
    options = LayerOptions(weight_norm=True)
    convolution = build_conv(options, 2, 4, 3, 1, bias=True)
    layers = convolution, nn.ReLU(), nn.Flatten(), build_linear(options, 64, 3, bias=True)
    found = scaled(nn.Sequential(*layers), torch.randn(6, 2, 4, 4))
    for layer in (0, 3):
        assert found[f"invariance_change/{layer}"] == pytest.approx(0.0, abs=1e-5)
        assert found[f"invariance_gradient/{layer}"] == pytest.approx(1.0, rel=1e-4)
