"""A small network on real digits, and layers written by hand to stand in it, for the lesson `hand-written`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp.data.generated import load_mnist5k
from bnexp.data.preprocess import fit_standardize
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.measure.undisturbed import undisturbed
from bnexp.norms.reference import (
    batch_norm_inference,
    batch_norm_running,
    batch_norm_running_std,
    batch_norm_train,
    batch_norm_unbiased,
)

WIDTH, BATCH_SIZE, STEPS, LEARNING_RATE = 100, 32, 120, 0.1
MOMENTUM = 0.001
CLASSES, HELD_OUT = 10, 1000


class Digits(NamedTuple):
    """Hold real digits as inputs, (N, 784) in float64, and their labels."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor


class Trained(NamedTuple):
    """Hold a network after its training, and what was measured on the way."""

    network: nn.Sequential
    losses: Sequence[float]  # of each step, on its batch
    first_output: Tensor  # (B, F), of the norm, for the first batch


class _WithAverages(nn.Module):
    """Hold weight (gamma) and bias (beta), and two running averages, (width,) each: of the mean, and of the spread."""

    running_mean: Tensor

    def __init__(self, width: int, running_spread: str) -> None:
        super().__init__()
        gamma, beta = initial_parameters(width)
        self.weight, self.bias = nn.Parameter(gamma), nn.Parameter(beta)
        self.register_buffer("running_mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer(running_spread, torch.ones(width, dtype=torch.float64))

    @torch.no_grad()
    def _set_averages(self, *averages: Tensor) -> None:
        for buffer, average in zip(self.buffers(), averages, strict=True):
            buffer.copy_(average)


class HandWritten(_WithAverages):
    """Batch normalization by the unbiased standard deviation and without eps; it keeps a running std."""

    running_std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, "running_std")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F) from (B, F); training updates the running averages."""
        if not self.training:
            return batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_std**2, eps=0.0)
        batch = batch_norm_unbiased(x, self.weight, self.bias)
        self._set_averages(*batch_norm_running_std(self.running_mean, self.running_std, batch, MOMENTUM))
        return batch.y


class Mended(_WithAverages):
    """The same as torch does it: by the biased variance and eps; it keeps the running unbiased variance."""

    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, "running_var")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F) from (B, F); training updates the running averages."""
        if not self.training:
            return batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_var)
        batch = batch_norm_train(x, self.weight, self.bias)
        self._set_averages(*batch_norm_running(self.running_mean, self.running_var, batch, len(x), MOMENTUM))
        return batch.y


def load_digits() -> Digits:
    """Return mnist5k's training part, standardized, its last HELD_OUT images held out to score on.

    Raises:
        BnexpError: the digits, which come with a package, are not there.
    """
    part = load_mnist5k().train
    standardize = fit_standardize(part.images[:-HELD_OUT], 0.0)
    inputs = standardize(part.images).flatten(1).double()
    return Digits(inputs[:-HELD_OUT], part.labels[:-HELD_OUT], inputs[-HELD_OUT:], part.labels[-HELD_OUT:])


def make_network(norm: nn.Module, seed: int) -> nn.Sequential:
    """Return linear -> norm -> tanh -> linear, with the same weights for the same seed; no bias before the norm.

    The weights are normal with the standard deviation 5/3 / sqrt(fan_in), Kaiming's for tanh; those of the head are a
    hundredth, so that the first guess is an even one.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # a linear layer draws weights, which are replaced
        hidden = nn.Linear(784, WIDTH, bias=False, dtype=torch.float64)
        head = nn.Linear(WIDTH, CLASSES, dtype=torch.float64)
    with torch.no_grad():
        hidden.weight.copy_(standard_normal(generator, WIDTH, 784) * (5 / 3) / 784**0.5)
        head.weight.copy_(standard_normal(generator, CLASSES, WIDTH) * 0.01)
        head.bias.zero_()
    return nn.Sequential(hidden, norm, nn.Tanh(), head)


def train(network: nn.Sequential, digits: Digits, seed: int) -> Trained:
    """Take STEPS steps of plain gradient descent."""
    generator = torch.Generator().manual_seed(seed)
    parameters = list(network.parameters())
    losses, first_output = [], torch.empty(0)
    for step in range(STEPS):
        drawn = torch.randint(len(digits.train), (BATCH_SIZE,), generator=generator)
        normalized = network[:2](digits.train[drawn])  # (B, WIDTH)
        loss = cross_entropy(network[2:](normalized), digits.train_labels[drawn])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(LEARNING_RATE * gradient)
        losses.append(loss.item())
        if step == 0:
            first_output = normalized.detach()
    return Trained(network, losses, first_output)


def recalibrated(network: nn.Sequential, digits: Digits) -> nn.Sequential:
    """Return the network with the mean and the variance of all training examples in place of its running averages."""
    with torch.no_grad():
        hidden = network[0](digits.train)  # (N, WIDTH)
    norm = nn.BatchNorm1d(WIDTH, dtype=torch.float64)
    norm.load_state_dict({**network[1].state_dict(), "running_mean": hidden.mean(0), "running_var": hidden.var(0)})
    return nn.Sequential(network[0], norm, network[2], network[3])


def score(network: nn.Sequential, digits: Digits, *, training: bool) -> tuple[float, float]:
    """Return loss and accuracy on the digits held out; the network's running averages stay as they were."""
    with undisturbed(network), torch.no_grad():
        network.train(training)
        logits = torch.cat([network(inputs) for inputs in digits.held_out.split(BATCH_SIZE)])
    accuracy = (logits.argmax(dim=1) == digits.held_out_labels).double().mean().item()
    return cross_entropy(logits, digits.held_out_labels).item(), accuracy
