"""The lesson `saturation`: what the scale of the initial weights does to a tanh layer, and to ten of them.

Glorot & Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, saw sigmoids and tanh saturate; He et al. 2015,
https://arxiv.org/abs/1502.01852, derived the scale that keeps the signal's size behind relu, gain / sqrt(fan_in). That
gradients of a fresh network grow from layer to layer under batch normalization is Yang et al. 2019,
https://arxiv.org/abs/1902.08129.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines, histogram
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson, Play, Text
from bnexp.document.writing import Value, decimal
from bnexp.lessons.played import saturation_play
from bnexp.lessons.prose import Placed, compose
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch, batch_norm, share, standard_normal, symmetric_uniform

EXAMPLES, WIDTH, DEPTH, SMALL_BATCH = 512, 100, 10, 32
GAIN = 5 / 3  # of tanh, as `torch.nn.init.calculate_gain` has it
SATURATED, SMALL_STD, BIAS = 0.99, 0.01, 50
PLAYED_EXAMPLES, PLAYED_WIDTH, PLAYED_LAYERS = 64, 32, 8
GAMMAS = 0.5, 1.0, 3.0, 10.0
LARGE, SMALL, TORCH, KAIMING, BN = "std 1", f"std {SMALL_STD}", "PyTorch's", "Kaiming's", "std 1, then bn"


class Drawn(NamedTuple):
    """All that is drawn from the seed: standard normal values, and between -1 and 1 in `uniform`."""

    x: Tensor  # (EXAMPLES, WIDTH)
    arriving: Tensor  # (EXAMPLES, WIDTH): the gradient of the loss by the last output
    normal: Tensor  # (DEPTH, WIDTH, WIDTH): weights, a matrix per layer
    uniform: Tensor  # (DEPTH, WIDTH, WIDTH): other weights
    bias: Tensor  # (WIDTH,)


class Scheme(NamedTuple):
    """One way to begin."""

    std: float  # of the weights, as intended
    weights: Tensor  # (DEPTH, WIDTH, WIDTH)
    gamma: float | None = None  # of the batch normalization before each tanh, where there is one


class Passed(NamedTuple):
    """The results of a forward and a backward pass, (EXAMPLES, WIDTH) each."""

    h: list[Tensor]  # x, then the output of each layer
    gradients: list[Tensor]  # of the loss, by each of `h`

    @property
    def saturated(self) -> float:
        """Return the share of the last outputs that are saturated."""
        return share(self.h[-1].abs() > SATURATED)

    @property
    def slopes(self) -> Tensor:
        """Return the slopes of the last tanh, (EXAMPLES, WIDTH)."""
        return 1 - self.h[-1] ** 2

    @property
    def ratios(self) -> list[float]:
        """Return the norm of the gradient by each of `h`, over that by the last."""
        return [(gradient.norm() / self.gradients[-1].norm()).item() for gradient in self.gradients]

    @property
    def growth(self) -> float:
        """Return the factor per layer by which the gradient by an output grows, from the last layer to the first."""
        return math.pow(self.ratios[1], 1 / (len(self.h) - 2))


def draw(seed: int) -> Drawn:
    """Draw everything from one seed."""
    generator = torch.Generator().manual_seed(seed)
    x, arriving = (standard_normal(generator, EXAMPLES, WIDTH) for _ in range(2))
    weights = standard_normal(generator, DEPTH, WIDTH, WIDTH)
    uniform = symmetric_uniform(generator, DEPTH, WIDTH, WIDTH)
    return Drawn(x, arriving, weights, uniform, standard_normal(generator, WIDTH))


def schemes_of(drawn: Drawn) -> dict[str, Scheme]:
    """Return the five ways to begin; all but PyTorch's scale the same draw."""
    bound, kaiming = 1 / math.sqrt(WIDTH), GAIN / math.sqrt(WIDTH)
    return {
        LARGE: Scheme(1.0, drawn.normal),
        SMALL: Scheme(SMALL_STD, SMALL_STD * drawn.normal),
        TORCH: Scheme(bound / math.sqrt(3), bound * drawn.uniform),
        KAIMING: Scheme(kaiming, kaiming * drawn.normal),
        BN: Scheme(1.0, drawn.normal, gamma=1.0),
    }


def passed(scheme: Scheme, drawn: Drawn, depth: int = DEPTH) -> Passed:
    """Pass the examples up through the first layers, and the arriving gradient back down.

    The loss is the sum of output times arriving gradient, so that its gradient by the output is that gradient.
    """
    h = [drawn.x.clone().requires_grad_()]
    for weight in scheme.weights[:depth]:
        z = h[-1] @ weight
        h.append(torch.tanh(z if scheme.gamma is None else batch_norm(z, scheme.gamma).y))
    gradients = torch.autograd.grad((h[-1] * drawn.arriving).sum(), h)
    return Passed([output.detach() for output in h], list(gradients))


def dead_share(h: Tensor) -> float:
    """Return the share of the units, columns of (B, F), that are saturated for every example."""
    return share((h.abs() > SATURATED).all(dim=0))


def held_by(values: Tensor, portion: float = 0.9) -> float:
    """Return what share of the values, the largest, holds that portion of the sum of their squares."""
    squares = (values**2).flatten().sort(descending=True).values
    return ((squares.cumsum(0) < portion * squares.sum()).sum().item() + 1) / squares.numel()


def lesson(request: Request) -> Lesson:
    """Return the lesson on layers drawn from the seed."""
    drawn = draw(request.seed)
    schemes = schemes_of(drawn)
    single, deep = ({name: passed(scheme, drawn, depth) for name, scheme in schemes.items()} for depth in (1, DEPTH))
    held = {name: held_by(layer.gradients[1] * layer.slopes) for name, layer in single.items()}
    dead = dead_by_weights(drawn)
    few_and_all = f"in the first {SMALL_BATCH} examples", f"in all {EXAMPLES}"
    parts = [
        _scales(schemes, drawn.x),
        *_one_layer(single, held),
        number_table("dead", "dead units", few_and_all, list(dead.items()), corner="weights"),
        *_ten_layers(deep),
        _gammas(drawn),
        play(drawn),
    ]
    return compose(
        __name__,
        parts,
        gain_of_tanh=GAIN,
        std_of_pytorch=schemes[TORCH].std,
        saturated_with_std_1=single[LARGE].saturated,
        saturated_beyond=SATURATED,
        slope_where_saturated=1 - SATURATED**2,
        small_std=SMALL_STD,
        grows=single[LARGE].ratios[0] > 1,
        held_by={name: held[name] for name in (LARGE, BN)},
        dead_in_few=f"{dead['std 10'][0]:.0%}",
        factor_of_std_001=SMALL_STD * math.sqrt(WIDTH),
        factor_of_pytorch=1 / math.sqrt(3),
        growth_with_std_1=decimal(deep[LARGE].growth),
        least_gamma=GAMMAS[0],
        gradient_per_layer_with_bn=deep[BN].growth,
        at_50_layers=deep[BN].growth ** (50 - 1),
        against_torch=_against_torch(drawn, deep[BN]),
    )


def _scales(schemes: Mapping[str, Scheme], x: Tensor) -> Table:
    columns = "std of w", "std(w) sqrt(fan_in)", "std of x W"
    rows = [
        (name, [scheme.std, scheme.std * math.sqrt(WIDTH), (x @ scheme.weights[0]).std(correction=0).item()])
        for name, scheme in schemes.items()
    ]
    return number_table("scales", "the weights, and the sum z = x W", columns, rows, corner="weights")


def _one_layer(layers: Mapping[str, Passed], held: Mapping[str, float]) -> list[Placed]:
    edges = [-1, -0.99, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 0.99, 1]
    outputs = {name: layers[name].h[1] for name in (LARGE, SMALL, KAIMING, BN)}
    columns = "std of h", "saturated", "mean slope", "gradient x / h", "90% held by"
    rows = []
    for name, layer in layers.items():
        std, slope = layer.h[1].std(correction=0).item(), layer.slopes.mean().item()
        rows.append((name, [std, layer.saturated, slope, layer.ratios[0], held[name]]))
    return [
        histogram("outputs", "outputs h, share of the values in each bin", edges, outputs),
        number_table("passing", "one layer", columns, rows, corner="weights"),
    ]


def dead_by_weights(drawn: Drawn) -> dict[str, list[float]]:
    """Return the shares of dead units of a layer, among the first SMALL_BATCH examples and among all."""
    z, bias = drawn.x @ drawn.normal[0], BIAS * drawn.bias
    sums = {
        "std 1": z,
        "std 10": 10 * z,
        f"std 1, bias of std {BIAS}": z + bias,
        f"std 1, bias of std {BIAS}, then bn": batch_norm(z + bias).y,
    }
    return {name: [dead_share(torch.tanh(part)) for part in (z[:SMALL_BATCH], z)] for name, z in sums.items()}


def _ten_layers(deep: Mapping[str, Passed]) -> list[Placed]:
    sizes = {name: [h.std(correction=0).item() for h in stack.h[1:]] for name, stack in deep.items()}
    down = {name: stack.ratios[1:] for name, stack in deep.items()}
    rows: list[tuple[str, list[Value]]] = []
    values = []
    for name, stack in deep.items():
        shown = [f"{size:.3g}" for size in (sizes[name][0], sizes[name][-1], down[name][0])]
        rows.append((name, [*shown, stack.growth]))
        values.append({"weights": name, "std": sizes[name], "gradient": down[name], "gradient_per_layer": stack.growth})
    gradients_of = "norm of the gradient by the outputs, over that by those of the last layer"
    title = f"outputs h, and the gradient by those of layer 1 over that by those of layer {DEPTH}"
    columns = "std of h 1", f"std of h {DEPTH}", f"gradient 1 / {DEPTH}", "per layer"
    return [
        _curves("log10_std", "standard deviation of the outputs", sizes, SMALL, TORCH, BN),
        _curves("log10_gradient", gradients_of, down, SMALL, TORCH, LARGE, BN),
        number_table("depth", title, columns, rows, corner="weights", values=values),
    ]


def _curves(key: str, title: str, by_layer: Mapping[str, list[float]], *names: str) -> Lines:
    logs = {name: [math.log10(value) for value in by_layer[name]] for name in names}
    return Lines(key, f"log10 of the {title}", "layer", list(range(1, DEPTH + 1)), logs)


def _gammas(drawn: Drawn) -> Table:
    columns = f"saturated in h {DEPTH}", "mean slope", "gradient, per layer"
    stacks = {f"gamma {gamma:g}": passed(Scheme(1.0, drawn.normal, gamma), drawn) for gamma in GAMMAS}
    rows = [(name, [stack.saturated, stack.slopes.mean().item(), stack.growth]) for name, stack in stacks.items()]
    return number_table("gammas", f"{DEPTH} layers of std 1, then bn, by their gamma", columns, rows)


def play(drawn: Drawn) -> Play:
    """Return a smaller stack of the same draw, which a page can hold."""
    x, arriving = (values[:PLAYED_EXAMPLES, :PLAYED_WIDTH] for values in (drawn.x, drawn.arriving))
    return saturation_play(x, drawn.normal[:PLAYED_LAYERS, :PLAYED_WIDTH, :PLAYED_WIDTH], arriving, SATURATED)


def _against_torch(drawn: Drawn, deep: Passed) -> Text:
    y = x = drawn.x.clone().requires_grad_()
    for weight in drawn.normal:
        y = nn.Tanh()(nn.BatchNorm1d(WIDTH, dtype=torch.float64)(nn.functional.linear(y, weight.T)))
    (y * drawn.arriving).sum().backward()
    built = f"A stack of {DEPTH} times torch.nn.Linear, torch.nn.BatchNorm1d and torch.nn.Tanh"
    return against_torch(built, (deep.h[-1], deep.gradients[0]), (y, x.grad))
