"""The lesson `saturation`: what the scale of the initial weights does to a tanh layer, and to ten of them.

Glorot & Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, saw sigmoids and tanh saturate; He et al. 2015,
https://arxiv.org/abs/1502.01852, derived the scale that keeps the signal's size, gain / sqrt(fan_in). That gradients
grow from layer to layer under batch normalization is Yang et al. 2019, https://arxiv.org/abs/1902.08129.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines, histogram
from bnexp.document.table import number_table
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.document.writing import Value, decimal
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch, initial_parameters, standard_normal, symmetric_uniform
from bnexp.norms.reference import batch_norm_train

EXAMPLES, WIDTH, DEPTH, SMALL_BATCH = 512, 100, 10, 32
GAIN = 5 / 3  # of tanh, as `torch.nn.init.calculate_gain` has it
SATURATED, SMALL_STD, BIAS = 0.99, 0.01, 50
LARGE, SMALL, TORCH, KAIMING, BN = "std 1", f"std {SMALL_STD}", "PyTorch's", "Kaiming's", "std 1, then bn"


class Drawn(NamedTuple):
    """Hold everything that is drawn from the seed: standard normal values, and between -1 and 1 in `uniform`."""

    x: Tensor  # (EXAMPLES, WIDTH)
    arriving: Tensor  # (EXAMPLES, WIDTH): the gradient of the loss by the last output
    normal: Tensor  # (DEPTH, WIDTH, WIDTH): weights, a matrix per layer
    uniform: Tensor  # (DEPTH, WIDTH, WIDTH): other weights
    bias: Tensor  # (WIDTH,)


class Scheme(NamedTuple):
    """Hold one way to begin."""

    std: float  # of the weights, as intended
    weights: Tensor  # (DEPTH, WIDTH, WIDTH)
    gamma: float | None = None  # of the batch normalization before each tanh, where there is one


class Passed(NamedTuple):
    """Hold the results of a forward and a backward pass, (EXAMPLES, WIDTH) each."""

    h: list[Tensor]  # x, then the output of each layer
    gradients: list[Tensor]  # of the loss, by each of `h`

    @property
    def saturated(self) -> float:
        """Return the share of the last outputs that are saturated."""
        return (self.h[-1].abs() > SATURATED).double().mean().item()

    @property
    def slopes(self) -> Tensor:
        """Return the slopes of the last tanh, (EXAMPLES, WIDTH)."""
        return 1 - self.h[-1] ** 2

    @property
    def growth(self) -> float:
        """Return the factor per layer by which the gradient by an output grows, from the last layer to the first."""
        ratio: float = (self.gradients[1].norm() / self.gradients[-1].norm()).item()
        return math.pow(ratio, 1 / (len(self.h) - 2))


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
        h.append(torch.tanh(z if scheme.gamma is None else normalized(z, scheme.gamma)))
    gradients = torch.autograd.grad((h[-1] * drawn.arriving).sum(), h)
    return Passed([output.detach() for output in h], list(gradients))


def normalized(z: Tensor, gamma: float = 1.0) -> Tensor:
    """Return z (B, F) after batch normalization with one gamma for all units, and beta 0."""
    ones, beta = initial_parameters(z.shape[1])
    return batch_norm_train(z, gamma * ones, beta).y


def dead_share(h: Tensor) -> float:
    """Return the share of the units, columns of (B, F), that are saturated for every example."""
    return (h.abs() > SATURATED).all(dim=0).double().mean().item()


def held_by(values: Tensor, share: float = 0.9) -> float:
    """Return what share of the values, the largest, holds `share` of the sum of their squares."""
    squares = (values**2).flatten().sort(descending=True).values
    return ((squares.cumsum(0) < share * squares.sum()).sum().item() + 1) / squares.numel()


def lesson(request: Request) -> Lesson:
    """Return the lesson on layers drawn from the seed."""
    drawn = draw(request.seed)
    schemes = schemes_of(drawn)
    deep = {name: passed(scheme, drawn) for name, scheme in schemes.items()}
    return Lesson(
        "saturation",
        "the scale of the weights decides what passes a tanh; with batch norm it no longer does",
        [
            *_scales(schemes, drawn),
            *_one_layer({name: passed(scheme, drawn, depth=1) for name, scheme in schemes.items()}),
            *_dead_units(drawn),
            *_ten_layers(deep),
            *_with_batch_norm(drawn, deep[BN]),
        ],
        TryIt(
            (
                "bnexp check configs/demo.yaml --signal --set init.std=1 --set model.norm=none",
                "bnexp check configs/demo.yaml --signal --set init.std=1 --set model.norm=bn",
                "bnexp train configs/demo.yaml --set init.std=1 --set model.norm=none --name large",
                "bnexp train configs/demo.yaml --set init.std=1 --set model.norm=bn --name large_bn",
                "bnexp compare large large_bn",
                "bnexp board",
            ),
            "These networks have sigmoids, which are scaled tanh, sigmoid(z) = (1 + tanh(z / 2)) / 2, and saturate "
            "alike. With weights of std 1 and no normalization, the standard deviation of their outputs is close to "
            "1/2, the largest there is; with bn it is less than half of that. Then train both, from the same weights "
            "and on the same batches, and compare the curves. On the board, `saturated_fraction` shows the share of "
            "saturated outputs of each layer over the steps.",
        ),
    )


def _scales(schemes: Mapping[str, Scheme], drawn: Drawn) -> list[Part]:
    rows = [
        (name, [scheme.std, scheme.std * math.sqrt(WIDTH), (drawn.x @ scheme.weights[0]).std(correction=0).item()])
        for name, scheme in schemes.items()
    ]
    columns = ["std of w", "std(w) sqrt(fan_in)", "std of x W"]
    return [
        Text(
            f"A layer of {WIDTH} units computes h = tanh(z) with z = x W, for {EXAMPLES} examples x of fan_in = "
            f"{WIDTH} features, all standard normal. So z is a sum of {WIDTH} products, and its standard deviation is "
            "that of the weights times sqrt(fan_in). Here are five ways to begin:"
        ),
        number_table("scales", "the weights, and the sum z = x W", columns, rows, corner="weights"),
        text(
            "Kaiming's scale (He et al. 2015) is gain / sqrt(fan_in), with the gain 5/3 = {gain_of_tanh} for tanh. "
            "PyTorch's default for a linear layer is uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in), which has "
            "the standard deviation 1 / sqrt(3 fan_in) = {std_of_pytorch}. The last row has the same weights as the "
            "first; batch normalization then brings each column of x W to mean 0 and variance 1 before the tanh.",
            gain_of_tanh=GAIN,
            std_of_pytorch=schemes[TORCH].std,
        ),
    ]


def _one_layer(layers: Mapping[str, Passed]) -> list[Part]:
    edges = [-1, -0.99, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 0.99, 1]
    outputs = {name: layers[name].h[1] for name in (LARGE, SMALL, KAIMING, BN)}
    ratios = {name: (layer.gradients[0].norm() / layer.gradients[1].norm()).item() for name, layer in layers.items()}
    held = {name: held_by(layer.gradients[1] * layer.slopes) for name, layer in layers.items()}
    columns = ["std of h", "saturated", "mean slope", "gradient x / h", "90% held by"]
    rows = []
    for name, layer in layers.items():
        std, slope = layer.h[1].std(correction=0).item(), layer.slopes.mean().item()
        rows.append((name, [std, layer.saturated, slope, ratios[name], held[name]]))
    whole = (
        "does not vanish as a whole, small as the slopes are: the large weights more than make up for them"
        if ratios[LARGE] > 1
        else "gets smaller, but less than the mean slope suggests, as the weights are large"
    )
    return [
        Heading("1. One layer: what passes up, and what passes down"),
        histogram("outputs", "outputs h, share of the values in each bin", edges, outputs),
        text(
            "With weights of std 1, {saturated_with_std_1:.1%} of the outputs are beyond {saturated_beyond:g} in size: "
            "they are saturated. With std {small} none is, but all lie near 0, where tanh is almost the identity. The "
            "slope of tanh is 1 - h^2, less than {slope_where_saturated} where h is saturated, and the gradient is "
            "multiplied by it on its way down:",
            saturated_with_std_1=layers[LARGE].saturated,
            saturated_beyond=SATURATED,
            slope_where_saturated=1 - SATURATED**2,
            small=str(SMALL_STD),
        ),
        number_table("passing", "one layer", columns, rows, corner="weights"),
        text(
            "Let dh be the gradient of the loss that arrives at h, drawn standard normal. The fourth column is the "
            "norm of the gradient that reaches x, divided by that of dh: it was multiplied by the slopes, then by the "
            f"weights. With weights of std 1 it {whole}. "
            "The last column tells how it is spread: the share of all pairs of an example and a unit that hold 90% of "
            "the squared gradient by z. In the saturated layer that is {held_by[std 1]:.1%} of the pairs, with bn "
            "{held_by[std 1, then bn]:.1%}. In all other pairs the unit learns next to nothing from the example.",
            held_by={name: held[name] for name in (LARGE, BN)},
        ),
    ]


def _dead_units(drawn: Drawn) -> list[Part]:
    z, bias = drawn.x @ drawn.normal[0], BIAS * drawn.bias
    layers = {
        "std 1": z,
        "std 10": 10 * z,
        f"std 1, bias of std {BIAS}": z + bias,
        f"std 1, bias of std {BIAS}, then bn": normalized(z + bias),
    }
    columns = [f"in the first {SMALL_BATCH} examples", f"in all {EXAMPLES}"]
    rows = [(name, [dead_share(torch.tanh(part)) for part in (z[:SMALL_BATCH], z)]) for name, z in layers.items()]
    return [
        Heading("2. Dead units"),
        Text(
            "A unit is dead if it is saturated for every example: then no example changes its weights by much. "
            "Saturated outputs alone do not make a unit dead. Share of the units that are dead:"
        ),
        number_table("dead", "dead units", columns, rows, corner="weights"),
        Text(
            "Without a bias, z spreads around 0 for every unit, and some examples fall on the slope between the two "
            "ends, however steep it is. A small batch may hold no such example, as with std 10 here: "
            f"{rows[1][1][0]:.0%} of the units learn almost nothing from these {SMALL_BATCH}, and other units from the "
            f"next. Dead for all {EXAMPLES} are units whose mean lies far from 0 compared to their spread, because of "
            "a large bias or an input far from mean 0. Batch normalization subtracts exactly that mean."
        ),
    ]


def _ten_layers(deep: Mapping[str, Passed]) -> list[Part]:
    sizes = {name: [h.std(correction=0).item() for h in stack.h[1:]] for name, stack in deep.items()}
    down = {
        name: [(gradient.norm() / stack.gradients[-1].norm()).item() for gradient in stack.gradients[1:]]
        for name, stack in deep.items()
    }
    rows: list[tuple[str, list[Value]]] = []
    values = []
    for name, stack in deep.items():
        shown = [f"{size:.3g}" for size in (sizes[name][0], sizes[name][-1], down[name][0])]
        rows.append((name, [*shown, stack.growth]))
        values.append({"weights": name, "std": sizes[name], "gradient": down[name], "gradient_per_layer": stack.growth})

    def curves(key: str, title: str, by_layer: Mapping[str, list[float]], *names: str) -> Lines:
        logs = {name: [math.log10(value) for value in by_layer[name]] for name in names}
        return Lines(key, f"log10 of the {title}", "layer", list(range(1, DEPTH + 1)), logs)

    gradients_of = "norm of the gradient by the outputs, over that by those of the last layer"
    return [
        Heading(f"3. {DEPTH} such layers"),
        curves("log10_std", "standard deviation of the outputs", sizes, SMALL, TORCH, BN),
        curves("log10_gradient", gradients_of, down, SMALL, TORCH, LARGE, BN),
        number_table(
            "depth",
            f"outputs h, and the gradient by those of layer 1 over that by those of layer {DEPTH}",
            ["std of h 1", f"std of h {DEPTH}", f"gradient 1 / {DEPTH}", "per layer"],
            rows,
            corner="weights",
            values=values,
        ),
        text(
            f"With std {SMALL_STD} each layer multiplies the signal by about {SMALL_STD} sqrt({WIDTH}) = "
            "{factor_of_std_001:g}, up and down: "
            f"after {DEPTH} layers next to nothing is left of either. PyTorch's scale keeps about 1 / sqrt(3) = "
            "{factor_of_pytorch} of it per layer once h is small, which only shows with depth (its biases are left out "
            "here). With std 1 the outputs look fine, as tanh cannot exceed 1, but the gradient is multiplied by "
            f"{decimal(deep[LARGE].growth)} per layer. Kaiming's scale and batch normalization keep both signal and "
            "gradient. For Kaiming's one has to know gain and fan_in; bn measures.",
            factor_of_std_001=SMALL_STD * math.sqrt(WIDTH),
            factor_of_pytorch=1 / math.sqrt(3),
            small_std=SMALL_STD,
        ),
    ]


def _with_batch_norm(drawn: Drawn, deep: Passed) -> list[Part]:
    columns = [f"saturated in h {DEPTH}", "mean slope", "gradient, per layer"]
    rows = []
    for gamma in (0.5, 1.0, 3.0, 10.0):
        stack = passed(Scheme(1.0, drawn.normal, gamma), drawn)
        rows.append((f"gamma {gamma:g}", [stack.saturated, stack.slopes.mean().item(), stack.growth]))
    y = x = drawn.x.clone().requires_grad_()
    for weight in drawn.normal:
        y = nn.Tanh()(nn.BatchNorm1d(WIDTH, dtype=torch.float64)(nn.functional.linear(y, weight.T)))
    (y * drawn.arriving).sum().backward()
    built = f"A stack of {DEPTH} times torch.nn.Linear, torch.nn.BatchNorm1d and torch.nn.Tanh"
    return [
        Heading("4. What batch normalization leaves as it is"),
        number_table("gammas", f"{DEPTH} layers of std 1, then bn, by their gamma", columns, rows),
        text(
            "At gamma = 1 the gradient is multiplied by {gradient_per_layer_with_bn} per layer: at this rate by "
            "{at_50_layers:.1f} from the last of 50 layers to the first. Yang et al. 2019 show that gradients grow "
            "exponentially with depth in networks with batch normalization and no shortcuts. And gamma is learned: the "
            "larger it is, the more outputs saturate, and beta can kill a unit as a bias can. The scale of W no longer "
            "decides whether units saturate; gamma and beta do.",
            gradient_per_layer_with_bn=deep.growth,
            at_50_layers=deep.growth ** (50 - 1),
            least_gamma=0.5,
        ),
        against_torch(built, (deep.h[-1], deep.gradients[0]), (y, x.grad)),
    ]
