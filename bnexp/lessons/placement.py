"""The lesson `placement`: what batch normalization before and after relu hands to the next layer.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, normalize before the activation. Mishkin et al. 2016,
https://arxiv.org/abs/1606.02228, compare both places on ImageNet. He et al. 2016, https://arxiv.org/abs/1603.05027, put
normalization and activation before the layer in residual networks.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines, histogram
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson, Text
from bnexp.document.writing import Value, decimal
from bnexp.lessons.prose import Placed, compose
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import (
    against_torch,
    batch_norm,
    initial_parameters,
    share,
    standard_normal,
    symmetric_uniform,
)
from bnexp.norms.reference import batch_norm_train_backward

EXAMPLES, WIDTH, BLOCKS = 512, 64, 8
BIAS = 2  # beyond it some units would never be active in so many examples
DEAD_BIAS, LOW_BETA = -20.0, -5.0
NONE, BEFORE, AFTER, FIRST = "linear -> relu", "linear -> bn -> relu", "linear -> relu -> bn", "bn -> relu -> linear"
MISHKIN = {"CaffeNet": (0.471, 0.474, 0.499), "GoogLeNet": (0.619, 0.603, 0.596)}
"""Accuracy on ImageNet (images of 128 pixels) without bn, with it before relu, and after relu."""
MISHKIN_TITLE = "accuracy in Mishkin et al. 2016, images of 128 pixels"
MEAN_OF_RELU = 1 / math.sqrt(2 * math.pi)
"""The mean of relu(u) for u = N(0, 1)."""


class Drawn(NamedTuple):
    """Hold everything that is drawn from the seed."""

    x: Tensor  # (EXAMPLES, WIDTH), standard normal
    weights: Tensor  # (BLOCKS, WIDTH, WIDTH), normal with variance 1 / fan_in, so that the variance of x W is about 1
    bias: Tensor  # (WIDTH,), uniform between -BIAS and BIAS
    arriving: Tensor  # (EXAMPLES, WIDTH), standard normal: the gradient of the loss by the output of a block


def draw(seed: int) -> Drawn:
    """Draw everything from one seed."""
    generator = torch.Generator().manual_seed(seed)
    weights = standard_normal(generator, BLOCKS, WIDTH, WIDTH) / math.sqrt(WIDTH)
    bias = BIAS * symmetric_uniform(generator, WIDTH)
    x, arriving = (standard_normal(generator, EXAMPLES, WIDTH) for _ in range(2))
    return Drawn(x, weights, bias, arriving)


def after(block: str, z: Tensor, beta: float = 0.0) -> Tensor:
    """Return the output of a block for z = x W + b (B, F), which the next layer sees."""
    if block == BEFORE:
        return torch.relu(batch_norm(z, beta=beta).y)
    return batch_norm(torch.relu(z), beta=beta).y if block == AFTER else torch.relu(z)


def gradient_by_z(block: str, z: Tensor, arriving: Tensor, beta: float = 0.0) -> Tensor:
    """Return the gradient of the loss by z (B, F), given that by the output of the block."""
    ones, _ = initial_parameters(z.shape[1])
    if block == BEFORE:
        forward = batch_norm(z, beta=beta)
        return batch_norm_train_backward(arriving * (forward.y > 0), forward, ones)[0]
    if block == AFTER:
        arriving = batch_norm_train_backward(arriving, batch_norm(torch.relu(z)), ones)[0]
    return arriving * (z > 0)


def between_examples(h: Tensor) -> float:
    """Return the mean cosine between two different examples, rows of (B, F)."""
    rows = h / h.norm(dim=1, keepdim=True)
    off_diagonal: float = (rows.sum(dim=0) ** 2).sum().item() - (rows**2).sum().item()
    return off_diagonal / (len(h) * (len(h) - 1))


def stream(block: str, drawn: Drawn) -> list[Tensor]:
    """Return what runs along the shortcuts: x, and the sum after each block, s <- s + block(s)."""
    sums = [drawn.x]
    for weight in drawn.weights:
        s = sums[-1]
        sums.append(s + (torch.relu(batch_norm(s).y) @ weight if block == FIRST else after(block, s @ weight)))
    return sums


def lesson(request: Request) -> Lesson:
    """Return the lesson on a layer drawn from the seed."""
    drawn = draw(request.seed)
    z = drawn.x @ drawn.weights[0] + drawn.bias
    outputs = {name: after(name, z) for name in (NONE, BEFORE, AFTER)}
    floors = torch.where(outputs[NONE] == 0, outputs[AFTER], 0).min(dim=0).values
    floors = floors[floors < 0]  # a unit that is never 0 has none
    unit = first_unit_with_bias(DEAD_BIAS, drawn)
    of_unit = "active", "output, least", "output, most", "gradient by z"
    accuracies = "no bn", "bn before relu", "bn after relu"
    caffenet, googlenet = (after_relu - before for _, before, after_relu in MISHKIN.values())
    parts = [
        *_next_layer_sees(outputs),
        _closed_form(outputs[BEFORE]),
        number_table("dead_unit", f"the first unit, bias {DEAD_BIAS:g}", of_unit, list(unit.items()), corner="block"),
        *_streams(drawn),
        number_table("mishkin", MISHKIN_TITLE, accuracies, list(MISHKIN.items()), corner="network", digits=3),
    ]
    return compose(
        __name__,
        parts,
        cosine_before=decimal(between_examples(outputs[BEFORE])),
        lowest_floor=floors.min().item(),
        highest_floor=floors.max().item(),
        floor_without_bias=-1 / math.sqrt(math.pi - 1),
        active_with_bn_before=unit[BEFORE][0],
        after_less_before_caffenet=caffenet,
        before_less_after_googlenet=-googlenet,
        against_torch=_against_torch(outputs, z, drawn.arriving),
    )


def _next_layer_sees(outputs: Mapping[str, Tensor]) -> list[Placed]:
    edges = -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3
    units, values = [], []
    for name, h in outputs.items():
        mean, std = h.mean(dim=0), h.std(dim=0, correction=0)
        units.append((name, [mean.min().item(), mean.max().item(), std.min().item(), std.max().item()]))
        values.append((name, [share(h == 0), share(h < 0), between_examples(h)]))
    bins = "outputs, share of the values in each bin; 0 itself counts in the bin above it"
    by_unit = "mean and standard deviation of each unit over the examples: the smallest and the largest"
    by_value = "share of the values, and the mean cosine between two examples"
    return [
        histogram("seen", bins, edges, outputs),
        number_table("units", by_unit, ["mean, least", "mean, most", "std, least", "std, most"], units, corner="block"),
        number_table("values", by_value, ["exactly 0", "below 0", "cosine"], values, corner="block"),
    ]


def _closed_form(h: Tensor) -> Table:
    mean, square = MEAN_OF_RELU, 0.5
    rows: list[tuple[str, list[Value]]] = [
        ("share of 0", ["1/2", 0.5, share(h == 0)]),
        ("mean", ["1 / sqrt(2 pi)", mean, h.mean().item()]),
        ("mean of the squares", ["1/2", square, (h**2).mean().item()]),
        ("standard deviation", ["sqrt(1/2 - 1/(2 pi))", math.sqrt(square - mean**2), h.std(correction=0).item()]),
        ("cosine of two examples", ["1/pi", mean**2 / square, between_examples(h)]),
    ]
    title = f"relu(u), as computed for u = N(0, 1) and as measured for `{BEFORE}`"
    return number_table("relu_of_normal", title, ["formula", "computed", "measured"], rows, corner="quantity")


def first_unit_with_bias(bias: float, drawn: Drawn) -> dict[str, list[float]]:
    """Return, by block: how often the first unit is active, its least and largest output, its gradient's norm by z."""
    biases = drawn.bias.clone()
    biases[0] = bias
    z = drawn.x @ drawn.weights[0] + biases
    blocks = {NONE: (NONE, 0.0), AFTER: (AFTER, 0.0), BEFORE: (BEFORE, 0.0)}
    blocks[f"{BEFORE}, beta {LOW_BETA:g}"] = BEFORE, LOW_BETA
    cells = {}
    for name, (block, beta) in blocks.items():
        h, gradient = after(block, z, beta)[:, 0], gradient_by_z(block, z, drawn.arriving, beta)[:, 0]
        active = share((h if block == BEFORE else z[:, 0]) > 0)
        cells[name] = [active, h.min().item(), h.max().item(), gradient.norm().item()]
    return cells


def _streams(drawn: Drawn) -> list[Placed]:
    streams = {name: stream(name, drawn) for name in (BEFORE, AFTER, FIRST)}
    means = {name: [s.mean().item() for s in sums] for name, sums in streams.items()}
    rows = [
        (name, [means[name][-1], sums[-1].std(correction=0).item(), share(sums[-1] < 0)])
        for name, sums in streams.items()
    ]
    return [
        Lines("stream", "mean of s, over all its values", "block", list(range(BLOCKS + 1)), means),
        number_table("stream_end", f"s after {BLOCKS} blocks", ["mean", "std", "share below 0"], rows, corner="block"),
    ]


def _against_torch(outputs: Mapping[str, Tensor], z: Tensor, arriving: Tensor) -> Text:
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    for block in (BEFORE, AFTER):
        leaf = z.clone().requires_grad_()
        norm = nn.BatchNorm1d(WIDTH, dtype=torch.float64)
        y = torch.relu(norm(leaf)) if block == BEFORE else norm(torch.relu(leaf))
        (y * arriving).sum().backward()
        ours += [outputs[block], gradient_by_z(block, z, arriving)]
        theirs += [y, leaf.grad]
    return against_torch("torch.nn.BatchNorm1d, in both places", ours, theirs)
