"""A small network trained with and without batch normalization, and watched: what the lesson `shift` is made of."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.lessons.tensors import standard_normal, symmetric_uniform
from bnexp.norms.reference import batch_norm_train

FEATURES, WIDTH, HIDDEN, LAST = 8, 16, 3, 2
STEPS, BATCH_SIZE, LEARNING_RATE = 50, 64, 0.5
EXAMPLES, WATCHED = 2048, 256
NOISE = 0.25
NONE, BN, NOISY = "no norm", "bn", "bn, then noise"


@dataclass(frozen=True)
class Task:
    """What all arms share.

    Attributes:
        x: (EXAMPLES, FEATURES), standard normal.
        target: (EXAMPLES,), the class: 1 or -1.
        weights: initial ones, a matrix per layer; the last is (WIDTH, 1).
        batches: (STEPS, BATCH_SIZE), indices of the examples of each step.
        noise: (STEPS + 1, HIDDEN, 2, WIDTH), uniform between -NOISE and NOISE: of each step, scale and shift by unit.
    """

    x: Tensor
    target: Tensor
    weights: Sequence[Tensor]
    batches: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Arm:
    """How one arm normalizes.

    Attributes:
        norm: z (B, F), gamma and beta (F,) -> (B, F), before each tanh; None for no norm.
        noisy: whether noise comes after the norm, for each unit a scale and a shift, drawn anew at each step.
    """

    norm: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    noisy: bool = False


def _bn(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return batch_norm_train(z, gamma, beta).y


ARMS: dict[str, Arm] = {NONE: Arm(), BN: Arm(_bn), NOISY: Arm(_bn, noisy=True)}


@dataclass
class Trained:
    """What was seen while an arm trained, before the first step and after each.

    Attributes:
        below: what the last hidden layer sees, (WATCHED, WIDTH) a step, all in training mode.
        before_tanh: what the tanh of that layer sees, (WATCHED, WIDTH) a step.
        losses: over the examples watched.
        cosines: of each step, of the two gradients of the last hidden layer.
        distances: of each step, the distance of the two, relative to the first.
        parameters: of each layer in the end: weights, bias (beta with bn) and, with bn, gamma.
    """

    below: list[Tensor] = field(default_factory=list)
    before_tanh: list[Tensor] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    parameters: list[list[Tensor]] = field(default_factory=list)


def draw(seed: int) -> Task:
    """Draw everything from one seed; the classes are the halves of a random function of x."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [FEATURES, *[WIDTH] * HIDDEN, 1]
    weights = [standard_normal(generator, low, high) / math.sqrt(low) for low, high in pairwise(sizes)]
    x = standard_normal(generator, EXAMPLES, FEATURES)
    value = torch.tanh(x @ standard_normal(generator, FEATURES, WIDTH) * 2 / math.sqrt(FEATURES)) @ standard_normal(
        generator, WIDTH
    )
    target = torch.where(value > value.median(), 1.0, -1.0).double()
    batches = torch.randint(EXAMPLES, (STEPS, BATCH_SIZE), generator=generator)
    noise = NOISE * symmetric_uniform(generator, STEPS + 1, HIDDEN, 2, WIDTH)
    return Task(x, target, weights, batches, noise)


def fresh(task: Task, arm: Arm) -> list[list[Tensor]]:
    """Return the parameters of each layer at the start: weights, bias 0 and, before a norm, gamma 1.

    With bn the bias stands after the norm, as its beta.
    """
    parameters = []
    for number, weight in enumerate(task.weights):
        layer = [weight.clone(), weight.new_zeros(weight.shape[1])]
        if arm.norm and number < HIDDEN:
            layer.append(weight.new_ones(weight.shape[1]))
        parameters.append([one.requires_grad_() for one in layer])
    return parameters


def passed(
    parameters: Sequence[Sequence[Tensor]], x: Tensor, arm: Arm, noise: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the network's output, and of each hidden layer what it sees and what its tanh sees.

    Args:
        parameters: of each layer.
        x: (B, FEATURES).
        arm: how it normalizes, by the statistics of these B examples.
        noise: (HIDDEN, 2, WIDTH), of this step.
    """
    h, seen = x, []
    for (weight, shift, *gamma), (scale, offset) in zip(parameters[:HIDDEN], noise, strict=True):
        z = h @ weight
        z = arm.norm(z, gamma[0], shift) if arm.norm else z + shift
        if arm.noisy:
            z = z * (1 + scale) + offset
        seen.append((h, z))
        h = torch.tanh(z)
    weight, shift = parameters[HIDDEN]
    return (h @ weight + shift)[:, 0], seen


def train(task: Task, arm: Arm) -> Trained:
    """Train by plain gradient descent, and watch the last hidden layer."""
    parameters, trained = fresh(task, arm), Trained()
    everything = [one for layer in parameters for one in layer]
    _watch(trained, task, arm, parameters, 0)
    for step in range(STEPS):
        gradients = _gradients_of(everything, parameters, task, arm, step)
        moved = [one.detach() - LEARNING_RATE * by for one, by in zip(everything, gradients, strict=True)]
        below = sum(len(layer) for layer in parameters[:LAST])
        layer = slice(below, below + len(parameters[LAST]))
        _put(everything[:below], moved[:below])
        after = _gradients_of(parameters[LAST], parameters, task, arm, step)
        trained.cosines.append(cosine(gradients[layer], after))
        trained.distances.append(relative_distance(gradients[layer], after))
        _put(everything, moved)
        _watch(trained, task, arm, parameters, step + 1)
    trained.parameters = [[one.detach() for one in layer] for layer in parameters]
    return trained


def _loss(
    parameters: Sequence[Sequence[Tensor]], task: Task, arm: Arm, examples: Tensor | slice, noise: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    output, seen = passed(parameters, task.x[examples], arm, noise)
    return functional.softplus(-task.target[examples] * output).mean(), seen


def _gradients_of(
    wanted: Sequence[Tensor], parameters: Sequence[Sequence[Tensor]], task: Task, arm: Arm, step: int
) -> tuple[Tensor, ...]:
    loss, _ = _loss(parameters, task, arm, task.batches[step], task.noise[step])
    return torch.autograd.grad(loss, wanted)


@torch.no_grad()
def _put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


@torch.no_grad()
def _watch(trained: Trained, task: Task, arm: Arm, parameters: Sequence[Sequence[Tensor]], step: int) -> None:
    loss, seen = _loss(parameters, task, arm, slice(WATCHED), task.noise[step])
    trained.losses.append(loss.item())
    trained.below.append(seen[LAST][0])
    trained.before_tanh.append(seen[LAST][1])


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
    one, other = _flat(first), _flat(second)
    return float(one @ other / (one.norm() * other.norm()))


def relative_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the distance of two lists of tensors over the norm of the first."""
    return float((_flat(first) - _flat(second)).norm() / _flat(first).norm())


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.flatten() for one in tensors])
