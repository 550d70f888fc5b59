"""The lesson `shift`: internal covariate shift of a small network while it trains, by two measures.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, named it and gave it as the reason for batch normalization.
Santurkar et al. 2018, https://arxiv.org/abs/1805.11604, measured it by gradients, injected noise after batch norm, and
disputed that reason; Bjorck et al. 2018, https://arxiv.org/abs/1806.02375, see the reason in larger learning rates.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.document.figure import Lines
from bnexp.document.table import number_table
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.document.writing import decimal
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import standard_normal, symmetric_uniform
from bnexp.norms.reference import batch_norm_train

FEATURES, WIDTH, HIDDEN, LAST = 8, 16, 3, 2
STEPS, BATCH_SIZE, LEARNING_RATE = 50, 64, 0.5
EXAMPLES, WATCHED = 2048, 256
NOISE = 0.25
NONE, BN, NOISY = "no norm", "bn", "bn, then noise"
PERCENTILES = (15, 50, 85)  # those of figure 1 of Ioffe & Szegedy 2015


class Task(NamedTuple):
    """Hold what all arms share."""

    x: Tensor  # (EXAMPLES, FEATURES), standard normal
    target: Tensor  # (EXAMPLES,), the class: 1 or -1
    weights: Sequence[Tensor]  # initial ones, a matrix per layer; the last is (WIDTH, 1)
    batches: Tensor  # (STEPS, BATCH_SIZE), indices of the examples of each step
    noise: Tensor  # (STEPS + 1, HIDDEN, 2, WIDTH), between -NOISE and NOISE: at each step a scale and a shift per unit


class Arm(NamedTuple):
    """Hold how an arm normalizes before each tanh, and whether each unit is then scaled and shifted by the noise."""

    norm: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # z (B, F), gamma and beta (F,) -> (B, F)
    noisy: bool = False


def _bn(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return batch_norm_train(z, gamma, beta).y


def _bn_of_torch(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return functional.batch_norm(z, None, None, gamma, beta, training=True)


ARMS: dict[str, Arm] = {NONE: Arm(), BN: Arm(_bn), NOISY: Arm(_bn, noisy=True)}

Parameters = list[list[Tensor]]
"""Of each layer its weights, its bias (which is beta where there is a norm) and, with a norm, gamma."""


@dataclass
class Trained:
    """Hold what was measured while an arm trained, before the first step and after each."""

    below: list[Tensor] = field(default_factory=list)  # inputs of the last hidden layer, (WATCHED, WIDTH) a step
    before_tanh: list[Tensor] = field(default_factory=list)  # inputs of its tanh, (WATCHED, WIDTH) a step
    losses: list[float] = field(default_factory=list)  # over the examples watched
    cosines: list[float] = field(default_factory=list)  # of each step, of the two gradients of that layer
    distances: list[float] = field(default_factory=list)  # of each step, of the two, relative to the first
    parameters: Parameters = field(default_factory=list)  # in the end


def draw(seed: int) -> Task:
    """Draw everything from one seed; the classes are the halves of a random function of x."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [FEATURES, *[WIDTH] * HIDDEN, 1]
    weights = [standard_normal(generator, low, high) / math.sqrt(low) for low, high in pairwise(sizes)]
    x = standard_normal(generator, EXAMPLES, FEATURES)
    hidden = torch.tanh(x @ standard_normal(generator, FEATURES, WIDTH) * 2 / math.sqrt(FEATURES))
    value = hidden @ standard_normal(generator, WIDTH)
    target = torch.where(value > value.median(), 1.0, -1.0).double()
    batches = torch.randint(EXAMPLES, (STEPS, BATCH_SIZE), generator=generator)
    noise = NOISE * symmetric_uniform(generator, STEPS + 1, HIDDEN, 2, WIDTH)
    return Task(x, target, weights, batches, noise)


def train(task: Task, arm: Arm) -> Trained:
    """Train by plain gradient descent, and watch the last hidden layer."""
    trained, parameters = Trained(), Parameters()
    for number, weight in enumerate(task.weights):
        gamma = [weight.new_ones(weight.shape[1])] if arm.norm and number < HIDDEN else []
        parameters.append([weight, weight.new_zeros(weight.shape[1]), *gamma])
    _watch(trained, parameters, task, arm, 0)
    for step in range(STEPS):
        gradients = _gradients(parameters, task, arm, step)
        moved = [
            [value - LEARNING_RATE * gradient for value, gradient in zip(*layer, strict=True)]
            for layer in zip(parameters, gradients, strict=True)
        ]
        # The layers below have taken their step, and nothing else has.
        after = _gradients([*moved[:LAST], *parameters[LAST:]], task, arm, step)
        trained.cosines.append(cosine(gradients[LAST], after[LAST]))
        trained.distances.append(relative_distance(gradients[LAST], after[LAST]))
        parameters = moved
        _watch(trained, parameters, task, arm, step + 1)
    trained.parameters = parameters
    return trained


def _loss(
    parameters: Parameters, task: Task, arm: Arm, examples: Tensor | slice, noise: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the loss, and the inputs of each hidden layer and of its tanh; a norm takes statistics of the examples."""
    h, inputs = task.x[examples], []
    for (weight, shift, *gamma), (scale, offset) in zip(parameters[:HIDDEN], noise, strict=True):
        z = h @ weight
        z = arm.norm(z, gamma[0], shift) if arm.norm else z + shift
        if arm.noisy:
            z = z * (1 + scale) + offset
        inputs.append((h, z))
        h = torch.tanh(z)
    weight, shift = parameters[HIDDEN]
    output = (h @ weight + shift)[:, 0]
    return functional.softplus(-task.target[examples] * output).mean(), inputs


def _gradients(parameters: Parameters, task: Task, arm: Arm, step: int) -> Parameters:
    leaves = [[value.clone().requires_grad_() for value in layer] for layer in parameters]
    loss, _ = _loss(leaves, task, arm, task.batches[step], task.noise[step])
    gradients = iter(torch.autograd.grad(loss, [leaf for layer in leaves for leaf in layer]))
    return [[next(gradients) for _ in layer] for layer in leaves]


def _watch(trained: Trained, parameters: Parameters, task: Task, arm: Arm, step: int) -> None:
    loss, inputs = _loss(parameters, task, arm, slice(WATCHED), task.noise[step])
    trained.losses.append(loss.item())
    trained.below.append(inputs[LAST][0])
    trained.before_tanh.append(inputs[LAST][1])


def movement(values: Sequence[Tensor]) -> float:
    """Return how far the means of the units move in all, in standard deviations before each step.

    It is the sum over the steps of the mean over units of |mean - mean before| / std before, which the probe
    `covariate_shift` calls `input_shift`.
    """
    total = 0.0
    for before, now in pairwise(values):
        shift = (now.mean(dim=0) - before.mean(dim=0)).abs() / before.std(dim=0, correction=0)
        total += shift.mean().item()
    return total


def cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the cosine of two lists of tensors, as if each were one vector."""
    a, b = _flat(first), _flat(second)
    return float(a @ b / (a.norm() * b.norm()))


def relative_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the distance of two lists of tensors over the norm of the first."""
    return float((_flat(first) - _flat(second)).norm() / _flat(first).norm())


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def lesson(request: Request) -> Lesson:
    """Return the lesson on a network and a task drawn from the seed."""
    task = draw(request.seed)
    trained = {name: train(task, arm) for name, arm in ARMS.items()}
    losses_of_torch = train(task, Arm(_bn_of_torch)).losses
    schedule = "--set probes.covariate_shift.every=9"
    return Lesson(
        "shift",
        "inputs move, and less with batch norm; whether it helps for that reason is disputed",
        [
            text(
                f"A network of {HIDDEN} hidden layers of {WIDTH} tanh units learns to tell two classes apart, from "
                f"{FEATURES} features. It takes {STEPS} steps of gradient descent with batches of {BATCH_SIZE} and the "
                "learning rate {learning_rate:g}: once without normalization, once with batch norm before each tanh. "
                "Both start from the same weights and see the same batches. After each step, the same "
                f"{WATCHED} examples are sent through the network to watch its last hidden layer.",
                learning_rate=LEARNING_RATE,
            ),
            *_input_of_one_tanh(trained[NONE], trained[BN]),
            *_inputs_of_the_layer(trained),
            *_gradients_of_the_layer(trained),
            *_noise(trained),
            text(
                "Trained with torch's own batch normalization in place of the formula, the network has the same losses "
                "at all steps, up to {difference_to_torch:.1e}.",
                difference_to_torch=max(
                    abs(ours - theirs) for ours, theirs in zip(trained[BN].losses, losses_of_torch, strict=True)
                ),
            ),
        ],
        TryIt(
            (
                f"bnexp train configs/demo.yaml {schedule} --set model.norm=none --name no",
                f"bnexp train configs/demo.yaml {schedule} --set model.norm=bn --name bn",
                "bnexp train configs/demo.yaml --set model.norm=noisy_bn --name noisy",
                "bnexp compare no bn noisy",
                "bnexp board",
            ),
            "The probe measures both shifts in a network of sigmoids on digits. On the board, `input_shift` is smaller "
            "with bn, and `gradient_shift` larger; yet bn learns faster. `noisy_bn`, whose inputs move most of all, "
            "learns about as fast as bn.",
        ),
    )


def _input_of_one_tanh(plain: Trained, normalized: Trained) -> list[Part]:
    unit = {NONE: [z[:, 0] for z in plain.before_tanh], BN: [z[:, 0] for z in normalized.before_tanh]}
    percentiles = {
        f"{name}, {percent} %": [z.quantile(percent / 100).item() for z in values]
        for name, values in unit.items()
        for percent in PERCENTILES
    }
    title = "one unit of the last hidden layer: percentiles of what its tanh sees"
    outer = {name: values for name, values in percentiles.items() if "50" not in name}
    columns = [f"mean, {NONE}", f"std, {NONE}", f"mean, {BN}", f"std, {BN}", f"loss, {NONE}", f"loss, {BN}"]
    rows = []
    for step in range(0, STEPS + 1, 10):
        z = [values[step] for values in unit.values()]
        cells = [number for of_arm in z for number in (of_arm.mean().item(), of_arm.std(correction=0).item())]
        rows.append((f"{step}", [*cells, plain.losses[step], normalized.losses[step]]))
    beta, gamma = (parameter[0].item() for parameter in normalized.parameters[LAST][1:])
    return [
        Heading("1. The input of one tanh"),
        Lines("percentiles", title, "step", list(range(STEPS + 1)), outer),
        number_table("unit", "the same unit, and the loss", columns, rows, corner="step"),
        text(
            "Ioffe & Szegedy 2015 show this picture for a sigmoid: with batch norm the curves are steadier. At this "
            "place they have to be: over any batch the mean is beta and the standard deviation gamma (except for eps), "
            "two parameters. After {steps} steps, the mean is {mean} and beta {beta}, the standard deviation {std} and "
            "gamma {gamma}. That is how batch norm is made, and does not yet tell how the network learns.",
            beta=beta,
            gamma=gamma,
            steps=str(STEPS),
            mean=decimal(rows[-1][1][2]),
            std=decimal(rows[-1][1][3]),
            all_percentiles=percentiles,
        ),
    ]


def _inputs_of_the_layer(trained: Mapping[str, Trained]) -> list[Part]:
    rows = [(name, [movement(trained[name].before_tanh), movement(trained[name].below)]) for name in (NONE, BN)]
    (less, (_, least)), (more, (_, most)) = sorted(rows, key=lambda row: row[1][1])
    return [
        Heading("2. The inputs of the layer"),
        Text(
            "What the layer itself sees is the output of the layers below. How far do the means of these "
            f"{WIDTH} features move? At each step by |mean - mean before| / std before, here summed over {STEPS} steps "
            "and averaged over the features:"
        ),
        number_table(
            "movement",
            "movement in standard deviations, of the last hidden layer",
            ["what its tanh sees", "what the layer sees"],
            rows,
            corner="arm",
        ),
        text(
            "They move in both networks, with `{more}` {movement_ratio:.1f} times as far as with `{less}`. (The layers "
            "below have a batch norm of their own, which steadies what this layer sees.)",
            movement_ratio=most / least,
            more=more,
            less=less,
        ),
    ]


def _gradients_of_the_layer(trained: Mapping[str, Trained]) -> list[Part]:
    cosines = {name: trained[name].cosines for name in (NONE, BN)}
    columns = ["steps 1 to 10", f"{STEPS - 9} to {STEPS}", f"all {STEPS}", "|G - G'| / |G|"]
    rows = [
        (name, [_mean(values[:10]), _mean(values[-10:]), _mean(values), _mean(trained[name].distances)])
        for name, values in cosines.items()
    ]
    (*_, cosine_without, distance_without), (*_, cosine_with, distance_with) = (cells for _, cells in rows)
    by_cosine, by_distance = (
        "less" if smaller else "more" for smaller in (cosine_with > cosine_without, distance_with < distance_without)
    )
    return [
        Heading("3. What the movement does to the gradient"),
        Text(
            "Santurkar et al. 2018 ask what the movement means for the step that the layer is about to take. They "
            "compare two gradients of its parameters on the same batch: G, and G' after the layers below have taken "
            "their step and nothing else has. If the layers below disturbed nothing, the cosine of the two would be 1 "
            "and their distance 0."
        ),
        number_table(
            "gradients", "cosine of G and G', mean over the steps, and their distance", columns, rows, corner="arm"
        ),
        text(
            "{finding} Ask again with --seed 1, 2, 3, which draw other weights and other examples: the answer can "
            "change.",
            finding=f"By both figures, the gradients shift {by_cosine} with batch norm here."
            if by_cosine == by_distance
            else "The two figures do not agree on which arm has the larger shift here.",
            cosines=cosines,
        ),
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _noise(trained: Mapping[str, Trained]) -> list[Part]:
    columns = ["movement", "cosine of G, G'", "loss at the start", f"loss after {STEPS} steps"]
    rows = [
        (name, [movement(arm.below), _mean(arm.cosines), arm.losses[0], arm.losses[-1]])
        for name, arm in trained.items()
    ]
    by_movement, by_loss = (
        "; ".join(f"`{name}`" for _, name in sorted((cells[at], name) for name, cells in rows)) for at in (0, -1)
    )
    return [
        Heading("4. More movement on purpose"),
        Text(
            "Santurkar et al. 2018 also put noise after batch norm: each unit's values are scaled and shifted, by "
            f"other numbers at each step (here within {NOISE} of 1 and of 0), so that the next layer's inputs move "
            "all the time. The loss is measured with the noise."
        ),
        number_table("noise", "three arms", columns, rows, corner="arm"),
        text(
            "From the least movement to the most: {by_movement}. From the lowest loss to the highest: {by_loss}. "
            "{orders}",
            noise_within=NOISE,
            by_movement=by_movement,
            by_loss=by_loss,
            orders="The orders are the same here, which one draw may give by chance."
            if by_movement == by_loss
            else "The orders differ: in this network, how far the inputs move does not settle how well it learns.",
        ),
        Text(
            "Ioffe & Szegedy 2015 gave the smaller movement as the reason why batch norm speeds up training. Later "
            "work disputes that. Santurkar et al. 2018 found the shift of gradients similar or worse with batch norm, "
            "and that noise after it does not take its gain away; they see the reason in a smoother loss. Bjorck et "
            f"al. 2018 see it in the larger learning rates that it allows. One small network, over {STEPS} steps and "
            "at one learning rate, decides none of this."
        ),
    ]
