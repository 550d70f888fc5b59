"""The lesson `training-vs-inference`: batch statistics, running averages, and what follows from their difference."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson, Text
from bnexp.document.writing import Value
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch, batch_norm, first_output, initial_parameters, normal, torch_results
from bnexp.norms.reference import batch_norm_inference, batch_norm_running, batch_norm_train_backward, layer_norm

TRUE_MEAN, TRUE_STD = 5.0, 2.0
BATCH_SIZE, BATCHES = 32, 100
_EXAMPLES = 128_000
"""Drawn for each size of batch."""

Statistics = tuple[Tensor, Tensor]
"""Mean and variance, (F,) each."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on batches of one feature, drawn from a Gaussian whose mean and variance are known."""
    generator, momentum = torch.Generator().manual_seed(request.seed), request.momentum
    batches = normal(generator, TRUE_MEAN, TRUE_STD, BATCHES, BATCH_SIZE, 1)
    running = running_statistics(batches, momentum)
    alone = torch.full((1, 1), TRUE_MEAN, dtype=torch.float64)
    of_true_mean = {count: _at_inference(alone, running[count]).item() for count in (3, BATCHES)}
    return compose(
        __name__,
        [
            _batch_statistics(batches),
            *averages(batches, running, momentum),
            memory(momentum),
            _one_example(batches, running[-1]),
            _pairs(),
            _unbiased(generator),
            _too_early(running),
        ],
        two_batches=str(2 * BATCH_SIZE),
        std_of_batch_means=batches.mean(dim=1).std().item(),
        std_of_batch_means_expected=TRUE_STD / BATCH_SIZE**0.5,
        momentum=momentum,
        keras_momentum=1 - momentum,
        share_of_the_start=(1 - momentum) ** BATCHES,
        one_less_one_over_e=1 - 1 / math.e,
        above_half=momentum > 0.5,
        meant_as_in_keras=0.5 < momentum < 1,
        refusal=_refusal(lambda: batch_norm(alone)),
        refusal_of_torch=_refusal(lambda: nn.BatchNorm1d(1, dtype=torch.float64)(alone)),
        sqrt_of_a_half=0.5**0.5,
        true_mean_after_3=of_true_mean[3],
        true_mean_in_the_end=of_true_mean[BATCHES],
        layer_norm_difference=_layer_norm_difference(normal(generator, TRUE_MEAN, TRUE_STD, 2 * BATCH_SIZE, 4)),
        against_torch=_against_torch(batches, running[-1], momentum),
    )


def _at_inference(x: Tensor, statistics: Statistics) -> Tensor:
    """Return the normalization of x at inference, by running mean and variance, with gamma 1 and beta 0."""
    return batch_norm_inference(x, *initial_parameters(1), *statistics)


def running_statistics(batches: Tensor, momentum: float) -> list[Statistics]:
    """Return running mean and variance after 0, 1, 2, ... of the batches (K, B, F)."""
    one, zero = initial_parameters(batches.shape[2])
    statistics = [(zero, one)]
    for batch in batches:
        statistics.append(batch_norm_running(*statistics[-1], batch_norm(batch), len(batch), momentum))
    return statistics


def _batch_statistics(batches: Tensor) -> Table:
    """Show the mean and variance of the first batches of batches (K, B, 1)."""
    first = torch.cat([batches.mean(dim=1), batches.var(dim=1, unbiased=False)], dim=1)[:5].tolist()
    rows = [*((f"batch {number}", cells) for number, cells in enumerate(first, 1)), ("true", (TRUE_MEAN, TRUE_STD**2))]
    formula = "mean = 1/B sum_b x[b]", "var = 1/B sum_b (x[b] - mean)^2"
    return number_table("batch_statistics", "what batches are normalized by", ("mean", "variance"), rows, formula)


def averages(batches: Tensor, running: Sequence[Statistics], momentum: float) -> tuple[Table, Lines]:
    """Show the running averages after 0, 1, 2, ... of the batches (K, B, 1), and what is left of their start."""
    rows: list[tuple[str, Sequence[Value]]] = [
        (f"{count}", [*(values.item() for values in running[count]), (1 - momentum) ** count])
        for count in (0, 1, 2, 5, 10, 20, 50, 100)
    ]
    rows.append(("true", [TRUE_MEAN, TRUE_STD**2, None]))
    columns = "running mean", "running variance", "share of the start"
    formula = "running <- (1 - momentum) running", "  + momentum new", "share of the start = (1 - momentum)^k"
    curves = {
        "of the batch": [math.nan, *batches.mean(dim=1).flatten().tolist()],  # before the first batch there is none
        "true": [TRUE_MEAN] * len(running),
        "running": [mean.item() for mean, _ in running],
    }
    title, counts = "mean of each batch, and running mean", list(range(len(running)))
    return (
        number_table("running_statistics", "running averages", columns, rows, formula, corner="k batches"),
        Lines("running_mean", title, "batches", counts, curves),
    )


def memory(momentum: float) -> Table:
    """Compare the memories of several momenta, this one among them."""
    rows = [(f"{one:g}", _memory_of(one)) for one in sorted({0.001, 0.01, 0.1, 0.5, momentum})]
    columns = "N = 1/momentum", "weight of the last N", "half-life", "scatter"
    formula = (
        "weight of the last N batches = 1 - (1 - momentum)^N, about 1 - 1/e",
        "half-life = ln 2 / -ln(1 - momentum), in batches",
        "scatter = sqrt(momentum / (2 - momentum)), in scatters of a batch mean",
    )
    return number_table("memory", "how long an average remembers", columns, rows, formula, corner="momentum")


def _memory_of(momentum: float) -> tuple[Value, ...]:
    """Return how many batches 1/momentum are, the weight of the last so many, half-life and scatter."""
    log_kept = math.log1p(-momentum) if momentum < 1 else -math.inf  # of the share that a batch leaves of the average
    last = 1 / momentum
    whole = round(last) if last < 1e6 else 0
    count = whole if math.isclose(whole, last) else last  # 10, not 10.0000
    return count, -math.expm1(last * log_kept), math.log(2) / -log_kept, (momentum / (2 - momentum)) ** 0.5


def _one_example(batches: Tensor, statistics: Statistics) -> Table:
    example = TRUE_MEAN + 1.5 * TRUE_STD
    rows: list[tuple[str, Sequence[float]]] = []
    for name, companions in zip("AB", batches, strict=False):
        x = torch.cat([torch.full((1, 1), example, dtype=torch.float64), companions[1:]])
        rows.append((f"in batch {name}", [batch_norm(x).y[0].item(), _at_inference(x, statistics)[0].item()]))
    modes = "in training", "at inference"
    true = (example - TRUE_MEAN) / TRUE_STD
    values = {name: {**dict(zip(modes, cells, strict=True)), "true": true} for name, cells in rows}
    title = f"output for x = {example:g}, which is 1.5 true standard deviations above the mean"
    formula = [f"running averages after {BATCHES} batches"]
    return number_table("one_example", title, modes, rows, formula, values=values)


def _pairs() -> Table:
    pairs = torch.tensor([[1.0, 2.0], [7.0, -100.0], [5.0, 5.01]], dtype=torch.float64)
    rows = [(f"{pair[0]:g} and {pair[1]:g}", batch_norm(pair[:, None]).y.flatten().tolist()) for pair in pairs]
    formula = "d = (x[1] - x[2]) / 2", "y = d / sqrt(d^2 + eps), and -y"
    return number_table("pairs", "batches of two, in training", ("output of the first", "of the second"), rows, formula)


def _refusal(call: Callable[[], object]) -> str:
    """Return the first line of the error that a call ends with."""
    try:
        call()
    except ValueError as error:
        return str(error).partition("\n")[0]
    raise RuntimeError("a batch of one was normalized in training")


def _unbiased(generator: torch.Generator) -> Table:
    rows: list[tuple[str, Sequence[float]]] = []
    for size in (2, 4, 8, 32):
        x = normal(generator, TRUE_MEAN, TRUE_STD, size, _EXAMPLES // size)  # each column a batch of its own
        forward = batch_norm(x)
        unbiased = forward.var * size / (size - 1)
        same = _at_inference(x[:, 0], (forward.mean[0], unbiased[0]))
        mean, fresh = forward.mean.mean(), normal(generator, TRUE_MEAN, TRUE_STD, _EXAMPLES)
        outputs = [forward.y, *(_at_inference(fresh, (mean, var.mean())) for var in (unbiased, forward.var))]
        ratio = (same[0] / forward.y[0, 0]).item()
        rows.append((str(size), [ratio, *(y.square().mean().item() for y in outputs)]))
    keys = "same_batch", "training", "inference", "biased"
    values = [{"B": int(size), **dict(zip(keys, cells, strict=True))} for size, cells in rows]
    columns = "same batch", "in training", "at inference", "if biased"
    formula = (
        "same batch: its output by its own mean and unbiased variance, over its output in training",
        f"the others: mean square of the output, over {_EXAMPLES:,} examples",
    )
    title = "outputs at inference against those in training"
    return number_table("unbiased", title, columns, rows, formula, corner="B", values=values)


def _too_early(running: Sequence[Statistics]) -> Table:
    x = TRUE_MEAN + TRUE_STD * torch.tensor([-1.0, 0, 1], dtype=torch.float64)
    rows = [(f"k = {count}", _at_inference(x, running[count]).tolist()) for count in (1, 3, 10, 100)]
    rows.append(("by the true values", ((x - TRUE_MEAN) / TRUE_STD).tolist()))
    columns = [f"x = {value:g}" for value in x.tolist()]
    formula = "y = (x - running_mean)", "  / sqrt(running_var + eps)"
    return number_table("too_early", "output at inference, after k batches", columns, rows, formula)


def _layer_norm_difference(x: Tensor) -> float:
    """Return how far layer normalization's output of x[0] differs: alone, in half of x (B, F), in all, and by torch."""
    module, parameters = nn.LayerNorm(x.shape[1], dtype=torch.float64), initial_parameters(x.shape[1])
    alone, half, whole = (layer_norm(x[:size], *parameters).y[0] for size in (1, BATCH_SIZE, len(x)))
    by_torch = module(x)[0].detach(), module.eval()(x)[0].detach()
    return max((one - other).abs().max() for one, other in ((alone, whole), (half, whole), by_torch)).item()


def _against_torch(batches: Tensor, statistics: Statistics, momentum: float) -> Text:
    module = nn.BatchNorm1d(1, momentum=momentum, dtype=torch.float64)
    for batch in batches[:-1]:
        module(batch)
    last = batch_norm(batches[-1])
    grad_x, _, _ = batch_norm_train_backward(first_output(batches[-1]), last, initial_parameters(1)[0])
    ours = last.y, grad_x, *statistics, _at_inference(batches[0], statistics)
    y, by_x, *_ = torch_results(module, batches[-1])
    theirs = y, by_x, module.running_mean, module.running_var, module.eval()(batches[0])
    return against_torch("torch.nn.BatchNorm1d", ours, theirs)
