"""Blocks of a layer, relu and batch normalization in each order: what the lesson `placement` is made of."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.lessons.tensors import initial_parameters, standard_normal, symmetric_uniform
from bnexp.norms.reference import Normalized, batch_norm_train, batch_norm_train_backward

EXAMPLES, WIDTH, BLOCKS = 512, 64, 8
BIAS = 2
"""Beyond it some units would never be active in so many examples."""
NONE, BEFORE, AFTER, FIRST = "linear -> relu", "linear -> bn -> relu", "linear -> relu -> bn", "bn -> relu -> linear"


@dataclass(frozen=True)
class Drawn:
    """Everything that is drawn.

    Attributes:
        x: (EXAMPLES, WIDTH), standard normal.
        weights: (BLOCKS, WIDTH, WIDTH), normal with variance 1 / fan_in, so that the variance of x W is about 1.
        bias: (WIDTH,), uniform between -BIAS and BIAS.
        arriving: (EXAMPLES, WIDTH), standard normal: the gradient of the loss by the output of a block.
    """

    x: Tensor
    weights: Tensor
    bias: Tensor
    arriving: Tensor


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


def after(block: str, z: Tensor) -> Tensor:
    """Return what a block makes of z = x W + b (B, F): the output that the next layer sees."""
    if block == BEFORE:
        return torch.relu(normalize(z).y)
    return normalize(torch.relu(z)).y if block == AFTER else torch.relu(z)


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
    """Return what runs along the shortcuts, x and the sum after each block, s <- s + block(s)."""
    sums = [drawn.x]
    for weight in drawn.weights:
        last = sums[-1]
        added = torch.relu(normalize(last).y) @ weight if block == FIRST else after(block, last @ weight)
        sums.append(last + added)
    return sums
