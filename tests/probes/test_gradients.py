"""Gradient norms against a closed form."""

import math
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import Config
from bnexp.measure.subject import Look
from bnexp.probes.gradients import Gradients
from kernels import kernels_of

Measure = Callable[..., dict[str, Tensor]]


@pytest.fixture
def measured(look_at: Callable[..., Look], make_config: Callable[..., Config]) -> Measure:
    def measure(network: nn.Module, grad_clip: float | None = None) -> dict[str, Tensor]:
        config = make_config(training={"grad_clip": grad_clip})
        return Gradients(ProbeSchedule(every=1)).after_backward(look_at(network, config=config)).scalars

    return measure


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
    lengths = {"0": first.weight.norm(), "2": second.weight.norm()}
    for name, norm in expected.items():
        assert found[f"gradient_to_weight/{name}"].item() == pytest.approx((norm / lengths[name]).item())
    assert found["gradient_ratio/first_to_last"].item() == pytest.approx((expected["0"] / expected["2"]).item())
    assert set(found) == {
        *(f"{quantity}/{name}" for quantity in ("gradient_norm", "gradient_to_weight") for name in expected),
        *("gradient_norm/total", "gradient_ratio/first_to_last"),
    }


def test_weight_and_bias_count_together(measured: Measure) -> None:
    layer = nn.Linear(2, 2)
    layer(torch.tensor([[3.0, 4.0]])).sum().backward()
    found = measured(nn.Sequential(OrderedDict(layer=layer)))
    assert found["gradient_norm/layer"].item() == pytest.approx(math.sqrt(2 * 25 + 2))


def test_without_gradients_there_is_nothing_to_read(measured: Measure) -> None:
    assert measured(nn.Linear(2, 2)) == {}


@pytest.mark.parametrize("limit", [1e-3, 1.0, 1e3])
def test_the_clipped_norm_is_the_norm_after_clipping(measured: Measure, limit: float) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    (3 * network(torch.ones(5, 3))).sum().backward()
    found = measured(network, grad_clip=limit)
    nn.utils.clip_grad_norm_(network.parameters(), limit)
    clipped = torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).norm()
    assert found["gradient_norm_clipped/total"].item() == pytest.approx(clipped.item(), rel=1e-5)


def test_the_gradient_of_a_deep_plain_network_vanishes_by_its_weights(measured: Measure) -> None:
    """Layers that multiply by 1/2 halve the gradient once each on its way down, and the signal on its way up."""
    layers = [nn.Linear(1, 1, bias=False) for _ in range(5)]
    for layer in layers:
        nn.init.constant_(layer.weight, 0.5)
    network = nn.Sequential(*layers)
    network(torch.ones(1, 1)).sum().backward()
    # Of a product of weights, the derivative by each is the product divided by that weight: all the same here.
    assert measured(network)["gradient_ratio/first_to_last"].item() == pytest.approx(1)
    nn.init.constant_(layers[0].weight, 4.0)
    network.zero_grad()
    network(torch.ones(1, 1)).sum().backward()
    assert measured(network)["gradient_ratio/first_to_last"].item() == pytest.approx(0.5 / 4)


def one_by_one(network: nn.Module, limit: float) -> dict[str, float]:
    """Return the figures of each item by itself, in float64."""
    figures, of_weights = dict[str, Tensor](), dict[str, tuple[Tensor, Tensor]]()
    for name, module in network.named_children():
        gradients = [parameter.grad.double() for parameter in module.parameters() if parameter.grad is not None]
        if gradients:
            figures[f"gradient_norm/{name}"] = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.grad is not None:
            of_weights[name] = module.weight.grad.double().norm(), module.weight.double().norm()
    total = torch.stack(list(figures.values())).norm()
    figures = {"gradient_norm/total": total, "gradient_norm_clipped/total": total.clamp(max=limit), **figures}
    figures |= {f"gradient_to_weight/{name}": of_it / weight for name, (of_it, weight) in of_weights.items()}
    (first, _), *_, (last, _) = of_weights.values()
    figures["gradient_ratio/first_to_last"] = first / last
    return {name: value.item() for name, value in figures.items()}


def test_items_that_are_measured_together_have_the_figures_of_each_by_itself(measured: Measure) -> None:
    """Layers with a bias and without, norms with gamma and beta and without, a weight and a bias without gradient."""
    layers = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 7, bias=False)
    network = nn.Sequential(*layers, nn.RMSNorm(7), nn.PReLU(), nn.LayerNorm(7, elementwise_affine=False))
    network.extend([nn.Linear(7, 5), nn.GroupNorm(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)])
    network[8].bias.requires_grad_(False)
    network[10].weight.requires_grad_(False)
    network[10].to(torch.bfloat16).register_forward_pre_hook(lambda _, given: given[0].bfloat16())
    network[11].register_forward_pre_hook(lambda _, given: given[0].float())
    network(torch.randn(6, 1, 4, 4)).square().sum().backward()
    found = {name: value.item() for name, value in measured(network, 0.1).items()}
    expected = one_by_one(network, 0.1)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-5)


def test_more_layers_take_no_more_operations(look_at: Callable[..., Look], make_config: Callable[..., Config]) -> None:
    def kernels(depth: int) -> int:
        network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(depth)))
        network(torch.ones(2, 4)).sum().backward()
        look = look_at(network, config=make_config())
        return kernels_of(lambda: Gradients(ProbeSchedule(every=1)).after_backward(look))

    kernels(8)  # the first look of a kind brings numbers to the device
    kernels(4)
    assert kernels(8) == kernels(4) < 20
