"""The lesson `rmsnorm`: layer normalization without the mean, and what the mean was good for."""

import torch
from torch import nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.regions import matrix_regions, of_batch, of_example
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import loss_of_the_first_output, refuse_one_feature, spread, with_other_companions
from bnexp.lessons.tables import gamma_table, grad_gamma_table, grad_x_table, input_table, matrix, normalized_table
from bnexp.lessons.tensors import (
    NEGLIGIBLE,
    BatchTensors,
    against_torch,
    first_output,
    initial_parameters,
    is_small,
    largest_magnitude,
    tensors_of,
    torch_results,
)
from bnexp.norms.reference import (
    Normalized,
    batch_norm_train,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)

_MOST_COMPARED = 4
"""Examples that the table of both norms shows."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request, which has no beta.

    Raises:
        ConfigError: the matrix has one column.

    Source: Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
    """
    batch = tensors_of(request.batch)
    refuse_one_feature(batch, "RMS normalization", "gamma times its sign")
    forward = rms_norm(batch.x, batch.gamma, request.eps)
    parts = [
        *_statistics(batch, forward),
        *_normalized(batch, forward, request.eps),
        *_beside_layer_norm(batch, forward, request.eps),
        *_forgotten(batch, request.eps),
        *_alone(batch, forward, request.eps),
        *_backward(batch, forward, request.eps),
        Heading("7. In a network"),
        Text(
            "The bias of the layer before it stays: nothing here subtracts it. One average an example is taken in "
            "place of two, forward and backward, and there is no beta; Zhang & Sennrich 2019 report running times 7 to "
            "64 % below those of layer normalization, over their models and implementations, at results that are "
            "alike. What it saves elsewhere is to be measured there: the probe `cost` does."
        ),
        _against_torch(batch, forward, request.eps),
    ]
    return Lesson(
        "rmsnorm",
        "each example is divided by its root mean square; nothing is subtracted",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --set model.norm=rms --name rms_norm",
                "bnexp train configs/demo.yaml --set model.norm=ln --name layer_norm",
                "bnexp compare rms_norm layer_norm --target 0.8",
            ),
            "Same weights at the start, same batches: what differs is the mean, and beta. Look at how far the two "
            "arms lie from each other; one seed each is no evidence for a small difference.",
        ),
    )


def _statistics(batch: BatchTensors, forward: Normalized) -> list[Part]:
    examples, features = batch.x.shape
    of_layer = layer_norm(batch.x, batch.gamma, torch.zeros_like(batch.gamma))
    columns = {
        "ms": forward.var.flatten(),
        "mean^2": of_layer.mean.flatten() ** 2,
        "var": of_layer.var.flatten(),
    }
    cells = torch.stack(list(columns.values()), dim=1).tolist()
    share = (columns["mean^2"] / columns["ms"].clamp_min(torch.finfo(torch.float64).tiny)).tolist()
    top = max(range(examples), key=lambda row: share[row])
    return [
        Text(
            f"X is {batch.source}: B = {examples} examples (rows) of F = {features} features (columns). As in `bnexp "
            "explain layernorm` each row is treated by itself, and gets one number in place of two."
        ),
        input_table(batch),
        matrix_regions("regions", examples, features, {"batch norm": of_batch, "layer norm, RMS norm": of_example}),
        Heading("1. Mean square of each example over its features"),
        Table(
            "statistics",
            "mean square, and what it is made of",
            list(columns),
            list(zip(batch.rows, cells, strict=True)),
            ("ms = 1/F sum_f x[:, f]^2", "ms = mean^2 + var"),
            values={name: column.tolist() for name, column in columns.items()},
        ),
        Text(
            "Layer normalization would subtract the mean and divide by the root of var. The mean square holds both"
            + (
                f": in {batch.rows[top]} the mean has the largest part in it, {share[top]:.1%}."
                if share[top] > NEGLIGIBLE
                else "; here the mean of each row is next to nothing of it."
            ),
            {"mean_squared_over_ms": share, "largest_mean_squared_over_ms": share[top]},
        ),
    ]


def _normalized(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    ratio = (forward.var / (forward.var + eps)).flatten()
    least = ratio.min().item()
    means = forward.x_hat.mean(dim=1)
    zero = (forward.var == 0).any()
    return [
        Heading("2. Normalize and scale"),
        normalized_table(batch, forward.x_hat, "x_hat = x / sqrt(ms + eps)", eps),
        Text(
            ("A row of zeros stays one; every other has" if zero else "Each row has")
            + " the mean square ms / (ms + eps) now"
            + ("." if zero else f", which is {decimal(least, 6)} for the example that eps weighs most on.")
            + f" Its mean is not 0: the farthest from it is {decimal(means[means.abs().argmax()].item())}."
            * bool(largest_magnitude(means) > eps)
            + (
                ""
                if zero or is_small(forward.var, eps)
                else " eps is not small beside it: what is said below but for eps is far off there."
            ),
            {"eps": eps, "ms_of_x_hat": ratio.tolist(), "least_ms_of_x_hat": least, "mean_of_x_hat": means.tolist()},
        ),
        gamma_table(batch),
        matrix("y", "output", forward.y, batch.names, batch.rows, ("y = gamma x_hat",)),
        Text("There is no beta, by convention: what subtracts no mean adds none."),
    ]


def _beside_layer_norm(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    ones, zeros = initial_parameters(len(batch.gamma))
    by_layer = layer_norm(batch.x, ones, zeros, eps).x_hat
    shown = min(len(batch.x), _MOST_COMPARED)
    pairs = torch.stack([by_layer[:shown], forward.x_hat[:shown]], dim=1).flatten(0, 1)
    labels = [f"{row}, {norm}" for row in batch.rows[:shown] for norm in ("layer norm", "RMS norm")]
    centered = batch.x - batch.x.mean(dim=1, keepdim=True)
    apart = {"rms_norm": spread(forward.x_hat), "layer_norm": spread(by_layer)}
    agreement = largest_magnitude(layer_norm(centered, ones, zeros, eps).x_hat - rms_norm(centered, ones, eps).x_hat)
    return [
        Heading("3. Beside layer normalization"),
        matrix("x_hat_of_both", "x_hat of both, on the same rows", pairs, batch.names, labels),
        Text(
            "The differences between the features of an example come out smaller under RMS normalization the more of "
            "its mean square is the mean: they are divided by sqrt(mean^2 + var) in place of sqrt(var), and the rest "
            "of the row is a level that all its features share. "
            + (
                "What layer normalization forgets is kept: "
                * (apart["rms_norm"] > 10 * apart["layer_norm"] + NEGLIGIBLE)
            )
            + f"two rows differ by up to {decimal(apart['rms_norm'])} in one feature here, and by up to "
            f"{decimal(apart['layer_norm'])} after layer normalization.",
            {"rows_apart": apart},
        ),
        Text(
            "Where the mean of a row is 0 the two agree: with its mean subtracted from each row of X beforehand, they "
            f"differ by {agreement:.1e} at most.",
            {"difference_on_rows_of_mean_0": agreement},
        ),
    ]


def _forgotten(batch: BatchTensors, eps: float) -> list[Part]:
    ones, zeros = initial_parameters(len(batch.gamma))
    one = batch.x[:1]
    inputs = torch.cat([one, 10 * one, one + 5])
    of_rms, of_layer = rms_norm(inputs, ones, eps), layer_norm(inputs, ones, zeros, eps)
    by_rms, by_layer = of_rms.x_hat, of_layer.x_hat
    changes = {
        name: [largest_magnitude(x_hat[row] - x_hat[0]) for row in (1, 2)]
        for name, x_hat in (("RMS norm", by_rms), ("layer norm", by_layer))
    }
    return [
        Heading("4. What the mean was good for"),
        matrix("shift_and_scale", "example 1, normalized", by_rms, batch.names, ("x", "10 x", "x + 5")),
        Table(
            "changed_by",
            "largest change of x_hat in example 1",
            ("10 x in place of x", "x + 5 in place of x"),
            list(changes.items()),
            corner="norm",
        ),
        Text(
            (
                "A scale of the example is forgotten by both, but for eps. "
                if is_small(torch.stack([of_layer.var[0], of_rms.var[0]]), eps)
                else "A scale of the example would be forgotten by both, were eps small beside its variance. "
            )
            + "A shift of it is forgotten by layer normalization alone; under RMS normalization it changes x_hat by up "
            f"to {decimal(changes['RMS norm'][1])}. Zhang & Sennrich 2019 argue that of the two the scale is what "
            "matters for training, and leave the mean alone."
        ),
    ]


def _alone(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    others = with_other_companions(batch.x)
    zeros = torch.zeros_like(batch.gamma)
    by_rms = largest_magnitude(rms_norm(others, batch.gamma, eps).y[0] - forward.y[0])
    by_batch = largest_magnitude(
        batch_norm_train(others, batch.gamma, zeros, eps).y[0] - batch_norm_train(batch.x, batch.gamma, zeros, eps).y[0]
    )
    return [
        Heading("5. One example at a time, in training and at inference"),
        Text(
            f"With all other examples doubled, the output of example 1 changes by {by_rms:.2g} here and by up to "
            f"{decimal(by_batch)} under batch normalization. As in layer normalization there are no running averages, "
            "training and inference compute the same, and a batch of one is enough.",
            {"change_by_companions": {"rms_norm": by_rms, "batch_norm": by_batch}},
        ),
    ]


def _backward(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    grad_y = first_output(batch.x)
    grad_x, grad_gamma = rms_norm_backward(grad_y, forward, batch.gamma, eps)
    by_layer = layer_norm(batch.x, batch.gamma, torch.zeros_like(batch.gamma), eps)
    layer_grad, _, _ = layer_norm_backward(grad_y, by_layer, batch.gamma, eps)
    first = torch.stack([layer_grad[0], grad_x[0]])
    along = torch.stack([(first[0] * by_layer.x_hat[0]).sum(), (first[1] * forward.x_hat[0]).sum()]).tolist()
    sums = first.sum(dim=1).tolist()
    return [
        Heading("6. Backward: one average as well"),
        loss_of_the_first_output(batch),
        grad_gamma_table(batch, grad_gamma),
        grad_x_table(batch, grad_x, ("g = gamma dy", "d x = 1 / sqrt(ms + eps)", "  (g - x_hat mean_f(g x_hat))")),
        Table(
            "gradient_of_example_1",
            "gradient of example 1",
            ("its sum", "along x_hat"),
            [("layer norm", (sums[0], along[0])), ("RMS norm", (sums[1], along[1]))],
            corner="norm",
        ),
        Text(
            "No example but the first gets a gradient. It has no part along x_hat, all but for eps, since a scale of "
            "the example changes nothing. The mean_f(g) that layer normalization subtracts as well is missing, and "
            "with it what makes the gradient sum to 0."
        ),
    ]


def _against_torch(batch: BatchTensors, forward: Normalized, eps: float) -> Text:
    """Run torch's own module on the same numbers and say how far it is from the formulas."""
    module = nn.RMSNorm(batch.x.shape[1], eps=eps, dtype=torch.float64)
    module.load_state_dict({"weight": batch.gamma})
    ours = forward.y, *rms_norm_backward(first_output(batch.x), forward, batch.gamma, eps)
    return against_torch("torch.nn.RMSNorm", ours, torch_results(module, batch.x))
