"""Drifting inputs against scipy and a shift that is known; gradients against their closed form."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from bnexp.config.probes_section import CovariateShiftSchedule
from bnexp.data.parts import Part
from bnexp.measure.subject import Look
from bnexp.probes.covariate_shift import CovariateShift, input_shift, parameters_by_layer, sorted_inputs
from bnexp.training.build import TrainingRun

Step = Callable[[nn.Module], None]
EXAMPLES = 40
_GENERATOR = torch.Generator().manual_seed(3)
IMAGES = torch.randn(EXAMPLES + 5, 6, generator=_GENERATOR, dtype=torch.float64)
X, Y = torch.randn(7, 6, generator=_GENERATOR, dtype=torch.float64), torch.arange(7) % 3


@pytest.fixture
def looked_at(look_at: Callable[..., Look]) -> Callable[..., list[dict[str, Tensor]]]:
    """Return what looks at a network, once before each of some steps, and gives the scalars of each look."""
    torch.manual_seed(1)

    def measure(network: nn.Module, *steps: Step) -> list[dict[str, Tensor]]:
        part = Part(IMAGES, torch.zeros(len(IMAGES), dtype=torch.int64))
        dataset = SimpleNamespace(train=part, inputs=lambda images: images)
        look = look_at(network, X, Y, dataset=dataset, layout=SimpleNamespace(blocks=[], placed={}))
        probe = CovariateShift(CovariateShiftSchedule(every=1, examples=EXAMPLES))
        readings = []
        for step in steps:
            probe.after_backward(look)
            with torch.no_grad():
                step(network)
            readings.append(probe.after_step(look).scalars)
        return readings

    return measure


def stands_still(network: nn.Module) -> None:
    """Change nothing."""


def moves(network: nn.Module) -> None:
    """Change every parameter."""
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


def test_without_a_change_nothing_drifts_and_the_first_look_has_nothing_to_compare(looked_at) -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double()
    first, second = looked_at(network, stands_still, stands_still)
    assert set(first) == {"gradient_shift/3", "gradient_shift_relative/3", "gradient_cosine/3"}
    of_inputs = ("input_shift", "input_wasserstein_relative")
    assert set(second) - set(first) == {f"{what}/{at}" for what in of_inputs for at in "03"}
    for name, value in {**first, **second}.items():
        assert value.item() == pytest.approx(1.0 if "cosine" in name else 0.0), name


def test_a_shift_by_so_many_standard_deviations_is_what_it_shows(looked_at) -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)).double()
    std: list[Tensor] = []

    def shift(network: nn.Module) -> None:
        std.append(network[0](IMAGES[:EXAMPLES]).std(dim=0, correction=0))
        network[0].bias.add_(torch.tensor([2.5, -2.5, 2.5, -2.5]) * std[0])

    _, found = looked_at(network, stands_still, shift)
    assert found["input_shift/1"].item() == pytest.approx(2.5, rel=1e-5)
    assert found["input_wasserstein_relative/1"].item() == pytest.approx(2.5, rel=1e-5)
    assert found["input_shift/0"].item() == found["input_wasserstein_relative/0"].item() == 0


def test_the_distance_of_the_inputs_is_the_wasserstein_distance_of_scipy(looked_at) -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    before = copy.deepcopy(network)
    _, found = looked_at(network, stands_still, moves)
    samples = [one[:2](IMAGES[:EXAMPLES]).detach().numpy() for one in (before, network)]
    distances = [wasserstein_distance(*(sample[:, unit] for sample in samples)) for unit in range(4)]
    expected = np.mean(distances / samples[0].std(axis=0))
    assert found["input_wasserstein_relative/2"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("norm", "size", "examples", "compared"),
    [
        ("ghost_bn(size=8)", 100, 17, 16),
        ("ghost_bn(size=8)", 100, 18, 18),
        ("ghost_bn(size=8)", 90, 256, 80),  # the training part of 81 is one batch: 10 ghost batches and 1 left over
        ("ghost_bn(size=4)", 100, 2, 2),
        ("bn", 100, 17, 17),
        ("ln", 100, 17, 17),
    ],
)
def test_no_ghost_batch_of_one_is_passed_through(
    trained: Callable[..., TrainingRun], norm: str, size: int, examples: int, compared: int
) -> None:
    data = {"drop_last": True, "synthetic": {"classes": 4, "shape": [1, 4, 4], "size": size}}
    inputs = sorted_inputs(trained(data=data, model={"norm": norm}).subject, examples, units=4)
    assert {values.shape for values in inputs.values()} == {(compared, 4)}
    assert len(inputs) == 3


def test_a_training_part_of_one_example_has_no_inputs_to_compare(trained: Callable[..., TrainingRun]) -> None:
    subject = trained().subject
    one = Part(subject.dataset.train.images[:1], subject.dataset.train.labels[:1])
    assert sorted_inputs(replace(subject, dataset=replace(subject.dataset, train=one)), 256, units=4) == {}


def test_units_that_do_not_vary_are_left_out_of_the_shift() -> None:
    before = torch.tensor([[0.1, -1.0], [0.1, 1.0], [0.1, 1.0], [0.1, 3.0]])
    assert input_shift(before + 10, before).item() == pytest.approx(10 / 2**0.5)
    assert input_shift(before[:, :1] + 1, before[:, :1]).isnan()


def closed_form(first: np.ndarray, second: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient for W2 where logits = x W1^T W2^T: (softmax(logits) - onehot(y))^T (x W1^T) / B."""
    hidden = x @ first.T
    exponentials = np.exp(hidden @ second.T)
    errors = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(len(second))[y]
    return errors.T @ hidden / len(x)


def test_the_gradient_shift_of_a_two_layer_linear_network_in_closed_form(looked_at) -> None:
    network = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3, bias=False)).double()
    first, second = (layer.weight.detach().numpy().copy() for layer in network)
    (found,) = looked_at(network, moves)
    before = closed_form(first, second, X.numpy(), Y.numpy())
    after = closed_form(network[0].weight.detach().numpy(), second, X.numpy(), Y.numpy())
    distance = np.linalg.norm(before - after)
    assert found["gradient_shift/1"].item() == pytest.approx(distance, rel=1e-5)
    assert found["gradient_shift_relative/1"].item() == pytest.approx(distance / np.linalg.norm(before), rel=1e-5)
    cosine = (before * after).sum() / np.linalg.norm(before) / np.linalg.norm(after)
    assert found["gradient_cosine/1"].item() == pytest.approx(cosine, rel=1e-5)
    assert cosine < 0.99
    assert set(found) == {"gradient_shift/1", "gradient_shift_relative/1", "gradient_cosine/1"}


def test_the_relative_shift_does_not_follow_the_scale_of_the_weights_before_a_norm(looked_at) -> None:
    """Four times the weights are the same function with a quarter of the gradient; here they take the same turn."""

    def shifts(factor: float) -> dict[str, float]:
        torch.manual_seed(1)
        layers = (nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False))
        normalized = [
            part for layer in layers for part in (layer, nn.BatchNorm1d(layer.out_features, eps=1e-12, affine=False))
        ]
        network = nn.Sequential(*normalized, nn.Linear(4, 3)).double()
        turn = torch.randn(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        with torch.no_grad():
            for layer in layers:
                layer.weight.mul_(factor)
        (found,) = looked_at(network, lambda network: network[0].weight.add_(0.1 * factor * turn))
        return {name: value.item() for name, value in found.items()}

    once, fourfold = shifts(1.0), shifts(4.0)
    assert once["gradient_shift_relative/2"] > 0.01
    assert fourfold["gradient_shift_relative/2"] == pytest.approx(once["gradient_shift_relative/2"], rel=1e-6)
    assert fourfold["gradient_shift/2"] == pytest.approx(once["gradient_shift/2"] / 4, rel=1e-6)


def test_each_layer_meets_the_stepped_layers_below_it_and_the_others_as_they_were(looked_at) -> None:
    network = nn.Sequential(
        OrderedDict(
            first=nn.Linear(6, 5),
            norm=nn.BatchNorm1d(5),
            second=nn.Linear(5, 4),
            tanh=nn.Tanh(),
            third=nn.Linear(4, 3),
        )
    ).double()
    old = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    (found,) = looked_at(network, moves)
    new = dict(network.named_parameters())

    def gradient(layer: str, below: tuple[str, ...]) -> Tensor:
        weights = {name: (new if name.split(".")[0] in below else old)[name] for name in old}
        own = {name: weights[name].detach().clone().requires_grad_() for name in old if name.startswith(layer)}
        loss = functional.cross_entropy(functional_call(network, {**weights, **own}, X), Y)
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(own.values()))])

    for layer, below in (("second", ("first", "norm")), ("third", ("first", "norm", "second"))):
        before, after = gradient(layer, ()), gradient(layer, below)
        assert found[f"gradient_shift/{layer}"].item() == pytest.approx((before - after).norm().item(), rel=1e-5)
        cosine = functional.cosine_similarity(before, after, dim=0)
        assert found[f"gradient_cosine/{layer}"].item() == pytest.approx(cosine.item(), rel=1e-5)


def test_parameters_belong_to_the_layer_before_them_and_what_opens_to_the_first() -> None:
    modules = OrderedDict(
        bn=nn.BatchNorm1d(2), a=nn.Linear(2, 2), relu=nn.ReLU(), ln=nn.LayerNorm(2), b=nn.Linear(2, 1)
    )
    found = parameters_by_layer(modules)
    expected = {"a": ("bn", "a", "ln"), "b": ("b",)}
    for layer, names in expected.items():
        parameters = [parameter for name in names for parameter in modules[name].parameters()]
        assert [id(parameter) for parameter in found[layer]] == [id(parameter) for parameter in parameters]
    assert list(found) == ["a", "b"]
