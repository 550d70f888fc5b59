"""The lesson `saturation`: what the scale of the initial weights does to a tanh layer, and to ten of them.

Glorot & Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, saw sigmoids and tanh saturate; He et al. 2015,
https://arxiv.org/abs/1502.01852, derived the scale that keeps the signal's size, gain / sqrt(fan_in). That gradients
grow from layer to layer under batch normalization is Yang et al. 2019, https://arxiv.org/abs/1902.08129.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Lines, Part, Table, Text, histogram
from bnexp.document.numerals import decimal
from bnexp.lessons.request import Request
from bnexp.lessons.tanh_layers import (
    BN,
    DEPTH,
    EXAMPLES,
    GAIN,
    KAIMING,
    LARGE,
    SATURATED,
    SMALL,
    SMALL_BATCH,
    SMALL_STD,
    TORCH,
    WIDTH,
    Drawn,
    Passed,
    Scheme,
    dead_share,
    draw,
    held_by,
    normalized,
    passed,
    schemes_of,
)
from bnexp.lessons.tensors import largest_difference

BIAS = 50


def lesson(request: Request) -> Lesson:
    """Return the lesson on layers drawn from the seed."""
    drawn = draw(request.seed)
    schemes = schemes_of(drawn)
    deep = {name: passed(scheme, drawn) for name, scheme in schemes.items()}
    return Lesson(
        "saturation",
        "the scale of the weights decides what passes a tanh; with batch norm it no longer does",
        [
            *_weights(schemes, drawn),
            *_outputs({name: passed(scheme, drawn, depth=1) for name, scheme in schemes.items()}),
            *_dead(drawn),
            *_depth(deep),
            *_not_mended(drawn, deep[BN]),
            _against_torch(deep[BN], drawn),
        ],
        _experiment(),
    )


def _weights(schemes: Mapping[str, Scheme], drawn: Drawn) -> list[Part]:
    rows = []
    for name, scheme in schemes.items():
        z = drawn.x @ scheme.weights[0]
        expected = scheme.std * math.sqrt(WIDTH)
        rows.append((name, [scheme.std, expected, z.std(correction=0).item()]))
    return [
        Text(
            f"A layer of {WIDTH} units computes h = tanh(z) with z = x W. Its {EXAMPLES} examples x have fan_in = "
            f"{WIDTH} features, all standard normal. Then z is a sum of {WIDTH} products, and its standard deviation "
            "is that of the weights times sqrt(fan_in). Five ways to begin:"
        ),
        Table(
            "scales",
            "the weights, and the sum z = x W",
            ["std of w", "std(w) sqrt(fan_in)", "std of x W"],
            rows,
            corner="weights",
        ),
        Text(
            f"Kaiming's scale (He et al. 2015) is gain / sqrt(fan_in), with the gain 5/3 = {decimal(GAIN)} for tanh. "
            "PyTorch's default for a linear layer is uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in), which "
            f"has the standard deviation 1 / sqrt(3 fan_in) = {decimal(schemes[TORCH].std)}. The last row has the "
            "weights of the first; batch normalization brings each column of x W to mean 0 and variance 1 before the "
            "tanh.",
            {"gain_of_tanh": GAIN, "std_of_pytorch": schemes[TORCH].std},
        ),
    ]


def _outputs(one: Mapping[str, Passed]) -> list[Part]:
    shown = (LARGE, SMALL, KAIMING, BN)
    edges = [-1, -0.99, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 0.99, 1]
    flattest = 1 - SATURATED**2
    return [
        Heading("1. One layer: what passes up, and what passes down"),
        histogram(
            "outputs", "outputs h, share of the values in each bin", edges, {name: one[name].h[1] for name in shown}
        ),
        Text(
            f"Weights of std 1 push {one[LARGE].saturated:.1%} of the outputs beyond {SATURATED} in size: they are "
            f"saturated. With std {SMALL_STD} none is, but all lie near 0, where tanh is almost the identity. The "
            f"slope of tanh is 1 - h^2, less than {decimal(flattest)} where h is saturated, and on its way down the "
            "gradient is multiplied by it:",
            {
                "saturated_with_std_1": one[LARGE].saturated,
                "saturated_beyond": SATURATED,
                "slope_where_saturated": flattest,
            },
        ),
        _passing(one),
        Text(
            "Let dh be the gradient of the loss that arrives at h, drawn standard normal. The fourth column is the "
            "norm of the gradient that reaches x, over that of dh: it went through the slopes, then through the "
            f"weights. {_whole(one[LARGE])} The last column says where it comes from: the share of all pairs of an "
            "example and a unit that hold 90% of the squared gradient by z. In the saturated layer that is "
            f"{held_by(_by_z(one[LARGE])):.1%} of the pairs, with bn {held_by(_by_z(one[BN])):.1%}. For all other "
            "pairs the unit learns next to nothing from the example.",
            {"held_by": {name: held_by(_by_z(one[name])) for name in (LARGE, BN)}},
        ),
    ]


def _passing(one: Mapping[str, Passed]) -> Table:
    rows = []
    for name, layer in one.items():
        slope = (1 - layer.h[1] ** 2).mean().item()
        ratio = (layer.gradients[0].norm() / layer.gradients[1].norm()).item()
        rows.append((name, [layer.h[1].std(correction=0).item(), layer.saturated, slope, ratio, held_by(_by_z(layer))]))
    columns = ["std of h", "saturated", "mean slope", "gradient x / h", "90% held by"]
    return Table("passing", "one layer", columns, rows, corner="weights")


def _by_z(layer: Passed) -> Tensor:
    return layer.gradients[1] * (1 - layer.h[1] ** 2)


def _whole(layer: Passed) -> str:
    """Say whether the gradient as a whole shrinks in the saturated layer."""
    if layer.gradients[0].norm() > layer.gradients[1].norm():
        return (
            "With weights of std 1 it does not vanish as a whole, small as the slopes are: the weights make up for "
            "them, and more."
        )
    return "With weights of std 1 it gets smaller, but less than the mean slope suggests: the weights are large."


def _dead(drawn: Drawn) -> list[Part]:
    z, bias = drawn.x @ drawn.normal[0], BIAS * drawn.bias
    layers = {
        "std 1": z,
        "std 10": 10 * z,
        f"std 1, bias of std {BIAS}": z + bias,
        f"std 1, bias of std {BIAS}, then bn": normalized(z + bias),
    }
    few, all_of_them = f"in the first {SMALL_BATCH} examples", f"in all {EXAMPLES}"
    shares = {
        name: (dead_share(torch.tanh(one[:SMALL_BATCH])), dead_share(torch.tanh(one))) for name, one in layers.items()
    }
    return [
        Heading("2. Dead units"),
        Text(
            "A unit is dead if it is saturated for every example: then none of them changes its weights by much. "
            "Saturated outputs do not make dead units by themselves. Share of the units that are dead:"
        ),
        Table(
            "dead",
            "dead units",
            [few, all_of_them],
            [(name, list(two)) for name, two in shares.items()],
            corner="weights",
        ),
        Text(
            "Without a bias z spreads around 0 for every unit, and some examples fall on the slope between the two "
            f"ends, however steep it is. With few examples a batch may hold none of them, as with std 10 here: "
            f"{shares['std 10'][0]:.0%} of the units learn almost nothing from these {SMALL_BATCH}, and others from "
            f"the next. Dead for all {EXAMPLES} are the units whose mean lies far from 0 compared to their spread, as "
            "a large bias or an input far from mean 0 brings about. Batch normalization subtracts just that mean.",
        ),
    ]


def _depth(deep: Mapping[str, Passed]) -> list[Part]:
    sizes = {name: [h.std(correction=0).item() for h in one.h[1:]] for name, one in deep.items()}
    down = {
        name: [(by_h.norm() / one.gradients[-1].norm()).item() for by_h in one.gradients[1:]]
        for name, one in deep.items()
    }
    return [
        Heading(f"3. {DEPTH} such layers"),
        _over_depth("log10_std", "log10 of the standard deviation of the outputs", sizes, (SMALL, TORCH, BN)),
        _over_depth(
            "log10_gradient",
            "log10 of the norm of the gradient by the outputs, over that by those of the last layer",
            down,
            (SMALL, TORCH, LARGE, BN),
        ),
        Table(
            "depth",
            f"outputs h, and the gradient by those of layer 1 over that by those of layer {DEPTH}",
            ["std of h 1", f"std of h {DEPTH}", f"gradient 1 / {DEPTH}", "per layer"],
            [
                (name, [f"{sizes[name][0]:.3g}", f"{sizes[name][-1]:.3g}", f"{down[name][0]:.3g}", one.growth])
                for name, one in deep.items()
            ],
            corner="weights",
            values=[
                {"weights": name, "std": sizes[name], "gradient": down[name], "gradient_per_layer": one.growth}
                for name, one in deep.items()
            ],
        ),
        Text(
            f"With std {SMALL_STD} each layer multiplies the signal by about {SMALL_STD} sqrt({WIDTH}) = "
            f"{SMALL_STD * math.sqrt(WIDTH):g}, up and down: after {DEPTH} layers next to nothing is left of either. "
            f"PyTorch's scale keeps about 1 / sqrt(3) = {decimal(1 / math.sqrt(3))} of it a layer once h is small, "
            "which tells only with depth (its biases are left out here). With std 1 the outputs look fine, as tanh "
            f"cannot exceed 1, but the gradient is multiplied by {decimal(deep[LARGE].growth)} a layer. Kaiming's "
            "scale and batch normalization hold both. For Kaiming's one has to know gain and fan_in; bn measures.",
            {
                "factor_of_std_001": SMALL_STD * math.sqrt(WIDTH),
                "factor_of_pytorch": 1 / math.sqrt(3),
                "small_std": SMALL_STD,
            },
        ),
    ]


def _over_depth(key: str, title: str, values: Mapping[str, list[float]], names: tuple[str, ...]) -> Lines:
    layers = list(range(1, DEPTH + 1))
    return Lines(key, title, "layer", layers, {name: [math.log10(one) for one in values[name]] for name in names})


def _not_mended(drawn: Drawn, deep: Passed) -> list[Part]:
    rows = []
    for gamma in (0.5, 1.0, 3.0, 10.0):
        one = passed(Scheme(1.0, drawn.normal, gamma), drawn)
        rows.append((f"gamma {gamma:g}", [one.saturated, (1 - one.h[-1] ** 2).mean().item(), one.growth]))
    growth, layers = deep.growth, 50
    return [
        Heading("4. What batch normalization leaves as it is"),
        Table(
            "gammas",
            f"{DEPTH} layers of std 1, then bn, by their gamma",
            [f"saturated in h {DEPTH}", "mean slope", "gradient, per layer"],
            rows,
        ),
        Text(
            f"At gamma = 1 the gradient is multiplied by {decimal(growth)} a layer: at this rate by "
            f"{decimal(growth ** (layers - 1), 1)} from the last of {layers} layers to the first. Yang et al. 2019 "
            "show for deep networks with batch normalization, and without shortcuts, that gradients grow "
            "exponentially with depth. And gamma is learned: the larger it is, the more outputs saturate, and beta "
            "can kill a unit as a bias can. The scale of W no longer decides whether units saturate; gamma and beta "
            "do.",
            {"gradient_per_layer_with_bn": growth, "at_50_layers": growth ** (layers - 1), "least_gamma": 0.5},
        ),
    ]


def _against_torch(deep: Passed, drawn: Drawn) -> Text:
    """Build the layers with bn from torch's own modules and say how far the formulas are from them."""
    x = drawn.x.clone().requires_grad_()
    y: Tensor = x
    for weight in drawn.normal:
        y = nn.Tanh()(nn.BatchNorm1d(WIDTH, dtype=torch.float64)(nn.functional.linear(y, weight.T)))
    (y * drawn.arriving).sum().backward()
    difference = largest_difference((deep.h[-1], deep.gradients[0]), (y, x.grad))
    return Text(
        f"The {DEPTH} layers with bn, built from torch.nn.BatchNorm1d and torch.nn.Tanh, give the same "
        f"outputs and the same gradient by x, up to {difference:.1e}.",
        {"difference_to_torch": difference},
    )


def _experiment() -> Experiment:
    return Experiment(
        (
            "bnexp check configs/demo.yaml --signal --set init.std=1 --set model.norm=none",
            "bnexp check configs/demo.yaml --signal --set init.std=1 --set model.norm=bn",
            "bnexp train configs/demo.yaml --set init.std=1 --set model.norm=none --name large",
            "bnexp train configs/demo.yaml --set init.std=1 --set model.norm=bn --name large_bn",
            "bnexp compare large large_bn",
            "bnexp board",
        ),
        "These networks have sigmoids, which are scaled tanh: sigmoid(z) = (1 + tanh(z / 2)) / 2, and saturate alike. "
        "With weights of std 1 and no normalization the standard deviation of their outputs is close to 1/2, the "
        "largest there is, and with bn less than half of that. Then train both, from the same weights and on the same "
        "batches, and compare the curves. On the board, `saturated_fraction` shows the share of saturated outputs of "
        "each layer over the steps.",
    )
