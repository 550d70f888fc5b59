"""The lesson `training-vs-inference`: batch statistics, running averages, and what follows from their difference."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bnexp.document.figure import Lines
from bnexp.document.table import number_table
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.document.writing import Value
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import against_torch, first_output, initial_parameters, standard_normal, torch_results
from bnexp.norms import reference
from bnexp.norms.reference import Normalized, batch_norm_train_backward, layer_norm

TRUE_MEAN, TRUE_STD = 5.0, 2.0
BATCH_SIZE, BATCHES = 32, 100
_EXAMPLES = 128_000
"""Drawn for each size of batch."""

Statistics = tuple[Tensor, Tensor]
"""Mean and variance, (F,) each."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on batches of one feature, drawn from a Gaussian whose mean and variance are known."""
    generator, momentum = torch.Generator().manual_seed(request.seed), request.momentum
    batches = _drawn(generator, BATCHES, BATCH_SIZE, 1)
    running = running_statistics(batches, momentum)
    parts = [*_batch_statistics(batches), *averages(batches, running, momentum), *memory(momentum)]
    parts += [*_one_example(batches, running[-1]), *_unbiased(generator), *_too_early(running)]
    parts += [_without_running_averages(generator), _against_torch(batches, running[-1], momentum)]
    return Lesson(
        "training-vs-inference",
        "in training the batch's own statistics, at inference averages over past batches",
        parts,
        TryIt(
            (
                "bnexp train configs/demo.yaml --name usual_average",
                "bnexp train configs/demo.yaml --set 'model.norm=bn(momentum=0.001)' --name slow_average",
                "bnexp compare usual_average slow_average",
                "bnexp probe usual_average --probe evaluation_modes",
                "bnexp probe slow_average --probe evaluation_modes",
            ),
            "The losses in training are the same in both: there the averages are not used. Validation uses them, and "
            "with momentum 0.001 they still hold much of their start; bnexp warns of that before it trains. The probe "
            "scores the same weights with other statistics: with `recomputed`, averaged anew without a further step of "
            "training, slow_average does as well as usual_average. With `single`, each example a batch of its own, "
            "both guess.",
        ),
    )


def _drawn(generator: torch.Generator, *shape: int) -> Tensor:
    """Return values of the feature, whose mean and standard deviation are known."""
    return TRUE_MEAN + TRUE_STD * standard_normal(generator, *shape)


def _in_training(x: Tensor) -> Normalized:
    """Return the normalization of x (B, F) in training, with gamma 1 and beta 0."""
    return reference.batch_norm_train(x, *initial_parameters(x.shape[1]))


def _at_inference(x: Tensor, statistics: Statistics) -> Tensor:
    """Return the normalization of x at inference, by running mean and variance, with gamma 1 and beta 0."""
    return reference.batch_norm_inference(x, *initial_parameters(1), *statistics)


def running_statistics(batches: Tensor, momentum: float) -> list[Statistics]:
    """Return running mean and variance after 0, 1, 2, ... of the batches (K, B, F)."""
    one, zero = initial_parameters(batches.shape[2])
    statistics = [(zero, one)]
    for batch in batches:
        statistics.append(reference.batch_norm_running(*statistics[-1], _in_training(batch), len(batch), momentum))
    return statistics


def _batch_statistics(batches: Tensor) -> list[Part]:
    """Show how mean and variance differ from batch to batch, of batches (K, B, 1)."""
    means, variances = batches.mean(dim=1).flatten(), batches.var(dim=1, unbiased=False).flatten()  # (K,) each
    first = zip(means[:5].tolist(), variances[:5].tolist(), strict=True)
    rows = [*((f"batch {number}", cells) for number, cells in enumerate(first, 1)), ("true", (TRUE_MEAN, TRUE_STD**2))]
    formula = "mean = 1/B sum_b x[b]", "var = 1/B sum_b (x[b] - mean)^2"
    return [
        Heading("1. In training: every batch has its own mean and variance"),
        Text(
            f"A feature is drawn with mean {TRUE_MEAN:g} and standard deviation {TRUE_STD:g}, in {BATCHES} batches of "
            f"B = {BATCH_SIZE} examples. The first five:"
        ),
        number_table("batch_statistics", "what batches are normalized by", ("mean", "variance"), rows, formula),
        text(
            f"The means of all {BATCHES} batches have a standard deviation of {{std_of_batch_means}}; sigma / sqrt(B) "
            "= {std_of_batch_means_expected} is expected. In training an example is normalized by the statistics of "
            "its batch, not by the true ones.",
            std_of_batch_means=means.std().item(),
            std_of_batch_means_expected=TRUE_STD / BATCH_SIZE**0.5,
        ),
    ]


def averages(batches: Tensor, running: Sequence[Statistics], momentum: float) -> list[Part]:
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
    counts = list(range(len(running)))
    return [
        Heading("2. For inference: running averages"),
        text(
            "At inference an example may come alone, and its answer must not depend on others. So training keeps an "
            "average of the mean and one of the variance. They start at 0 and 1, whatever the data. With momentum "
            "{momentum:g}:",
            momentum=momentum,
        ),
        number_table("running_statistics", "running averages", columns, rows, formula, corner="k batches"),
        Lines("running_mean", "mean of each batch, and running mean", "batches", counts, curves),
        text(
            f"After k batches the start still weighs (1 - momentum)^k; after {BATCHES} that is {{share_of_the_start}}. "
            "The rest is the scatter of the last batches, averaged.",
            share_of_the_start=(1 - momentum) ** BATCHES,
        ),
    ]


def memory(momentum: float) -> list[Part]:
    """Compare the memories of several momenta, this one among them."""
    rows = [(f"{one:g}", _memory_of(one)) for one in sorted({0.001, 0.01, 0.1, 0.5, momentum})]
    columns = "N = 1/momentum", "weight of the last N", "half-life", "scatter"
    formula = (
        "weight of the last N batches = 1 - (1 - momentum)^N, about 1 - 1/e",
        "half-life = ln 2 / -ln(1 - momentum), in batches",
        "scatter = sqrt(momentum / (2 - momentum)), in scatters of a batch mean",
    )
    meant = f" If {momentum:g} is meant as in Keras, it is {1 - momentum:g} here." if momentum < 1 else ""
    above = (
        f"A momentum of {momentum:g} is above 0.5: the newest batch outweighs all earlier ones together, so there is "
        f"hardly any averaging.{meant}"
    )
    return [
        Heading("3. The memory of a momentum"),
        number_table("memory", "how long an average remembers", columns, rows, formula, corner="momentum"),
        text(
            "A small momentum averages over many batches and scatters little, but forgets its start slowly. 1 - 1/e is "
            "{one_less_one_over_e}. The momentum is the weight of the new batch, as in PyTorch. Keras gives that name "
            "to the weight of the old average: {here} here is {keras_momentum:g} there.",
            one_less_one_over_e=1 - 1 / math.e,
            keras_momentum=1 - momentum,
            here=f"{momentum:g}",
        ),
        *([Text(above)] if momentum > 0.5 else []),
    ]


def _memory_of(momentum: float) -> tuple[Value, ...]:
    """Return how many batches 1/momentum are, the weight of the last so many, half-life and scatter."""
    log_kept = math.log1p(-momentum) if momentum < 1 else -math.inf  # of the share that a batch leaves of the average
    last = 1 / momentum
    whole = round(last) if last < 1e6 else 0
    count = whole if math.isclose(whole, last) else last  # 10, not 10.0000
    return count, -math.expm1(last * log_kept), math.log(2) / -log_kept, (momentum / (2 - momentum)) ** 0.5


def _one_example(batches: Tensor, statistics: Statistics) -> list[Part]:
    """Show one example in two batches, in a batch of its own, and in pairs."""
    example = TRUE_MEAN + 1.5 * TRUE_STD
    rows: list[tuple[str, Sequence[float]]] = []
    for name, companions in zip("AB", batches, strict=False):
        x = torch.cat([torch.full((1, 1), example, dtype=torch.float64), companions[1:]])
        rows.append((f"in batch {name}", [_in_training(x).y[0].item(), _at_inference(x, statistics)[0].item()]))
    modes = "in training", "at inference"
    true = (example - TRUE_MEAN) / TRUE_STD
    values = {name: {**dict(zip(modes, cells, strict=True)), "true": true} for name, cells in rows}
    title = f"output for x = {example:g}, which is 1.5 true standard deviations above the mean"
    formula = (f"running averages after {BATCHES} batches",)
    alone = torch.full((1, 1), TRUE_MEAN, dtype=torch.float64)
    pairs = torch.tensor([[1.0, 2.0], [7.0, -100.0], [5.0, 5.01]], dtype=torch.float64)
    of_pairs = [(f"{pair[0]:g} and {pair[1]:g}", _in_training(pair[:, None]).y.flatten().tolist()) for pair in pairs]
    of_pair = "d = (x[1] - x[2]) / 2", "y = d / sqrt(d^2 + eps), and -y"
    return [
        Heading("4. One example, several answers"),
        number_table("one_example", title, modes, rows, formula, values=values),
        Text(
            "In training the companions decide what is subtracted and divided by, so the same example has another "
            "output in every batch; `bnexp explain coupling` measures it. At inference it is always the same."
        ),
        Text(
            "Alone, in a batch of one, x - mean is 0 whatever x is, and so is the variance: nothing is left. bnexp's "
            f"reference refuses: `{_refusal(lambda: _in_training(alone))}`. So does torch: "
            f"`{_refusal(lambda: nn.BatchNorm1d(1, dtype=torch.float64)(alone))}`. In a pair hardly more is left:"
        ),
        number_table(
            "pairs", "batches of two, in training", ("output of the first", "of the second"), of_pairs, of_pair
        ),
        Text("Except for eps, the output says which of the two is larger, and nothing else."),
    ]


def _refusal(call: Callable[[], object]) -> str:
    """Return the first line of the error that a call ends with."""
    try:
        call()
    except ValueError as error:
        return str(error).partition("\n")[0]
    raise RuntimeError("a batch of one was normalized in training")


def _unbiased(generator: torch.Generator) -> list[Part]:
    rows: list[tuple[str, Sequence[float]]] = []
    for size in (2, 4, 8, 32):
        x = _drawn(generator, size, _EXAMPLES // size)  # each column a batch of its own
        forward = _in_training(x)
        unbiased = forward.var * size / (size - 1)
        same = _at_inference(x[:, 0], (forward.mean[0], unbiased[0]))
        mean, fresh = forward.mean.mean(), _drawn(generator, _EXAMPLES)
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
    return [
        Heading("5. Why the running variance is of the unbiased one"),
        number_table("unbiased", title, columns, rows, formula, corner="B", values=values),
        text(
            "If one batch came again and again, inference would shrink its outputs by sqrt((B - 1) / B), for B = 2 by "
            "sqrt(1/2) = {sqrt_of_a_half}. Yet over many batches the unbiased average is the right one: examples lie "
            "closer to their own batch's mean than to the true one, and the biased variance is on average (B - 1) / B "
            "of the true one. With the unbiased one, outputs are about as large at inference as in training.",
            sqrt_of_a_half=0.5**0.5,
        ),
    ]


def _too_early(running: Sequence[Statistics]) -> list[Part]:
    x = TRUE_MEAN + TRUE_STD * torch.tensor([-1.0, 0, 1], dtype=torch.float64)
    outputs = {count: _at_inference(x, running[count]).tolist() for count in (1, 3, 10, 100)}
    rows = [(f"k = {count}", cells) for count, cells in outputs.items()]
    rows.append(("by the true values", ((x - TRUE_MEAN) / TRUE_STD).tolist()))
    columns = [f"x = {value:g}" for value in x.tolist()]
    formula = "y = (x - running_mean)", "  / sqrt(running_var + eps)"
    return [
        Heading("6. Evaluated too early"),
        number_table("too_early", "output at inference, after k batches", columns, rows, formula),
        text(
            f"After 3 batches x = {TRUE_MEAN:g}, the true mean, gives {{true_mean_after_3}} in place of 0; after "
            f"{BATCHES} it gives {{true_mean_in_the_end}}. The layers above were trained on outputs around 0. A "
            "network scored while the start still weighs is judged by its averages, not by its weights.",
            true_mean_after_3=outputs[3][1],
            true_mean_in_the_end=outputs[BATCHES][1],
        ),
    ]


def _without_running_averages(generator: torch.Generator) -> Text:
    x = _drawn(generator, 2 * BATCH_SIZE, 4)
    module = nn.LayerNorm(4, dtype=torch.float64)
    alone, half, whole = (layer_norm(x[:size], *initial_parameters(4)).y[0] for size in (1, BATCH_SIZE, len(x)))
    by_torch = module(x)[0].detach(), module.eval()(x)[0].detach()
    difference = max((one - other).abs().max() for one, other in ((alone, whole), (half, whole), by_torch)).item()
    return text(
        "Layer normalization has none of this. Its mean and variance are of the features of one example: there is no "
        "average to keep, a batch of one will do, and training and inference are one computation. The output of an "
        f"example with 4 features, alone, among {BATCH_SIZE} and among {len(x)}, and by torch.nn.LayerNorm in either "
        "mode, differs by {layer_norm_difference:.1e} at most.",
        layer_norm_difference=difference,
    )


def _against_torch(batches: Tensor, statistics: Statistics, momentum: float) -> Text:
    module = nn.BatchNorm1d(1, momentum=momentum, dtype=torch.float64)
    for batch in batches[:-1]:
        module(batch)
    last = _in_training(batches[-1])
    grad_x, _, _ = batch_norm_train_backward(first_output(batches[-1]), last, initial_parameters(1)[0])
    ours = last.y, grad_x, *statistics, _at_inference(batches[0], statistics)
    y, by_x, *_ = torch_results(module, batches[-1])
    theirs = y, by_x, module.running_mean, module.running_var, module.eval()(batches[0])
    return against_torch("torch.nn.BatchNorm1d", ours, theirs)
