"""The lesson `training-vs-inference`: batch statistics, running averages, and what comes of their difference."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Table, Text
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.request import Request
from bnexp.lessons.running_averages import (
    BATCH_SIZE,
    BATCHES,
    TRUE_MEAN,
    TRUE_STD,
    at_inference,
    averages,
    drawn,
    in_training,
    memory,
    running_statistics,
    statistics_of_batches,
)
from bnexp.lessons.tensors import against_torch, first_output, initial_parameters, largest_magnitude
from bnexp.norms.reference import batch_norm_train_backward, layer_norm

_EXAMPLES = 128_000
"""Drawn for each size of batch."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on batches of one feature, drawn from a Gaussian whose mean and variance are known."""
    generator = torch.Generator().manual_seed(request.seed)
    batches = drawn(generator, BATCHES, BATCH_SIZE, 1)
    running = running_statistics(batches, request.momentum)
    parts = [
        *statistics_of_batches(batches),
        *averages(batches, running, request.momentum),
        *memory(request.momentum),
        *_one_example(batches, running[-1]),
        *_alone_and_in_pairs(),
        *_unbiased(generator),
        *_too_early(running),
        _without_running_averages(generator),
        _against_torch(batches, running[-1], request.momentum),
    ]
    return Lesson(
        "training-vs-inference",
        "in training the batch's own statistics, at inference averages over past batches",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --name usual_average",
                "bnexp train configs/demo.yaml --set 'model.norm=bn(momentum=0.001)' --name slow_average",
                "bnexp compare usual_average slow_average",
                "bnexp probe usual_average --probe evaluation_modes",
                "bnexp probe slow_average --probe evaluation_modes",
            ),
            "The losses in training are the same in both: there the averages are not used. Validation uses them, and "
            "with momentum 0.001 they still hold much of their start, of which bnexp warns before it trains. The probe "
            "scores the same weights with other statistics: with `recomputed`, averaged anew without a further step of "
            "training, slow_average does as well as usual_average. With `single`, each example a batch of its own, "
            "both guess.",
        ),
    )


def _one_example(batches: Tensor, statistics: tuple[Tensor, Tensor]) -> list[Part]:
    example = TRUE_MEAN + 1.5 * TRUE_STD
    rows: list[tuple[str, Sequence[Cell]]] = []
    for name, companions in zip("AB", batches, strict=False):
        x = torch.cat([torch.full((1, 1), example, dtype=torch.float64), companions[1:]])
        rows.append((f"in batch {name}", [in_training(x).y[0].item(), at_inference(x, statistics)[0].item()]))
    return [
        Heading("4. One example, several answers"),
        Table(
            "one_example",
            f"output for x = {example:g}, which is 1.5 true standard deviations above the mean",
            ("in training", "at inference"),
            rows,
            (f"running averages after {BATCHES} batches",),
            values={
                name: {"in training": cells[0], "at inference": cells[1], "true": (example - TRUE_MEAN) / TRUE_STD}
                for name, cells in rows
            },
        ),
        Text(
            "In training the companions decide what is subtracted and divided by, so that the same example has "
            "another output in every batch; `bnexp explain coupling` measures it. At inference it is always the same."
        ),
    ]


def _alone_and_in_pairs() -> list[Part]:
    alone = torch.full((1, 1), TRUE_MEAN, dtype=torch.float64)
    pairs = torch.tensor([[1.0, 2.0], [7.0, -100.0], [5.0, 5.01]], dtype=torch.float64)
    rows = [(f"{pair[0]:g} and {pair[1]:g}", in_training(pair[:, None]).y.flatten().tolist()) for pair in pairs]
    return [
        Text(
            "Alone, in a batch of one, x - mean is 0 whatever x is, and so is the variance: nothing is left. bnexp's "
            f"reference refuses: `{_refusal(lambda: in_training(alone))}`. So does torch: "
            f"`{_refusal(lambda: nn.BatchNorm1d(1, dtype=torch.float64)(alone))}`. In a pair hardly more is left:"
        ),
        Table(
            "pairs",
            "batches of two, in training",
            ("output of the first", "of the second"),
            rows,
            ("d = (x[1] - x[2]) / 2", "y = d / sqrt(d^2 + eps), and -y"),
        ),
        Text("But for eps the output says which of the two is larger, and nothing else."),
    ]


def _refusal(call: Callable[[], object]) -> str:
    """Return the first line of the error that a call ends with."""
    try:
        call()
    except ValueError as error:
        return str(error).partition("\n")[0]
    raise RuntimeError("a batch of one was normalized in training")


def _unbiased(generator: torch.Generator) -> list[Part]:
    rows: list[tuple[str, Sequence[Cell]]] = []
    for size in (2, 4, 8, 32):
        x = drawn(generator, size, _EXAMPLES // size)  # each column a batch of its own
        forward = in_training(x)
        unbiased = forward.var * size / (size - 1)
        same = at_inference(x[:, 0], (forward.mean[0], unbiased[0]))
        mean, fresh = forward.mean.mean(), drawn(generator, _EXAMPLES)
        by_averages = [
            at_inference(fresh, (mean, var.mean())).square().mean().item() for var in (unbiased, forward.var)
        ]
        ratio = (same[0] / forward.y[0, 0]).item()
        rows.append((str(size), [ratio, forward.y.square().mean().item(), *by_averages]))
    return [
        Heading("5. Why the running variance is of the unbiased one"),
        Table(
            "unbiased",
            "outputs at inference against those in training",
            ("same batch", "in training", "at inference", "if biased"),
            rows,
            (
                "same batch: its output by its own mean and unbiased variance, over its output in training",
                f"the others: mean square of the output, over {_EXAMPLES:,} examples",
            ),
            corner="B",
            values=[
                {
                    "B": int(size),
                    "same_batch": cells[0],
                    "training": cells[1],
                    "inference": cells[2],
                    "biased": cells[3],
                }
                for size, cells in rows
            ],
        ),
        Text(
            "If one batch came again and again, inference would shrink its outputs by sqrt((B - 1) / B), for B = 2 by "
            f"sqrt(1/2) = {decimal(0.5**0.5)}. Yet over many batches the unbiased average is the right one: examples "
            "lie closer to their own batch's mean than to the true one, and the biased variance is on average (B - 1) "
            "/ B of the true one. With the unbiased one, outputs are about as large at inference as in training.",
            {"sqrt_of_a_half": 0.5**0.5},
        ),
    ]


def _too_early(running: Sequence[tuple[Tensor, Tensor]]) -> list[Part]:
    x = TRUE_MEAN + TRUE_STD * torch.tensor([-1.0, 0, 1], dtype=torch.float64)
    outputs = {count: at_inference(x, running[count]).tolist() for count in (1, 3, 10, 100)}
    rows: list[tuple[str, Sequence[Cell]]] = [(f"k = {count}", one) for count, one in outputs.items()]
    return [
        Heading("6. Evaluated too early"),
        Table(
            "too_early",
            "output at inference, after k batches",
            [f"x = {one:g}" for one in x.tolist()],
            [*rows, ("by the true values", ((x - TRUE_MEAN) / TRUE_STD).tolist())],
            ("y = (x - running_mean)", "  / sqrt(running_var + eps)"),
        ),
        Text(
            f"After 3 batches x = {TRUE_MEAN:g}, the true mean, gives {decimal(outputs[3][1])} in place of 0; after "
            f"{BATCHES} it gives {decimal(outputs[BATCHES][1])}. The layers above were trained on outputs around 0. A "
            "network scored while the start still weighs is judged by its averages, not by its weights.",
            {"true_mean_after_3": outputs[3][1], "true_mean_in_the_end": outputs[BATCHES][1]},
        ),
    ]


def _without_running_averages(generator: torch.Generator) -> Text:
    x = drawn(generator, 2 * BATCH_SIZE, 4)
    gamma, beta = initial_parameters(4)
    whole = layer_norm(x, gamma, beta).y[0]
    module = nn.LayerNorm(4, dtype=torch.float64)
    others = (layer_norm(x[:1], gamma, beta).y[0], layer_norm(x[: len(x) // 2], gamma, beta).y[0])
    modes = (module(x)[0].detach(), module.eval()(x)[0].detach())
    difference = max(largest_magnitude(one - other) for one, other in ((others[0], whole), (others[1], whole), modes))
    return Text(
        "Layer normalization has none of this. Its mean and variance are of the features of one example: there is no "
        "average to keep, a batch of one will do, and training and inference are one computation. The output of an "
        f"example with 4 features, alone, among {BATCH_SIZE} and among {2 * BATCH_SIZE}, and by torch.nn.LayerNorm in "
        f"either mode, differs by {difference:.1e} at most.",
        {"layer_norm_difference": difference},
    )


def _against_torch(batches: Tensor, statistics: tuple[Tensor, Tensor], momentum: float) -> Text:
    module = nn.BatchNorm1d(1, momentum=momentum, dtype=torch.float64)
    for batch in batches[:-1]:
        module(batch)
    x = batches[-1].clone().requires_grad_()
    y = module(x)
    y[0].sum().backward()
    last = in_training(batches[-1])
    grad_x, _, _ = batch_norm_train_backward(first_output(batches[-1]), last, initial_parameters(1)[0])
    ours = (last.y, grad_x, *statistics, at_inference(batches[0], statistics))
    return against_torch(
        "torch.nn.BatchNorm1d", ours, (y, x.grad, module.running_mean, module.running_var, module.eval()(batches[0]))
    )
