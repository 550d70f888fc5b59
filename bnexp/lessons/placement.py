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
from bnexp.document.table import number_table
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.document.writing import Value, decimal
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch, initial_parameters, standard_normal, symmetric_uniform
from bnexp.norms.reference import Normalized, batch_norm_train, batch_norm_train_backward

EXAMPLES, WIDTH, BLOCKS = 512, 64, 8
BIAS = 2  # beyond it some units would never be active in so many examples
DEAD_BIAS, LOW_BETA = -20.0, -5.0
NONE, BEFORE, AFTER, FIRST = "linear -> relu", "linear -> bn -> relu", "linear -> relu -> bn", "bn -> relu -> linear"
MISHKIN = {"CaffeNet": (0.471, 0.474, 0.499), "GoogLeNet": (0.619, 0.603, 0.596)}
"""Accuracy on ImageNet (images of 128 pixels) without bn, with it before relu, and after relu."""


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


def normalize(z: Tensor, beta: float = 0.0) -> Normalized:
    """Return the batch normalization of z (B, F), with gamma 1 and the same beta for all features."""
    gamma, zeros = initial_parameters(z.shape[1])
    return batch_norm_train(z, gamma, zeros + beta)


def after(block: str, z: Tensor, beta: float = 0.0) -> Tensor:
    """Return the output of a block for z = x W + b (B, F), which the next layer sees."""
    if block == BEFORE:
        return torch.relu(normalize(z, beta).y)
    return normalize(torch.relu(z), beta).y if block == AFTER else torch.relu(z)


def gradient_by_z(block: str, z: Tensor, arriving: Tensor, beta: float = 0.0) -> Tensor:
    """Return the gradient of the loss by z (B, F), given that by the output of the block."""
    ones, _ = initial_parameters(z.shape[1])
    if block == BEFORE:
        forward = normalize(z, beta)
        return batch_norm_train_backward(arriving * (forward.y > 0), forward, ones)[0]
    if block == AFTER:
        arriving = batch_norm_train_backward(arriving, normalize(torch.relu(z)), ones)[0]
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
        sums.append(s + (torch.relu(normalize(s).y) @ weight if block == FIRST else after(block, s @ weight)))
    return sums


def share(condition: Tensor) -> float:
    """Return the share of the values that are true."""
    return condition.double().mean().item()


def lesson(request: Request) -> Lesson:
    """Return the lesson on a layer drawn from the seed."""
    drawn = draw(request.seed)
    z = drawn.x @ drawn.weights[0] + drawn.bias
    outputs = {name: after(name, z) for name in (NONE, BEFORE, AFTER)}
    small = "--set data.dataset=mnist5k"
    return Lesson(
        "placement",
        "before relu, batch norm decides which values are 0; after it, what the next layer sees",
        [
            *_next_layer_sees(outputs),
            *_closed_form(outputs[BEFORE]),
            *_dead_unit(drawn),
            *_before_the_layer(drawn),
            *_literature(),
            _against_torch(outputs, z, drawn.arriving),
        ],
        TryIt(
            (
                f"bnexp train configs/mnist_mlp_bn.yaml {small} --name before",
                f"bnexp train configs/mnist_mlp_bn_after.yaml {small} --name after",
                f"bnexp train configs/mnist_mlp_none.yaml {small} --name nowhere",
                "bnexp compare before after nowhere",
            ),
            "Same weights at the start, same batches: only the place of batch norm differs. Both places are ahead of "
            "the network without it in the first epochs, and in the end all three are close. Train each again with "
            "--seed 1 and --seed 2, and see whether the order of the two places holds.",
        ),
    )


def _next_layer_sees(outputs: Mapping[str, Tensor]) -> list[Part]:
    edges = (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3)
    units, values = [], []
    for name, h in outputs.items():
        mean, std = h.mean(dim=0), h.std(dim=0, correction=0)
        units.append((name, [mean.min().item(), mean.max().item(), std.min().item(), std.max().item()]))
        values.append((name, [share(h == 0), share(h < 0), between_examples(h)]))
    floors = torch.where(outputs[NONE] == 0, outputs[AFTER], 0).min(dim=0).values
    floors = floors[floors < 0]  # a unit that is never 0 has none
    by_unit = "mean and standard deviation of each unit over the examples: the smallest and the largest"
    by_value = "share of the values, and the mean cosine between two examples"
    return [
        Text(
            f"A layer of {WIDTH} units computes z = x W + b for {EXAMPLES} examples. Over the examples, z of each unit "
            "has a standard deviation of about 1, and a mean of about its bias b, which is drawn between "
            f"-{BIAS} and {BIAS} so that the units differ. Batch normalization, with gamma = 1 and beta = 0, stands "
            "before relu, or after it, or nowhere. What does the next layer see?"
        ),
        Heading("1. The values that the next layer sees"),
        histogram(
            "seen", "outputs, share of the values in each bin; 0 itself counts in the bin above it", edges, outputs
        ),
        number_table("units", by_unit, ["mean, least", "mean, most", "std, least", "std, most"], units, corner="block"),
        number_table("values", by_value, ["exactly 0", "below 0", "cosine"], values, corner="block"),
        Text(
            "Before relu, batch norm makes all units alike, whatever W and b are: each is 0 for about half of the "
            "examples. But what the next layer sees is not normalized: all of it is 0 or more, the mean is not 0, and "
            f"as all examples share that mean, two of them have a cosine of {decimal(values[1][1][2])} on average."
        ),
        text(
            "After relu, what the next layer sees has mean 0 and standard deviation 1 (except for eps), and the cosine "
            "is about 0. Which values are cut off now depends on W and b, unit by unit. And the values are no longer "
            "sparse: those that relu made 0 become one negative value per unit, between {lowest_floor} and "
            "{highest_floor}, lower for units that are active more often.",
            lowest_floor=floors.min().item(),
            highest_floor=floors.max().item(),
        ),
    ]


def _closed_form(h: Tensor) -> list[Part]:
    mean, square = 1 / math.sqrt(2 * math.pi), 0.5
    rows: list[tuple[str, list[Value]]] = [
        ("share of 0", ["1/2", 0.5, share(h == 0)]),
        ("mean", ["1 / sqrt(2 pi)", mean, h.mean().item()]),
        ("mean of the squares", ["1/2", square, (h**2).mean().item()]),
        ("standard deviation", ["sqrt(1/2 - 1/(2 pi))", math.sqrt(square - mean**2), h.std(correction=0).item()]),
        ("cosine of two examples", ["1/pi", mean**2 / square, between_examples(h)]),
    ]
    title = f"relu(u), as computed for u = N(0, 1) and as measured for `{BEFORE}`"
    return [
        Heading("2. The numbers behind it"),
        Text("If z is normal, bn before relu hands relu a standard normal value, u = N(0, 1), for every unit:"),
        number_table("relu_of_normal", title, ["formula", "computed", "measured"], rows, corner="quantity"),
        text(
            "The mean of the squares is half of that of u, which is why Kaiming's scale for relu is sqrt(2 / fan_in). "
            "After relu, a unit without bias has its zeros at -mean / std = -1 / sqrt(pi - 1) = {floor_without_bias}.",
            floor_without_bias=-1 / math.sqrt(math.pi - 1),
        ),
    ]


def _dead_unit(drawn: Drawn) -> list[Part]:
    bias = drawn.bias.clone()
    bias[0] = DEAD_BIAS
    z = drawn.x @ drawn.weights[0] + bias
    rows = []
    for name, block, beta in (
        *((block, block, 0.0) for block in (NONE, AFTER, BEFORE)),
        (f"{BEFORE}, beta {LOW_BETA:g}", BEFORE, LOW_BETA),
    ):
        h, gradient = after(block, z, beta)[:, 0], gradient_by_z(block, z, drawn.arriving, beta)[:, 0]
        active = share((h if block == BEFORE else z[:, 0]) > 0)
        rows.append((name, [active, h.min().item(), h.max().item(), gradient.norm().item()]))
    columns = ["active", "output, least", "output, most", "gradient by z"]
    return [
        Heading("3. A unit that relu has switched off"),
        Text(
            f"The first unit now has the bias {DEAD_BIAS:g}, so that its z is below 0 for every example. Active is the "
            "share of the examples for which relu lets it through; the last column is the norm of the gradient that "
            "reaches its z when the one that arrives at its output is drawn standard normal."
        ),
        number_table("dead_unit", f"the first unit, bias {DEAD_BIAS:g}", columns, rows, corner="block"),
        text(
            "Without batch norm, or with it after relu, the unit is dead: it puts out one value (with bn that is beta, "
            "here 0), and no gradient reaches its weights. With batch norm before relu its bias cancels, and it is "
            "active for {active_with_bn_before:.1%} of the examples. That place does not rule out dead units, since "
            f"beta does what the bias did: at beta = {LOW_BETA:g} the unit is dead as well. But beta starts at 0, and "
            "does not move with W and the layers below, as the mean of z does.",
            active_with_bn_before=rows[2][1][0],
        ),
    ]


def _before_the_layer(drawn: Drawn) -> list[Part]:
    streams = {name: stream(name, drawn) for name in (BEFORE, AFTER, FIRST)}
    means = {name: [s.mean().item() for s in sums] for name, sums in streams.items()}
    rows = [
        (name, [means[name][-1], sums[-1].std(correction=0).item(), share(sums[-1] < 0)])
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
        number_table("stream_end", f"s after {BLOCKS} blocks", ["mean", "std", "share below 0"], rows, corner="block"),
        Text(
            f"A block that ends with relu adds nothing below 0: with `{BEFORE}` no value of s ever gets smaller, and "
            f"the mean grows by about {decimal(1 / math.sqrt(2 * math.pi))} a block. `{FIRST}` adds values of both "
            f"signs, and `{AFTER}` adds mean 0. He et al. 2016 name this as a reason not to end a branch with relu. "
            "They put norm and relu first, which leaves nothing but the sum on the way along the shortcuts."
        ),
    ]


def _literature() -> list[Part]:
    caffe, google = (after_relu - before for _, before, after_relu in MISHKIN.values())
    rows, columns = tuple(MISHKIN.items()), ["no bn", "bn before relu", "bn after relu"]
    title = "accuracy in Mishkin et al. 2016, images of 128 pixels"
    return [
        Heading("5. Which is better?"),
        Text(
            "These numbers are of one layer before any training; they cannot say which network learns better. Ioffe & "
            "Szegedy 2015 put batch norm before the activation. Mishkin et al. 2016 tried both on ImageNet:"
        ),
        number_table("mishkin", title, columns, rows, corner="network", digits=3),
        text(
            "After relu is {after_less_before_caffenet:.3f} better on CaffeNet, and "
            "{before_less_after_googlenet:.3f} worse on GoogLeNet, where no bn at all was the best. So it depends on "
            "the network and its training. Try it on yours, with more than one seed.",
            after_less_before_caffenet=caffe,
            before_less_after_googlenet=-google,
        ),
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
