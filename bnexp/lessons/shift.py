"""The lesson `shift`: internal covariate shift of a small network while it trains, by two measures.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, named it and gave it as the reason for batch normalization.
Santurkar et al. 2018, https://arxiv.org/abs/1805.11604, measured it by gradients, injected noise after batch norm, and
disputed that reason; Bjorck et al. 2018, https://arxiv.org/abs/1806.02375, see the reason in larger learning rates.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.document.figure import Lines
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson
from bnexp.document.writing import decimal
from bnexp.lessons.prose import Placed, compose
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
    """How an arm normalizes before each tanh, and whether each unit is then scaled and shifted by the noise."""

    norm: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # z (B, F), gamma and beta (F,) -> (B, F)
    noisy: bool = False


ARMS = {
    NONE: Arm(),
    BN: Arm(lambda z, gamma, beta: batch_norm_train(z, gamma, beta).y),
    NOISY: Arm(lambda z, gamma, beta: batch_norm_train(z, gamma, beta).y, noisy=True),
}
BN_OF_TORCH = Arm(lambda z, gamma, beta: functional.batch_norm(z, None, None, gamma, beta, training=True))

Parameters = list[list[Tensor]]
"""Of each layer its weights, its bias (which is beta where there is a norm) and, with a norm, gamma."""


class Trained(NamedTuple):
    """Hold what was measured while an arm trained, before the first step and after each."""

    below: Sequence[Tensor]  # inputs of the last hidden layer, (WATCHED, WIDTH) a step
    before_tanh: Sequence[Tensor]  # inputs of its tanh, (WATCHED, WIDTH) a step
    losses: Sequence[float]  # over the examples watched
    cosines: Sequence[float]  # of each step, of the two gradients of that layer
    distances: Sequence[float]  # of each step, of the two, relative to the first
    parameters: Parameters  # in the end


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
    parameters, losses, inputs, cosines, distances = Parameters(), list[float](), [], list[float](), list[float]()
    for number, weight in enumerate(task.weights):
        gamma = [weight.new_ones(weight.shape[1])] if arm.norm and number < HIDDEN else []
        parameters.append([weight, weight.new_zeros(weight.shape[1]), *gamma])
    for step in range(STEPS + 1):
        loss, inputs_of_layers = _loss(parameters, task, arm, slice(WATCHED), step)
        losses.append(loss.item())
        inputs.append(inputs_of_layers[LAST])
        if step == STEPS:
            break
        gradients = _gradients(parameters, task, arm, step)
        moved = [
            [value - LEARNING_RATE * gradient for value, gradient in zip(*layer, strict=True)]
            for layer in zip(parameters, gradients, strict=True)
        ]
        after = _gradients([*moved[:LAST], *parameters[LAST:]], task, arm, step)  # only the layers below have moved
        cosines.append(cosine(gradients[LAST], after[LAST]))
        distances.append(relative_distance(gradients[LAST], after[LAST]))
        parameters = moved
    below, before_tanh = zip(*inputs, strict=True)
    return Trained(below, before_tanh, losses, cosines, distances, parameters)


def _loss(
    parameters: Parameters, task: Task, arm: Arm, examples: Tensor | slice, step: int
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the loss, and the inputs of each hidden layer and of its tanh; a norm takes statistics of the examples."""
    h, inputs = task.x[examples], []
    for (weight, shift, *gamma), (scale, offset) in zip(parameters[:HIDDEN], task.noise[step], strict=True):
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
    loss, _ = _loss(leaves, task, arm, task.batches[step], step)
    gradients = iter(torch.autograd.grad(loss, [leaf for layer in leaves for leaf in layer]))
    return [[next(gradients) for _ in layer] for layer in leaves]


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
    moved = {name: movement(arm.below) for name, arm in trained.items()}
    plain, normalized = trained[NONE], trained[BN]
    losses = zip(normalized.losses, train(task, BN_OF_TORCH).losses, strict=True)
    percentiles = {
        f"{name}, {percent} %": [z[:, 0].quantile(percent / 100).item() for z in trained[name].before_tanh]
        for name in (NONE, BN)
        for percent in PERCENTILES
    }
    last = normalized.before_tanh[-1][:, 0]
    less, more = sorted((NONE, BN), key=lambda name: moved[name])
    less_by_cosine = _mean(normalized.cosines) > _mean(plain.cosines)
    less_by_distance = _mean(normalized.distances) < _mean(plain.distances)
    by_movement = sorted(ARMS, key=lambda name: moved[name])
    by_loss = sorted(ARMS, key=lambda name: trained[name].losses[-1])
    return compose(
        __name__,
        _parts(trained, moved, percentiles),
        learning_rate=LEARNING_RATE,
        beta=normalized.parameters[LAST][1][0].item(),
        gamma=normalized.parameters[LAST][2][0].item(),
        mean=decimal(last.mean().item()),
        std=decimal(last.std(correction=0).item()),
        all_percentiles=percentiles,
        movement_ratio=moved[more] / moved[less],
        more=more,
        less=less,
        figures_agree=less_by_cosine == less_by_distance,
        direction="less" if less_by_cosine else "more",
        cosines={NONE: plain.cosines, BN: normalized.cosines},
        noise_within=NOISE,
        by_movement="; ".join(f"`{name}`" for name in by_movement),
        by_loss="; ".join(f"`{name}`" for name in by_loss),
        same_order=by_movement == by_loss,
        difference_to_torch=max(abs(ours - theirs) for ours, theirs in losses),
    )


def _parts(
    trained: Mapping[str, Trained], moved: Mapping[str, float], percentiles: Mapping[str, list[float]]
) -> list[Placed]:
    outer = {name: values for name, values in percentiles.items() if "50" not in name}
    title = "one unit of the last hidden layer: percentiles of what its tanh sees"
    movements = [(name, [movement(trained[name].before_tanh), moved[name]]) for name in (NONE, BN)]
    of_movement = "movement in standard deviations, of the last hidden layer"
    seen = "what its tanh sees", "what the layer sees"
    gradients = []
    for name in (NONE, BN):
        cosines = trained[name].cosines
        means = [_mean(values) for values in (cosines[:10], cosines[-10:], cosines, trained[name].distances)]
        gradients.append((name, means))
    of_gradients = "cosine of G and G', mean over the steps, and their distance"
    periods = "steps 1 to 10", f"{STEPS - 9} to {STEPS}", f"all {STEPS}", "|G - G'| / |G|"
    arms = [(name, [moved[name], _mean(arm.cosines), arm.losses[0], arm.losses[-1]]) for name, arm in trained.items()]
    of_arms = "movement", "cosine of G, G'", "loss at the start", f"loss after {STEPS} steps"
    return [
        Lines("percentiles", title, "step", list(range(STEPS + 1)), outer),
        _one_unit(trained[NONE], trained[BN]),
        number_table("movement", of_movement, seen, movements, corner="arm"),
        number_table("gradients", of_gradients, periods, gradients, corner="arm"),
        number_table("noise", "three arms", of_arms, arms, corner="arm"),
    ]


def _one_unit(plain: Trained, normalized: Trained) -> Table:
    columns = [f"mean, {NONE}", f"std, {NONE}", f"mean, {BN}", f"std, {BN}", f"loss, {NONE}", f"loss, {BN}"]
    rows = []
    for step in range(0, STEPS + 1, 10):
        inputs = [arm.before_tanh[step][:, 0] for arm in (plain, normalized)]
        moments = [number for z in inputs for number in (z.mean().item(), z.std(correction=0).item())]
        rows.append((f"{step}", [*moments, plain.losses[step], normalized.losses[step]]))
    return number_table("unit", "the same unit, and the loss", columns, rows, corner="step")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
