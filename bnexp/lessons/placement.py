"""The lesson `placement`: what batch normalization before and after relu hands to the next layer.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, normalize before the activation. Mishkin et al. 2016,
https://arxiv.org/abs/1606.02228, compare both places on ImageNet. He et al. 2016, https://arxiv.org/abs/1603.05027, put
normalization and activation before the layer in residual networks.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Lines, Part, Table, Text, histogram
from bnexp.document.numerals import decimal
from bnexp.lessons.relu_blocks import (
    AFTER,
    BEFORE,
    BIAS,
    BLOCKS,
    EXAMPLES,
    FIRST,
    NONE,
    WIDTH,
    Drawn,
    after,
    between_examples,
    draw,
    gradient_by_z,
    normalize,
    stream,
)
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch

DEAD_BIAS = -20.0
_EDGES = (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3)


def lesson(request: Request) -> Lesson:
    """Return the lesson on a layer drawn from the seed."""
    drawn = draw(request.seed)
    z = drawn.x @ drawn.weights[0] + drawn.bias
    outputs = {name: after(name, z) for name in (NONE, BEFORE, AFTER)}
    return Lesson(
        "placement",
        "before relu, batch norm decides which values are 0; after it, what the next layer sees",
        [
            *_seen(outputs),
            *_closed_form(outputs),
            *_dead(drawn),
            *_first(drawn),
            *_literature(),
            _against_torch(z, drawn.arriving),
        ],
        _experiment(),
    )


def _seen(outputs: Mapping[str, Tensor]) -> list[Part]:
    shares = [
        (name, [(h == 0).double().mean().item(), (h < 0).double().mean().item(), between_examples(h)])
        for name, h in outputs.items()
    ]
    floors = torch.where(outputs[NONE] == 0, outputs[AFTER], 0).min(dim=0).values
    floors = floors[floors < 0]  # a unit that is never 0 has none
    return [
        Text(
            f"A layer of {WIDTH} units computes z = x W + b for {EXAMPLES} examples. Over the examples, z of each unit "
            f"has a standard deviation of about 1, and about the bias b as its mean. b is drawn between -{BIAS} and "
            f"{BIAS}, so that the units differ. Batch normalization, with gamma = 1 and beta = 0, stands before relu, "
            "or after it, or nowhere. What does the next layer see?"
        ),
        Heading("1. The values that the next layer sees"),
        histogram(
            "seen", "outputs, share of the values in each bin; 0 itself counts in the bin above it", _EDGES, outputs
        ),
        _units(outputs),
        Table(
            "values",
            "share of the values, and the mean cosine between two examples",
            ["exactly 0", "below 0", "cosine"],
            shares,
            corner="block",
        ),
        Text(
            "Before relu, batch norm makes all units alike, whatever W and b are: each is 0 for about half of the "
            "examples. But what the next layer sees is not normalized: all of it is 0 or more, the mean is not 0, and "
            f"as all examples share that mean, two of them have a cosine of {decimal(shares[1][1][2])} on average."
        ),
        Text(
            "After relu, what the next layer sees has mean 0 and standard deviation 1 (but for eps), and the cosine "
            "is about 0. Which values are cut off is now up to W and b, unit by unit. And the values are sparse no "
            "longer: those that relu made 0 lie at one negative value per unit, between "
            f"{decimal(floors.min().item())} and {decimal(floors.max().item())}, lower for units that are active more "
            "often.",
            {"lowest_floor": floors.min().item(), "highest_floor": floors.max().item()},
        ),
    ]


def _units(outputs: Mapping[str, Tensor]) -> Table:
    rows: list[tuple[str, Sequence[float]]] = []
    for name, h in outputs.items():
        mean, std = h.mean(dim=0), h.std(dim=0, correction=0)
        rows.append((name, [mean.min().item(), mean.max().item(), std.min().item(), std.max().item()]))
    return Table(
        "units",
        "mean and standard deviation of each unit over the examples: the smallest and the largest",
        ["mean, least", "mean, most", "std, least", "std, most"],
        rows,
        corner="block",
    )


def _closed_form(outputs: Mapping[str, Tensor]) -> list[Part]:
    before = outputs[BEFORE]
    mean, second = 1 / math.sqrt(2 * math.pi), 0.5
    rows = [
        ("share of 0", "1/2", 0.5, (before == 0).double().mean().item()),
        ("mean", "1 / sqrt(2 pi)", mean, before.mean().item()),
        ("mean of the squares", "1/2", second, (before**2).mean().item()),
        ("standard deviation", "sqrt(1/2 - 1/(2 pi))", math.sqrt(second - mean**2), before.std(correction=0).item()),
        ("cosine of two examples", "1/pi", mean**2 / second, between_examples(before)),
    ]
    floor = -1 / math.sqrt(math.pi - 1)
    return [
        Heading("2. The numbers behind it"),
        Text("If z is normal, bn before relu hands relu a standard normal value, u = N(0, 1), for every unit:"),
        Table(
            "relu_of_normal",
            f"relu(u), as computed for u = N(0, 1) and as measured for `{BEFORE}`",
            ["formula", "computed", "measured"],
            [(name, [formula, computed, measured]) for name, formula, computed, measured in rows],
            corner="quantity",
        ),
        Text(
            "The mean of the squares is half of that of u, which is why Kaiming's scale for relu is sqrt(2 / fan_in). "
            "After relu, a unit without bias has its zeros at -mean / std = -1 / sqrt(pi - 1) = "
            f"{decimal(floor)}.",
            {"floor_without_bias": floor},
        ),
    ]


def _dead(drawn: Drawn) -> list[Part]:
    bias = drawn.bias.clone()
    bias[0] = DEAD_BIAS
    z = drawn.x @ drawn.weights[0] + bias
    low = -5.0
    rows = [_unit(block, block, z, drawn.arriving) for block in (NONE, AFTER, BEFORE)]
    rows.append(_unit(f"{BEFORE}, beta {low:g}", BEFORE, z, drawn.arriving, low))
    return [
        Heading("3. A unit that relu has switched off"),
        Text(
            f"The first unit now has the bias {DEAD_BIAS:g}, so that its z is below 0 for every example. Active is the "
            "share of the examples for which relu lets it through; the last column is the norm of the gradient that "
            "reaches its z, when the one that arrives at its output is drawn standard normal.",
        ),
        Table(
            "dead_unit",
            f"the first unit, bias {DEAD_BIAS:g}",
            ["active", "output, least", "output, most", "gradient by z"],
            rows,
            corner="block",
        ),
        Text(
            "Without batch norm, or with it after relu, the unit is dead: it puts out one value (with bn that is beta, "
            "here 0), and no gradient reaches its weights. With batch norm before relu its bias cancels, and it is "
            f"active for {rows[2][1][0]:.1%} of the examples. That place does not rule dead units out, since beta does "
            f"what the bias did: at beta = {low:g} the unit is dead as well. But beta starts at 0, and it does not "
            "move with W and the layers below, as the mean of z does.",
            {"active_with_bn_before": rows[2][1][0]},
        ),
    ]


def _unit(label: str, block: str, z: Tensor, arriving: Tensor, beta: float = 0.0) -> tuple[str, Sequence[float]]:
    seen = normalize(z, beta).y if block == BEFORE else z
    h = (torch.relu(seen) if block == BEFORE else after(block, z))[:, 0]
    gradient = gradient_by_z(block, z, arriving, beta)[:, 0]
    active = (seen[:, 0] > 0).double().mean().item()
    return label, [active, h.min().item(), h.max().item(), gradient.norm().item()]


def _first(drawn: Drawn) -> list[Part]:
    streams = {name: stream(name, drawn) for name in (BEFORE, AFTER, FIRST)}
    means = {name: [one.mean().item() for one in sums] for name, sums in streams.items()}
    rows = [
        (name, [means[name][-1], sums[-1].std(correction=0).item(), (sums[-1] < 0).double().mean().item()])
        for name, sums in streams.items()
    ]
    return [
        Heading("4. Before the layer: bn -> relu -> linear"),
        Text(
            f"In a chain of blocks, `{FIRST}` is `{BEFORE}` cut at another place: inside the chain the same items "
            "follow each other. It is another network where a shortcut goes around each block, s <- s + block(s), for "
            f"what is added is then something else. After {BLOCKS} such blocks, without biases:"
        ),
        Lines("stream", "mean of s, over all its values", "block", list(range(BLOCKS + 1)), means),
        Table("stream_end", f"s after {BLOCKS} blocks", ["mean", "std", "share below 0"], rows, corner="block"),
        Text(
            f"A block that ends with relu adds nothing below 0: with `{BEFORE}` no value of s ever gets smaller, and "
            f"the mean grows by about {decimal(1 / math.sqrt(2 * math.pi))} a block. `{FIRST}` adds values of both "
            f"signs, and `{AFTER}` adds mean 0. He et al. 2016 name this as a reason not to end a branch with relu. "
            "They put norm and relu first, which leaves nothing but the sum on the way along the shortcuts."
        ),
    ]


_MISHKIN = {"CaffeNet": (0.471, 0.474, 0.499), "GoogLeNet": (0.619, 0.603, 0.596)}
"""Accuracy on ImageNet (images of 128 pixels) without bn, with it before relu, and after relu."""


def _literature() -> list[Part]:
    caffe, google = (after_relu - before for _, before, after_relu in _MISHKIN.values())
    return [
        Heading("5. Which is better?"),
        Text(
            "These numbers are of one layer before any training; they cannot say which network learns better. Ioffe & "
            "Szegedy 2015 put batch norm before the activation. Mishkin et al. 2016 tried both on ImageNet:"
        ),
        Table(
            "mishkin",
            "accuracy in Mishkin et al. 2016, images of 128 pixels",
            ["no bn", "bn before relu", "bn after relu"],
            [(name, list(one)) for name, one in _MISHKIN.items()],
            corner="network",
            digits=3,
        ),
        Text(
            f"After relu is {caffe:.3f} better on CaffeNet, and {-google:.3f} worse on GoogLeNet, where no bn at all "
            "was the best. So it depends on the network and its training. Try it on yours, with more than one seed.",
            {"after_less_before_caffenet": caffe, "before_less_after_googlenet": -google},
        ),
    ]


def _against_torch(z: Tensor, arriving: Tensor) -> Text:
    """Run torch's own module in both places and say how far it is from the formulas."""
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    for block in (BEFORE, AFTER):
        leaf = z.clone().requires_grad_()
        norm = nn.BatchNorm1d(WIDTH, dtype=torch.float64)
        y = torch.relu(norm(leaf)) if block == BEFORE else norm(torch.relu(leaf))
        (y * arriving).sum().backward()
        ours += [after(block, z), gradient_by_z(block, z, arriving)]
        theirs += [y, leaf.grad]
    return against_torch("torch.nn.BatchNorm1d, in both places", ours, theirs)


def _experiment() -> Experiment:
    small = "--set data.dataset=mnist5k"
    return Experiment(
        (
            f"bnexp train configs/mnist_mlp_bn.yaml {small} --name before",
            f"bnexp train configs/mnist_mlp_bn_after.yaml {small} --name after",
            f"bnexp train configs/mnist_mlp_none.yaml {small} --name nowhere",
            "bnexp compare before after nowhere",
        ),
        "Same weights at the start, same batches: what differs is where batch norm stands. The two places are ahead "
        "of the network without in the first epochs, and in the end all three are close. Train each again with "
        "--seed 1 and --seed 2, and see whether the order of the two places holds.",
    )
