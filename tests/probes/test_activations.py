"""The figures of the activations against direct computation."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.samples import as_units
from bnexp.measure.subject import Look
from bnexp.probes import activations
from bnexp.probes.activations import Activations, dead_fractions, ranks
from kernels import kernels_of

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


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_moments_of_a_large_output_are_those_of_float64(
    looked_at: Measure, memory_format: torch.memory_format
) -> None:
    maps = torch.randn(64, 16, 32, 32, generator=torch.Generator().manual_seed(2)) + 1
    found = looked_at(nn.Sequential(nn.Identity(), nn.ReLU()), maps.to(memory_format=memory_format))
    for name, values in (("0", maps.double().numpy()), ("1", maps.relu().double().numpy())):
        assert found[f"activation_mean/{name}"].item() == pytest.approx(values.mean(), rel=1e-6)
        assert found[f"activation_std/{name}"].item() == pytest.approx(values.std(), rel=1e-6)
        assert found[f"activation_max/{name}"].item() == abs(values).max()


def test_a_relu_unit_is_dead_when_it_is_zero_for_the_whole_batch(looked_at: Measure) -> None:
    x = torch.tensor([[-1.0, -1.0, 2.0, 0.0], [-2.0, 3.0, 1.0, 0.0]])
    assert looked_at(nn.Sequential(nn.ReLU()), x)["dead_fraction/0"].item() == 0.5


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_channel_is_dead_when_it_is_zero_at_all_positions(memory_format: torch.memory_format) -> None:
    """Without any dead channel, 6 of 16 pairs of a channel and a position are dead."""
    maps = torch.zeros(2, 4, 2, 2).to(memory_format=memory_format)
    for number, (channel, row, column) in enumerate([(0, 0, 0), (0, 1, 1), (1, 1, 0)]):
        maps[number % 2, channel, row, column] = 1.0
    maps[1, 2:] = 1.0
    maps[1, 3, 0, 0] = 0.0
    found = {name: value.item() for name, value in dead_fractions({"maps": maps}).items()}
    assert found == {"dead_fraction/maps": (2 + 3 + 0 + 1) / 16, "dead_channels/maps": 0.0}
    maps[:, 1] = 0.0
    assert dead_fractions({"maps": maps})["dead_channels/maps"].item() == 0.25
    assert set(dead_fractions({"maps": maps.flatten(1)})) == {"dead_fraction/maps"}


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


def test_percentiles_are_those_of_the_values(looked_at: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(32, 7, generator=torch.Generator().manual_seed(3))
    found = looked_at(nn.Sequential(nn.Identity()), x)
    monkeypatch.setattr(activations, "waits", lambda device: True)  # as for a GPU
    again = looked_at(nn.Sequential(nn.Identity()), x)
    for percent in (15, 50, 85):
        name = f"activation_p{percent}/0"
        assert found[name].item() == pytest.approx(np.percentile(x.numpy(), percent), abs=1e-6)
        assert torch.equal(again[name], found[name])
    x[3, 3] = torch.nan
    assert looked_at(nn.Sequential(nn.Identity()), x)["activation_p15/0"].isnan()


def test_percentiles_of_many_values_are_near_those_of_all(looked_at: Measure) -> None:
    found = looked_at(
        nn.Sequential(nn.Identity()), torch.randn(128, 8, 16, 16, generator=torch.Generator().manual_seed(5))
    )
    for percent, quantile in ((15, -1.0364), (50, 0.0), (85, 1.0364)):  # of the standard normal distribution
        assert found[f"activation_p{percent}/0"].item() == pytest.approx(quantile, abs=0.1)


def participation(matrix: np.ndarray) -> float:
    """Return (sum l)^2 / sum l^2 of the eigenvalues l of a symmetric matrix, in float64."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_both_ranks_are_those_of_the_eigenvalues(offset: float) -> None:
    features = torch.randn(9, 5, generator=torch.Generator().manual_seed(4)) * torch.arange(1, 6) + offset
    for matrix in (features, features.T, 1e30 * features, 1e-30 * features):
        exact = matrix.double().numpy()
        expected = participation(np.cov(exact, rowvar=False)), participation(exact @ exact.T)
        assert [rank.item() for rank in ranks(matrix)] == pytest.approx(expected, rel=1e-5 if offset == 0 else 1e-4)


def test_the_ranks_lie_between_one_direction_and_the_whole_batch() -> None:
    direction = torch.arange(1.0, 7.0).unsqueeze(1) @ torch.tensor([[1.0, -2.0, 0.5]])
    assert [rank.item() for rank in ranks(direction)] == pytest.approx([1, 1])
    assert [rank.item() for rank in ranks(torch.eye(6, 20))] == pytest.approx([5, 6])
    both = torch.stack([torch.eye(6, 20), 3 * torch.eye(6, 20) + 7])
    effective, uncentered = ranks(both)
    assert effective.tolist() == pytest.approx([5, 5])
    assert uncentered[1].item() == pytest.approx(participation((both[1] @ both[1].T).double().numpy()))
    assert all(rank.isnan() for rank in ranks(torch.zeros(3, 4)))
    alike = torch.full((7, 3), 0.1) * torch.tensor([1.0, 3.0, 1e6])
    effective, uncentered = ranks(alike)
    assert torch.isnan(effective), "examples that do not differ, whatever rounding makes of their mean"
    assert uncentered.item() == pytest.approx(1)


def test_a_relu_changes_the_uncentered_rank_five_fold_and_the_centered_one_hardly() -> None:
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(64, 200, generator=generator) @ torch.randn(200, 512, generator=generator)
    (effective, uncentered), (effective_after, uncentered_after) = ranks(before), ranks(before.relu())
    assert effective_after.item() == pytest.approx(effective.item(), rel=0.15)
    assert uncentered.item() > 5 * uncentered_after.item()


@pytest.mark.parametrize("size", [1e-25, 1e20])
def test_very_small_and_very_large_signals_are_measured_too(looked_at: Measure, size: float) -> None:
    x = torch.randn(32, 7, generator=torch.Generator().manual_seed(3)) * size
    found = looked_at(nn.Sequential(nn.Identity()), x)
    values = x.double().numpy()
    assert found["activation_mean/0"].item() == pytest.approx(values.mean(), rel=1e-4)
    assert found["activation_std/0"].item() == pytest.approx(values.std(), rel=1e-5)
    assert found["activation_p85/0"].item() == pytest.approx(np.percentile(values, 85), rel=1e-4)
    assert 1 <= found["effective_rank/0"].item() <= 7
    assert 1 <= found["uncentered_rank/0"].item() <= 7


def unlike_outputs(count: int) -> dict[str, torch.Tensor]:
    """Return outputs (16, units) of five shapes, `count` of each, as maps in one memory format and the other, too."""
    draw, outputs = torch.Generator().manual_seed(6), dict[str, torch.Tensor]()
    for number in range(count):
        outputs |= {
            f"wide{number}": torch.randn(16, 40, generator=draw) * 10.0**number + 3,
            f"narrow{number}": torch.randn(16, 3, generator=draw).relu(),
            f"half{number}": torch.randn(16, 40, generator=draw).bfloat16(),
            f"maps{number}": as_units(torch.randn(16, 6, 20, 20, generator=draw)),
            f"last{number}": as_units(torch.randn(16, 6, 20, 20, generator=draw).to(memory_format=torch.channels_last)),
            f"same{number}": torch.full((16, 3), 0.1),
        }
    return outputs


@pytest.mark.parametrize("most", [1, 30_000, 1 << 20])
def test_a_gpu_measures_together_what_a_cpu_measures_one_by_one(
    most: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    outputs = unlike_outputs(3)
    one_by_one = activations.distributions(outputs)
    monkeypatch.setattr(activations, "_TOGETHER", most)
    request.getfixturevalue("as_on_a_gpu")
    together = activations.distributions(outputs)
    assert set(together) == set(one_by_one)
    for name, value in one_by_one.items():
        assert together[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6, nan_ok=True), name


@pytest.mark.usefixtures("as_on_a_gpu")
def test_outputs_of_a_shape_that_is_there_take_no_operation_more() -> None:
    once, twice = unlike_outputs(2), unlike_outputs(4)
    activations.distributions(once)
    activations.distributions(twice)  # both know their places now
    assert kernels_of(lambda: activations.distributions(twice)) == kernels_of(lambda: activations.distributions(once))
    relus, more = ({name: one.relu() for name, one in outputs.items()} for outputs in (once, twice))
    added = kernels_of(lambda: dead_fractions(more)) - kernels_of(lambda: dead_fractions(relus))
    assert added == len(more) - len(relus)  # each is read once
