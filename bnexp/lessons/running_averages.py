"""What `training-vs-inference` says of running averages: how they come about, and how long they remember."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.document.lesson import Heading, Lines, Part, Table, Text
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.tensors import initial_parameters, standard_normal
from bnexp.norms.reference import Normalized, batch_norm_inference, batch_norm_running, batch_norm_train

TRUE_MEAN, TRUE_STD = 5.0, 2.0
BATCH_SIZE, BATCHES = 32, 100


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values of the feature, whose mean and standard deviation are known."""
    return TRUE_MEAN + TRUE_STD * standard_normal(generator, *shape)


def in_training(x: Tensor) -> Normalized:
    """Return the normalization of x (B, F) in training, with gamma 1 and beta 0."""
    return batch_norm_train(x, *initial_parameters(x.shape[1]))


def at_inference(x: Tensor, statistics: tuple[Tensor, Tensor]) -> Tensor:
    """Return the normalization of x at inference, by running mean and variance, with gamma 1 and beta 0."""
    return batch_norm_inference(x, *initial_parameters(1), *statistics)


def running_statistics(batches: Tensor, momentum: float) -> list[tuple[Tensor, Tensor]]:
    """Return running mean and variance, (F,) each, after 0, 1, 2, ... of the batches (K, B, F)."""
    one, zero = initial_parameters(batches.shape[2])
    statistics = [(zero, one)]
    for batch in batches:
        statistics.append(batch_norm_running(*statistics[-1], in_training(batch), len(batch), momentum))
    return statistics


def statistics_of_batches(batches: Tensor) -> list[Part]:
    """Show how mean and variance differ from batch to batch, of batches (K, B, 1)."""
    means, variances = batches.mean(dim=1).flatten(), batches.var(dim=1, unbiased=False).flatten()  # (K,) each
    rows: list[tuple[str, Sequence[Cell]]] = [
        (f"batch {number + 1}", [means[number].item(), variances[number].item()]) for number in range(5)
    ]
    expected = TRUE_STD / BATCH_SIZE**0.5
    return [
        Heading("1. In training: every batch has its own mean and variance"),
        Text(
            f"A feature is drawn with mean {TRUE_MEAN:g} and standard deviation {TRUE_STD:g}, in {BATCHES} batches of "
            f"B = {BATCH_SIZE} examples. The first five:"
        ),
        Table(
            "batch_statistics",
            "what batches are normalized by",
            ("mean", "variance"),
            [*rows, ("true", [TRUE_MEAN, TRUE_STD**2])],
            ("mean = 1/B sum_b x[b]", "var = 1/B sum_b (x[b] - mean)^2"),
        ),
        Text(
            f"The means of all {BATCHES} batches have a standard deviation of {decimal(means.std().item())}; sigma / "
            f"sqrt(B) = {decimal(expected)} is expected. It is the statistics of its batch that an example is "
            "normalized by in training, not the true ones.",
            {"std_of_batch_means": means.std().item(), "std_of_batch_means_expected": expected},
        ),
    ]


def averages(batches: Tensor, running: Sequence[tuple[Tensor, Tensor]], momentum: float) -> list[Part]:
    """Show the running averages after 0, 1, 2, ... of the batches (K, B, 1), and what is left of their start."""
    means = [math.nan, *batches.mean(dim=1).flatten().tolist()]  # before the first batch there is none
    rows: list[tuple[str, Sequence[Cell]]] = [
        (f"{count}", [running[count][0].item(), running[count][1].item(), (1 - momentum) ** count])
        for count in (0, 1, 2, 5, 10, 20, 50, 100)
    ]
    left = (1 - momentum) ** BATCHES
    return [
        Heading("2. For inference: running averages"),
        Text(
            "At inference an example may come alone, and its answer must not depend on others. So training keeps an "
            f"average of the mean and one of the variance. It begins with 0 and 1, which know nothing of the data. "
            f"With momentum {momentum:g}:",
            {"momentum": momentum},
        ),
        Table(
            "running_statistics",
            "running averages",
            ("running mean", "running variance", "share of the start"),
            [*rows, ("true", [TRUE_MEAN, TRUE_STD**2, None])],
            ("running <- (1 - momentum) running", "  + momentum new", "share of the start = (1 - momentum)^k"),
            corner="k batches",
        ),
        Lines(
            "running_mean",
            "mean of each batch, and running mean",
            "batches",
            list(range(len(running))),
            {
                "of the batch": means,
                "true": [TRUE_MEAN] * len(running),
                "running": [mean.item() for mean, _ in running],
            },
        ),
        Text(
            f"After k batches the start still weighs (1 - momentum)^k; after {BATCHES} that is {decimal(left)}. What "
            "remains besides is the scatter of the last batches, averaged.",
            {"share_of_the_start": left},
        ),
    ]


def memory(momentum: float) -> list[Part]:
    """Compare the memories of several momenta, this one among them."""
    rows = [(f"{one:g}", list(_memory_of(one))) for one in sorted({0.001, 0.01, 0.1, 0.5, momentum})]
    parts: list[Part] = [
        Heading("3. The memory of a momentum"),
        Table(
            "memory",
            "how long an average remembers",
            ("N = 1/momentum", "weight of the last N", "half-life", "scatter"),
            rows,
            (
                "weight of the last N batches = 1 - (1 - momentum)^N, about 1 - 1/e",
                "half-life = ln 2 / -ln(1 - momentum), in batches",
                "scatter = sqrt(momentum / (2 - momentum)), in scatters of a batch mean",
            ),
            corner="momentum",
        ),
        Text(
            f"A small momentum averages over many batches and scatters little, but forgets its start slowly. 1 - 1/e "
            f"is {decimal(1 - 1 / math.e)}. The momentum is the weight of the new batch, as in PyTorch. Keras gives "
            f"that name to the weight of the old average: {momentum:g} here is {1 - momentum:g} there.",
            {"one_less_one_over_e": 1 - 1 / math.e, "keras_momentum": 1 - momentum},
        ),
    ]
    if momentum > 0.5:
        meant = f" If {momentum:g} is meant as in Keras, it is {1 - momentum:g} here." if momentum < 1 else ""
        parts.append(
            Text(
                f"A momentum of {momentum:g} is above 0.5: the newest batch outweighs all before it together, and the "
                f"average is hardly one.{meant}"
            )
        )
    return parts


def _memory_of(momentum: float) -> tuple[Cell, ...]:
    """Return how many batches 1/momentum are, the weight of the last so many, half-life and scatter."""
    kept = math.log1p(-momentum) if momentum < 1 else -math.inf  # logarithm of what a batch leaves of the old average
    last = 1 / momentum
    whole = round(last) if last < 1e6 else 0
    count = whole if math.isclose(whole, last) else last  # 10, not 10.0000
    return count, -math.expm1(last * kept), math.log(2) / -kept, (momentum / (2 - momentum)) ** 0.5
