"""The lesson `hand-written`: batch normalization in a few lines of one's own, trained beside torch's."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp.data.generated import load_mnist5k
from bnexp.data.preprocess import fit_standardize
from bnexp.document.figure import Lines
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson
from bnexp.document.writing import Value
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.norms import reference

WIDTH, BATCH_SIZE, STEPS, LEARNING_RATE = 100, 32, 120, 0.1
CLASSES, HELD_OUT = 10, 1000
MOMENTUM, TORCH_MOMENTUM = 0.001, 0.1
HAND, TORCH, MENDED = "by hand", "torch's own", "by hand, mended"


class Digits(NamedTuple):
    """Real digits as inputs, (N, 784) in float64, and their labels."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor


class Trained(NamedTuple):
    """A network after training, its loss of each step, and the output of its norm for the first batch, (B, F)."""

    network: nn.Sequential
    losses: Sequence[float]
    first_output: Tensor


def lesson(request: Request) -> Lesson:
    """Return the lesson; three networks are trained from the same weights on the same batches."""
    digits = load_digits()
    norms: dict[str, nn.Module] = {
        HAND: HandWritten(WIDTH),
        TORCH: nn.BatchNorm1d(WIDTH, momentum=MOMENTUM, dtype=torch.float64),
        MENDED: HandWritten(WIDTH, mended=True),
    }
    arms = {name: train(make_network(norm, request.seed), digits, request.seed) for name, norm in norms.items()}
    by_hand, by_torch = (arms[name].network[1].state_dict() for name in (HAND, TORCH))
    scores = _scores(arms[HAND].network, arms[TORCH].network, digits)
    title = f"{HELD_OUT:,} digits held out, by the statistics that are used"
    inference = number_table("inference", title, ("loss", "accuracy"), list(scores.items()), corner="statistics")
    return compose(
        __name__,
        [_ways(), *_losses(arms), inference],
        width=WIDTH,
        batch_size=BATCH_SIZE,
        momentum=MOMENTUM,
        ratio_of_outputs=(arms[HAND].first_output.norm() / arms[TORCH].first_output.norm()).item(),
        expected_ratio=((BATCH_SIZE - 1) / BATCH_SIZE) ** 0.5,
        steps=STEPS,
        loss_apart_by_hand=_loss_apart(arms[HAND], arms[TORCH]),
        loss_apart_mended=_loss_apart(arms[MENDED], arms[TORCH]),
        remembered=f"{1 / MOMENTUM:,.0f}",
        share_of_the_start=(1 - MOMENTUM) ** STEPS,
        share_of_the_start_by_default=(1 - TORCH_MOMENTUM) ** STEPS,
        default_momentum=TORCH_MOMENTUM,
        running_std_by_hand=by_hand["running_std"].mean().item(),
        root_of_running_var=by_torch["running_var"].sqrt().mean().item(),
        loss_as_kept=scores["torch's own, as kept"][0],
        least_loss=min(loss for loss, _ in scores.values()),
    )


def _ways() -> Table:
    rows: list[tuple[str, Sequence[Value]]] = [
        ("divides by", ["std, unbiased: B - 1", "sqrt(var + eps), biased: B", "as torch"]),
        ("eps", ["none", "1e-5", "1e-5"]),
        ("keeps", ["the mean of stds", "the mean of unbiased variances", "as torch"]),
        ("momentum", [f"{MOMENTUM:g}"] * 3),
        ("bias before it", ["none"] * 3),
    ]
    return number_table("ways", "three ways to write it", (HAND, TORCH, MENDED), rows)


def _losses(arms: Mapping[str, Trained]) -> tuple[Table, Lines]:
    rows = [(str(step), [arm.losses[step - 1] for arm in arms.values()]) for step in (1, 10, 30, 60, STEPS)]
    window = 10
    ends = list(range(window, STEPS + 1, window))
    smooth = {name: [sum(arms[name].losses[end - window : end]) / window for end in ends] for name in (HAND, TORCH)}
    return (
        number_table("losses", "loss of the batch at a step", tuple(arms), rows, corner="step"),
        Lines("loss_curves", f"loss, mean of {window} steps", "step", ends, smooth),
    )


def _loss_apart(arm: Trained, other: Trained) -> float:
    return max(abs(loss - of_other) for loss, of_other in zip(arm.losses, other.losses, strict=True))


def _scores(by_hand: nn.Sequential, torchs: nn.Sequential, digits: Digits) -> dict[str, tuple[float, float]]:
    anew = recalibrated(torchs, digits)
    return {
        "by hand, as kept": score(by_hand, digits, training=False),
        "torch's own, as kept": score(torchs, digits, training=False),
        "torch's own, taken anew over all training examples": score(anew, digits, training=False),
        f"torch's own, of each batch of {BATCH_SIZE} (training mode)": score(torchs, digits, training=True),
    }


class HandWritten(nn.Module):
    """Batch normalization by the unbiased standard deviation and without eps; its average is of that deviation too.

    Mended, it is as torch does it: by the biased variance and eps, with an average of the unbiased variance.
    """

    def __init__(self, width: int, *, mended: bool = False) -> None:
        super().__init__()
        self.mended = mended
        self.weight, self.bias = map(nn.Parameter, initial_parameters(width))
        ones, zeros = initial_parameters(width)
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var" if mended else "running_std", ones)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, F) from (B, F); in training the running averages are updated."""
        mean, spread = self.buffers()
        if not self.training:
            var, eps = (spread, 1e-5) if self.mended else (spread**2, 0.0)
            return reference.batch_norm_inference(x, self.weight, self.bias, mean, var, eps)
        if self.mended:
            batch = reference.batch_norm_train(x, self.weight, self.bias)
            averages = reference.batch_norm_running(mean, spread, batch, len(x), MOMENTUM)
        else:
            batch = reference.batch_norm_unbiased(x, self.weight, self.bias)
            averages = reference.batch_norm_running_std(mean, spread, batch, MOMENTUM)
        with torch.no_grad():
            mean.copy_(averages[0])
            spread.copy_(averages[1])
        return batch.y


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
        hidden.weight.copy_(standard_normal(generator, WIDTH, 784) * (5 / 3) / 784**0.5)
        head.weight.copy_(standard_normal(generator, CLASSES, WIDTH) * 0.01)
        head.bias.zero_()
    return nn.Sequential(hidden, norm, nn.Tanh(), head)


def train(network: nn.Sequential, digits: Digits, seed: int) -> Trained:
    """Take STEPS steps of plain gradient descent."""
    generator = torch.Generator().manual_seed(seed)
    parameters = list(network.parameters())
    losses: list[float] = []
    first_output = torch.empty(0)
    for _ in range(STEPS):
        drawn = torch.randint(len(digits.train), (BATCH_SIZE,), generator=generator)
        normalized = network[:2](digits.train[drawn])  # (B, WIDTH)
        loss = cross_entropy(network[2:](normalized), digits.train_labels[drawn])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(LEARNING_RATE * gradient)
        first_output = first_output if losses else normalized.detach()
        losses.append(loss.item())
    return Trained(network, losses, first_output)


def recalibrated(network: nn.Sequential, digits: Digits) -> nn.Sequential:
    """Return the network with the mean and the variance of all training examples in place of its running averages."""
    with torch.no_grad():
        hidden = network[0](digits.train)  # (N, WIDTH)
    norm = nn.BatchNorm1d(WIDTH, dtype=torch.float64)
    averages = {"running_mean": hidden.mean(dim=0), "running_var": hidden.var(dim=0)}
    norm.load_state_dict(network[1].state_dict() | averages)
    return nn.Sequential(network[0], norm, network[2], network[3])


def score(network: nn.Sequential, digits: Digits, *, training: bool) -> tuple[float, float]:
    """Return loss and accuracy on the digits held out; the state of the network stays as it is."""
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train(training)
    with torch.no_grad():
        logits = torch.cat([network(inputs) for inputs in digits.held_out.split(BATCH_SIZE)])
    network.load_state_dict(before)
    right = (logits.argmax(dim=1) == digits.held_out_labels).double().mean().item()
    return cross_entropy(logits, digits.held_out_labels).item(), right
