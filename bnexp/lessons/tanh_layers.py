"""Tanh layers drawn at five scales of weights, passed forward and backward: what the lesson `saturation` is made of."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.lessons.tensors import initial_parameters, standard_normal, symmetric_uniform
from bnexp.norms.reference import batch_norm_train

EXAMPLES, WIDTH, DEPTH, SMALL_BATCH = 512, 100, 10, 32
GAIN = 5 / 3
"""Of tanh, as `torch.nn.init.calculate_gain` has it."""
SATURATED = 0.99
SMALL_STD = 0.01
LARGE, SMALL, TORCH, KAIMING, BN = "std 1", f"std {SMALL_STD}", "PyTorch's", "Kaiming's", "std 1, then bn"


@dataclass(frozen=True)
class Drawn:
    """Everything that is drawn.

    Attributes:
        x: (EXAMPLES, WIDTH), standard normal.
        arriving: (EXAMPLES, WIDTH), standard normal: the gradient of the loss by the last output.
        normal: (DEPTH, WIDTH, WIDTH), standard normal: weights of each layer.
        uniform: (DEPTH, WIDTH, WIDTH), between -1 and 1: others.
        bias: (WIDTH,), standard normal.
    """

    x: Tensor
    arriving: Tensor
    normal: Tensor
    uniform: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Scheme:
    """A way to begin.

    Attributes:
        std: of the weights, as intended.
        weights: (DEPTH, WIDTH, WIDTH), a matrix per layer.
        gamma: of the batch normalization before the tanh, where there is one.
    """

    std: float
    weights: Tensor
    gamma: float | None = None


@dataclass(frozen=True)
class Passed:
    """What a forward and a backward pass left.

    Attributes:
        z: what each tanh sees, (EXAMPLES, WIDTH) per layer.
        h: the outputs, the first of which is x: one more.
        gradients: of the loss by each of `h`.
    """

    z: list[Tensor]
    h: list[Tensor]
    gradients: list[Tensor]

    @property
    def saturated(self) -> float:
        """The share of the last outputs that are."""
        return (self.h[-1].abs() > SATURATED).double().mean().item()

    @property
    def growth(self) -> float:
        """By how much the gradient by an output is multiplied per layer, on its way from the last to the first."""
        ratio: float = (self.gradients[1].norm() / self.gradients[-1].norm()).item()
        return math.pow(ratio, 1 / (len(self.z) - 1))


def draw(seed: int) -> Drawn:
    """Draw everything from one seed."""
    generator = torch.Generator().manual_seed(seed)
    x, arriving = (standard_normal(generator, EXAMPLES, WIDTH) for _ in range(2))
    weights = standard_normal(generator, DEPTH, WIDTH, WIDTH)
    uniform = symmetric_uniform(generator, DEPTH, WIDTH, WIDTH)
    return Drawn(x, arriving, weights, uniform, standard_normal(generator, WIDTH))


def schemes_of(drawn: Drawn) -> dict[str, Scheme]:
    """Return the five ways to begin; all but PyTorch's have the same draw, scaled."""
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

    The loss is the sum of output times arriving gradient, so that its gradient by the output is just that.
    """
    h, z = [drawn.x.clone().requires_grad_()], []
    for weight in scheme.weights[:depth]:
        z.append(h[-1] @ weight if scheme.gamma is None else normalized(h[-1] @ weight, scheme.gamma))
        h.append(torch.tanh(z[-1]))
        h[-1].retain_grad()
    (h[-1] * drawn.arriving).sum().backward()
    gradients = [one.grad for one in h if one.grad is not None]
    return Passed([one.detach() for one in z], [one.detach() for one in h], gradients)


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
