"""The landscape along the gradient against a quadratic, whose figures are known, and against an independent walk."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from bnexp.config.probes_section import LandscapeSchedule
from bnexp.measure.subject import Look
from bnexp.probes.landscape import Landscape, along_gradient


def test_the_path_over_a_quadratic_in_closed_form() -> None:
    """For L = w H w / 2: g = H w, |g - g_eta| = eta |H g|, smoothness |H g| / |g| at every eta."""
    generator = torch.Generator().manual_seed(1)
    root, w = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((5, 5), (5,)))
    hessian, start = root @ root.T, w.clone()
    etas = [0.01, 0.02, 0.05]
    found = along_gradient(lambda: (w @ hessian @ w / 2, [hessian @ w]), [w], etas)
    g = hessian @ start
    losses = [(start - eta * g) @ hessian @ (start - eta * g) / 2 for eta in etas]
    expected = {
        "landscape_loss_min/path": min(losses),
        "landscape_loss_max/path": max(losses),
        "gradient_distance_min/path": 0.01 * (hessian @ g).norm(),
        "gradient_distance_max/path": 0.05 * (hessian @ g).norm(),
        "gradient_distance_relative_min/path": 0.01 * (hessian @ g).norm() / g.norm(),
        "gradient_distance_relative_max/path": 0.05 * (hessian @ g).norm() / g.norm(),
        "effective_smoothness/path": (hessian @ g).norm() / g.norm(),
    }
    assert {name: value.item() for name, value in found.items()} == {
        name: pytest.approx(value.item(), rel=1e-12) for name, value in expected.items()
    }
    assert torch.equal(w, start)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Linear(3, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Tanh(), nn.Linear(5, 4)
    ).double()


def walked(network: nn.Module, x: Tensor, y: Tensor, etas: list[float]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return losses and distances of the gradients along the path, and the gradient it follows, by torch.func."""
    names = [name for name, _ in network.named_parameters()]

    def loss(*weights: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(network, dict(zip(names, weights, strict=True)), x), y)

    grad = torch.func.grad(loss, argnums=tuple(range(len(names))))
    start = tuple(parameter.detach() for parameter in network.parameters())
    gradient = grad(*start)
    points = [tuple(w - eta * g for w, g in zip(start, gradient, strict=True)) for eta in etas]
    flat = torch.cat([g.flatten() for g in gradient])
    distances = [(torch.cat([g.flatten() for g in grad(*point)]) - flat).norm() for point in points]
    return [loss(*point) for point in points], distances, flat


def test_the_path_of_a_network_is_that_of_an_independent_walk(network: nn.Module, look_at: Callable[..., Look]) -> None:
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 4
    losses, distances, gradient = walked(network, x, y, [0.05, 0.1, 0.15, 0.2])  # the look's rate is 0.1
    probe = Landscape(LandscapeSchedule(every=1, smallest=0.5, largest=2.0, points=4))
    found = {name: value.item() for name, value in probe.after_backward(look_at(network, x, y)).scalars.items()}
    slopes = [change / eta / gradient.norm() for change, eta in zip(distances, [0.05, 0.1, 0.15, 0.2], strict=True)]
    assert found == {
        "landscape_loss_min/path": pytest.approx(min(losses).item(), rel=1e-5),
        "landscape_loss_max/path": pytest.approx(max(losses).item(), rel=1e-5),
        "gradient_distance_min/path": pytest.approx(min(distances).item(), rel=1e-4),
        "gradient_distance_max/path": pytest.approx(max(distances).item(), rel=1e-4),
        "gradient_distance_relative_min/path": pytest.approx((min(distances) / gradient.norm()).item(), rel=1e-4),
        "gradient_distance_relative_max/path": pytest.approx((max(distances) / gradient.norm()).item(), rel=1e-4),
        "effective_smoothness/path": pytest.approx(max(slopes).item(), rel=1e-4),
    }


def test_near_the_weights_loss_and_gradient_are_those_of_finite_differences(
    network: nn.Module, look_at: Callable[..., Look]
) -> None:
    """For a short way eta the loss falls by eta |g|^2, and the smoothness is |H g| / |g|."""
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 4
    probe = Landscape(LandscapeSchedule(every=1, smallest=0.01, largest=0.02, points=2))
    found = probe.after_backward(look_at(network, x, y)).scalars
    (behind, ahead), (change, _), gradient = walked(network, x, y, [-1e-5, 1e-5])
    slope = (behind - ahead) / 2e-5
    assert slope.item() == pytest.approx(gradient.norm().item() ** 2, rel=1e-6)
    start = (behind + ahead) / 2
    assert (start - found["landscape_loss_max/path"]).item() == pytest.approx(0.001 * slope.item(), rel=0.01)
    smoothness = change / 1e-5 / gradient.norm()
    assert found["effective_smoothness/path"].item() == pytest.approx(smoothness.item(), rel=0.02)


def test_a_gradient_that_is_not_finite_is_no_error(look_at: Callable[..., Look]) -> None:
    network = nn.Linear(2, 3)
    before = network.weight.detach().clone()
    found = Landscape(LandscapeSchedule(every=1)).after_backward(look_at(network, torch.full((4, 2), float("nan"))))
    assert all(value.isnan() for value in found.scalars.values())
    assert torch.equal(network.weight, before)
