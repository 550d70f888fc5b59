"""The figures of the activations against direct computation."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.probes.activations import Activations, dead_fraction
from bnexp.probes.probe import Look

Measure = Callable[[nn.Module, torch.Tensor], dict[str, torch.Tensor]]


@pytest.fixture
def looked_at(look_at: Callable[..., Look]) -> Measure:
    def measure(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        probe, look = Activations(ProbeSchedule(every=1)), look_at(network, x)
        probe.before(look)
        network(x)
        return probe.after_backward(look).scalars

    return measure


def test_mean_standard_deviation_and_largest_magnitude(looked_at: Measure) -> None:
    network = nn.Sequential(nn.Linear(5, 7), nn.Tanh())
    x = torch.randn(32, 5, generator=torch.Generator().manual_seed(1))
    found = looked_at(network, x)
    for name, output in (("0", network[0](x)), ("1", network(x))):
        values = output.detach().numpy()
        assert found[f"activation_mean/{name}"].item() == pytest.approx(values.mean(), abs=1e-6)
        assert found[f"activation_std/{name}"].item() == pytest.approx(values.std(), rel=1e-5)
        assert found[f"activation_max/{name}"].item() == pytest.approx(abs(values).max())


def test_a_relu_unit_is_dead_when_it_is_zero_for_the_whole_batch(looked_at: Measure) -> None:
    x = torch.tensor([[-1.0, -1.0, 2.0, 0.0], [-2.0, 3.0, 1.0, 0.0]])
    assert looked_at(nn.Sequential(nn.ReLU()), x)["dead_fraction/0"].item() == 0.5
    feature_maps = torch.zeros(2, 3, 2, 2)
    feature_maps[1, 0] = 1.0
    assert dead_fraction(feature_maps).item() == pytest.approx(2 / 3)


def test_saturation_counts_beyond_the_stated_bounds(looked_at: Measure) -> None:
    tanh = torch.atanh(torch.tensor([[0.96, 0.98], [-0.96, -0.98]]))
    assert looked_at(nn.Sequential(nn.Tanh()), tanh)["saturated_fraction/0"].item() == 0.5
    sigmoid = torch.logit(torch.tensor([[0.02, 0.04], [0.96, 0.98]]))
    assert looked_at(nn.Sequential(nn.Sigmoid()), sigmoid)["saturated_fraction/0"].item() == 0.5


def test_only_saturating_units_have_a_saturated_fraction(looked_at: Measure) -> None:
    found = looked_at(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.GELU(), nn.Sigmoid()), torch.randn(4, 2))
    assert {name for name in found if "fraction" in name} == {"dead_fraction/1", "saturated_fraction/3"}


def test_non_finite_values_are_measured_without_an_error(looked_at: Measure) -> None:
    found = looked_at(nn.Sequential(nn.ReLU()), torch.tensor([[float("nan")], [float("inf")]]))
    assert not torch.isfinite(found["activation_mean/0"])


def test_nothing_is_watched_after_the_look(looked_at: Measure) -> None:
    network = nn.Sequential(nn.ReLU())
    looked_at(network, torch.ones(1, 1))
    assert not network[0]._forward_hooks
