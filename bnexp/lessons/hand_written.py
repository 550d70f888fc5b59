"""The lesson `hand-written`: batch normalization in a few lines of one's own, trained beside torch's.

A network of one hidden layer, tanh, 100 wide, in batches of 32, its running averages kept by hand with the momentum
0.001, and the standard deviation kept in place of the variance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp.data.mnist5k import load_mnist5k
from bnexp.data.preprocess.affine import fit_standardize
from bnexp.lessons.lesson import Cell, Experiment, Heading, Lesson, Lines, Part, Table, Text
from bnexp.lessons.request import Request
from bnexp.lessons.views.numerals import decimal
from bnexp.norms.reference import (
    batch_norm_inference,
    batch_norm_running,
    batch_norm_running_std,
    batch_norm_train,
    batch_norm_unbiased,
)

WIDTH, BATCH_SIZE, STEPS, LEARNING_RATE = 100, 32, 120, 0.1
MOMENTUM = 0.001
TORCH_MOMENTUM = 0.1
CLASSES = 10
HELD_OUT = 1000
HAND, TORCH, MENDED = "by hand", "torch's own", "by hand, mended"


@dataclass(frozen=True)
class Trained:
    """A network, the layer that normalizes in it, and the loss of each step."""

    network: nn.Sequential
    losses: Sequence[float]
    first_output: Tensor
    """of the norm, for the first batch: (B, F)"""


def lesson(request: Request) -> Lesson:
    """Return the lesson; three networks are trained from the same weights on the same batches.

    Raises:
        BnexpError: the digits, which come with a package, are not there.
    """
    digits = load_digits()
    norms: dict[str, nn.Module] = {
        HAND: HandWritten(WIDTH),
        TORCH: nn.BatchNorm1d(WIDTH, momentum=MOMENTUM, dtype=torch.float64),
        MENDED: Mended(WIDTH),
    }
    arms = {name: train(make_network(norm, request.seed), digits, request.seed) for name, norm in norms.items()}
    return Lesson(
        "hand-written",
        "it trains like torch's own, and differs where one does not look: at the root, and at inference",
        [*_written(), *_first_batch(arms), *_training(arms), *_kept(arms), *_inference(arms, digits)],
        Experiment(
            (
                "bnexp train configs/demo.yaml --set 'model.norm=bn(momentum=0.001)' --set training.epochs=2 --name "
                "slow",
                "bnexp train configs/demo.yaml --set 'model.norm=bn(momentum=0.1)' --set training.epochs=2 --name "
                "usual",
                "bnexp compare slow usual",
            ),
            "The training loss is the same to the last digit, for running averages have no part in training. The "
            "validation accuracy is not: after 226 steps the slow averages still hold four fifths of their start.",
        ),
    )


class HandWritten(nn.Module):
    """Batch normalization by the unbiased standard deviation and without eps, which is also what it keeps."""

    running_mean: Tensor
    running_std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(width, dtype=torch.float64))
        self.register_buffer("running_mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("running_std", torch.ones(width, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F) from (B, F); in training the running averages move on."""
        if not self.training:
            return batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_std**2, eps=0.0)
        batch = batch_norm_unbiased(x, self.weight, self.bias)
        with torch.no_grad():
            self.running_mean, self.running_std = batch_norm_running_std(
                self.running_mean, self.running_std, batch, MOMENTUM
            )
        return batch.y


class Mended(nn.Module):
    """The same with what torch does: the biased variance and eps, and the unbiased variance kept."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(width, dtype=torch.float64))
        self.register_buffer("running_mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("running_var", torch.ones(width, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F) from (B, F); in training the running averages move on."""
        if not self.training:
            return batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_var)
        batch = batch_norm_train(x, self.weight, self.bias)
        with torch.no_grad():
            self.running_mean, self.running_var = batch_norm_running(
                self.running_mean, self.running_var, batch, len(x), MOMENTUM
            )
        return batch.y


@dataclass(frozen=True)
class Digits:
    """Real digits as inputs, (N, 784) in float64, and their labels."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor


def load_digits() -> Digits:
    """Return mnist5k's training part, standardized, the last HELD_OUT images of it held out to score on.

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
        hidden.weight.copy_(torch.randn(WIDTH, 784, dtype=torch.float64, generator=generator) * (5 / 3) / 784**0.5)
        head.weight.copy_(torch.randn(CLASSES, WIDTH, dtype=torch.float64, generator=generator) * 0.01)
        head.bias.zero_()
    return nn.Sequential(hidden, norm, nn.Tanh(), head)


def train(network: nn.Sequential, digits: Digits, seed: int) -> Trained:
    """Take STEPS steps of plain gradient descent."""
    generator = torch.Generator().manual_seed(seed)
    parameters = list(network.parameters())
    losses, outputs = [], []
    for _ in range(STEPS):
        drawn = torch.randint(len(digits.train), (BATCH_SIZE,), generator=generator)
        normalized = network[:2](digits.train[drawn])  # (B, WIDTH)
        loss = cross_entropy(network[2:](normalized), digits.train_labels[drawn])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(LEARNING_RATE * gradient)
        losses.append(loss.item())
        outputs.append(normalized.detach())
    return Trained(network, losses, outputs[0])


def _written() -> list[Part]:
    rows: list[tuple[str, list[Cell]]] = [
        ("divides by", ["std, unbiased: B - 1", "sqrt(var + eps), biased: B", "as torch"]),
        ("eps", ["none", "1e-5", "1e-5"]),
        ("keeps", ["the mean of stds", "the mean of unbiased variances", "as torch"]),
        ("momentum", [f"{MOMENTUM:g}"] * 3),
        ("bias before it", ["none"] * 3),
    ]
    return [
        Text(
            f"linear -> bn -> tanh -> linear, {WIDTH} wide, in batches of {BATCH_SIZE}, on real digits (mnist5k), "
            "three times from the same weights on the same batches. `by hand` is how batch normalization is often "
            "written for a first network: a mean, a std, two running averages. `by hand, mended` is the same with "
            "what torch does.",
            {"width": WIDTH, "batch_size": BATCH_SIZE, "momentum": MOMENTUM},
        ),
        Table("ways", "three ways to write it", (HAND, TORCH, MENDED), rows),
    ]


def _first_batch(arms: Mapping[str, Trained]) -> list[Part]:
    by_hand, torchs = arms[HAND].first_output, arms[TORCH].first_output
    ratio = (by_hand.norm() / torchs.norm()).item()
    expected = ((BATCH_SIZE - 1) / BATCH_SIZE) ** 0.5
    return [
        Heading("1. The first batch"),
        Text(
            f"Divided by the larger, unbiased deviation, the output by hand is {decimal(ratio, 6)} of torch's: "
            f"sqrt((B - 1) / B) = {decimal(expected, 6)}, but for eps. The learned gain makes up for that.",
            {"ratio_of_outputs": ratio, "expected_ratio": expected},
        ),
    ]


def _training(arms: Mapping[str, Trained]) -> list[Part]:
    steps = (1, 10, 30, 60, STEPS)
    rows = [(str(step), [arm.losses[step - 1] for arm in arms.values()]) for step in steps]
    apart = {
        name: max(abs(a - b) for a, b in zip(arms[name].losses, arms[TORCH].losses, strict=True))
        for name in (HAND, MENDED)
    }
    window = 10
    smooth = {
        name: [sum(arm.losses[at - window : at]) / window for at in range(window, STEPS + 1, window)]
        for name, arm in arms.items()
        if name != MENDED
    }
    return [
        Heading("2. Training"),
        Table("losses", "loss of the batch at a step", tuple(arms), rows, corner="step"),
        Lines("loss_curves", f"loss, mean of {window} steps", "step", list(range(window, STEPS + 1, window)), smooth),
        Text(
            f"Over {STEPS} steps the loss by hand is never further than {decimal(apart[HAND])} from torch's: it "
            f"trains as well. Mended it is torch's own to {apart[MENDED]:.1e}: rounding. So much for training; what "
            "it kept on the way is another matter.",
            {"steps": STEPS, "loss_apart_by_hand": apart[HAND], "loss_apart_mended": apart[MENDED]},
        ),
    ]


def _kept(arms: Mapping[str, Trained]) -> list[Part]:
    """Compare what was kept, and that with what it should be."""
    share = (1 - MOMENTUM) ** STEPS
    usual = (1 - TORCH_MOMENTUM) ** STEPS
    by_hand, torchs = (arms[name].network[1].state_dict() for name in (HAND, TORCH))
    kept_std = by_hand["running_std"].mean().item()
    kept_root = torchs["running_var"].sqrt().mean().item()
    return [
        Heading("3. What was kept for inference"),
        Text(
            f"A momentum of {MOMENTUM:g} remembers a thousand batches. After {STEPS} steps, (1 - momentum)^{STEPS} = "
            f"{decimal(share)} of the running averages is still the 0 and 1 that they began with; with torch's "
            f"default {TORCH_MOMENTUM:g} it would be {usual:.1e}. And a mean of stds is less than the root of a mean "
            f"of variances: {decimal(kept_std)} against {decimal(kept_root)}, over the {WIDTH} units.",
            {
                "share_of_the_start": share,
                "share_of_the_start_by_default": usual,
                "default_momentum": TORCH_MOMENTUM,
                "running_std_by_hand": kept_std,
                "root_of_running_var": kept_root,
            },
        ),
    ]


def _inference(arms: Mapping[str, Trained], digits: Digits) -> list[Part]:
    hand, torchs = arms[HAND].network, arms[TORCH].network
    scores = {
        "by hand, as kept": score(hand, digits, training=False),
        "torch's own, as kept": score(torchs, digits, training=False),
        "torch's own, taken anew over all training examples": score(
            recalibrated(torchs, digits), digits, training=False
        ),
        f"torch's own, of each batch of {BATCH_SIZE} (training mode)": score(torchs, digits, training=True),
    }
    best = min(loss for loss, _ in scores.values())
    as_kept = scores["torch's own, as kept"][0]
    return [
        Heading("4. Inference"),
        Table(
            "inference",
            f"{HELD_OUT:,} digits held out, by the statistics that are used",
            ("loss", "accuracy"),
            [(name, list(values)) for name, values in scores.items()],
            corner="statistics",
        ),
        Text(
            "The weights are the same in the last three rows; the statistics alone change the loss from "
            f"{decimal(as_kept)} to {decimal(best)}. Statistics that are too young are an error of the evaluation, "
            "not of the network: train longer, raise the momentum, or take them anew over the training set.",
            {"loss_as_kept": as_kept, "least_loss": best},
        ),
    ]


def recalibrated(network: nn.Sequential, digits: Digits) -> nn.Sequential:
    """Return the network with the mean and the variance of all training examples in place of its running averages."""
    with torch.no_grad():
        hidden = network[0](digits.train)  # (N, WIDTH)
    norm = nn.BatchNorm1d(WIDTH, dtype=torch.float64)
    norm.load_state_dict(
        {**network[1].state_dict(), "running_mean": hidden.mean(dim=0), "running_var": hidden.var(dim=0)}
    )
    return nn.Sequential(network[0], norm, network[2], network[3])


def score(network: nn.Sequential, digits: Digits, *, training: bool) -> tuple[float, float]:
    """Return loss and accuracy on the digits held out; what the network keeps is as before."""
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    network.train(training)
    with torch.no_grad():
        logits = torch.cat([network(inputs) for inputs in digits.held_out.split(BATCH_SIZE)])
    network.load_state_dict(kept)
    right = (logits.argmax(dim=1) == digits.held_out_labels).double().mean().item()
    return cross_entropy(logits, digits.held_out_labels).item(), right
