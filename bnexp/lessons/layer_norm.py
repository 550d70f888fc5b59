"""The lesson `layernorm`: each example by its own mean and variance, beside batch normalization on the same matrix."""

import torch
from torch import nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Table, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.regions import matrix_regions, of_batch, of_example
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import loss_of_the_first_output, refuse_one_feature, spread, with_other_companions
from bnexp.lessons.tables import (
    grad_beta_table,
    grad_gamma_table,
    grad_x_table,
    input_table,
    matrix,
    normalized_table,
    said_of_variance,
    scale_and_shift,
)
from bnexp.lessons.tensors import (
    BatchTensors,
    against_torch,
    does_not_vary,
    first_output,
    is_small,
    largest_magnitude,
    names_in_words,
    tensors_of,
    torch_results,
)
from bnexp.norms.reference import (
    Normalized,
    batch_norm_train,
    batch_norm_train_backward,
    layer_norm,
    layer_norm_backward,
)

_SAME = 1e-3
"""Rows of normalized values that differ by less are called the same."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request.

    Raises:
        ConfigError: the matrix has one column.
    """
    batch = tensors_of(request.batch)
    refuse_one_feature(batch, "layer normalization", "beta")
    forward = layer_norm(batch.x, batch.gamma, batch.beta, request.eps)
    parts = [
        *_statistics(batch, forward),
        *_normalized(batch, forward, request.eps),
        *_scaled(batch, forward),
        *_alone(batch, request.eps),
        *_forgotten(batch, forward, request.eps),
        *_backward(batch, forward, request.eps),
        Heading("7. In a network"),
        Text(
            "The bias of the layer before it stays: it is a number per feature, and the mean over the features takes "
            "away only what all of them have in common. (Before `bn` it is left out, because a mean per feature "
            "cancels it.) Of images, `ln` averages each over channels, height and width, and `ln_c` over the channels "
            "at each position, as ConvNeXt does (Liu et al. 2022). `bnexp explain groupnorm` draws the first beside "
            "what lies between it and instance normalization."
        ),
        _against_torch(batch, forward, request.eps),
    ]
    return Lesson(
        "layernorm",
        "each example is brought to mean 0 and variance 1 by itself, whatever its companions",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --set model.norm=ln --name layer_norm",
                "bnexp train configs/demo.yaml --set model.norm=bn --name batch_norm",
                "bnexp train configs/demo.yaml --set model.norm=none --name no_norm",
                "bnexp compare layer_norm batch_norm no_norm --target 0.8",
            ),
            "Same weights at the start, same batches. Look at the epochs that each needs to 80 % of validation "
            "accuracy, and at how near the two normalizations end to each other.",
        ),
    )


def _statistics(batch: BatchTensors, forward: Normalized) -> list[Part]:
    examples, features = batch.x.shape
    picture = matrix_regions("regions", examples, features, {"batch norm": of_batch, "layer norm": of_example})
    mean, var = forward.mean.flatten().tolist(), forward.var.flatten().tolist()
    return [
        Text(
            f"X is {batch.source}: B = {examples} examples (rows) of F = {features} features (columns), as in `bnexp "
            "explain batchnorm`. There each column was treated by itself; here each row is."
        ),
        input_table(batch),
        picture,
        Text(
            f"Batch normalization takes {features} means, each of the {examples} values of a feature. Layer "
            f"normalization takes {examples}, each of the {features} values of an example. That is the whole "
            "difference; all else in this lesson follows from it."
        ),
        Heading("1. Mean and variance of each example over its features"),
        Table(
            "statistics",
            "mean and variance, biased: divided by F",
            ("mean", "var"),
            [(row, (one, other)) for row, one, other in zip(batch.rows, mean, var, strict=True)],
            ("mean = 1/F sum_f x[:, f]", "var = 1/F sum_f (x[:, f] - mean)^2"),
            values={"mean": mean, "var": var},
        ),
    ]


def _normalized(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    alike = does_not_vary(batch.x, dim=1)
    constant = [row for row, same in zip(batch.rows, alike, strict=True) if same]
    parts: list[Part] = [
        Heading("2. Normalize"),
        normalized_table(batch, forward.x_hat, "x_hat = (x - mean) / sqrt(var + eps)", eps),
        *said_of_variance("row", "example", batch.rows, forward.var.flatten(), ~alike, eps),
    ]
    if constant:
        parts.append(
            Text(
                f"All features alike: {names_in_words(constant)}. There x - mean is 0, but for rounding, so that the "
                "output is beta, whatever gamma is."
            )
        )
    return [*parts, _rows_apart(batch, forward, eps)]


def _rows_apart(batch: BatchTensors, forward: Normalized, eps: float) -> Text:
    """Say how much is left of the differences between the examples, and name it when that is nothing."""
    before, after = spread(batch.x), spread(forward.x_hat)
    by_batch = spread(batch_norm_train(batch.x, batch.gamma, batch.beta, eps).x_hat)
    numbers = {"rows_apart": {"input": before, "layer_norm": after, "batch_norm": by_batch}}
    if after < _SAME <= before and is_small(forward.var, eps):
        return Text(
            f"All rows are the same now: in no feature do two of them differ by more than {after:.2g}. In X they "
            f"differed by up to {decimal(before)}, but only in their mean and in their scale, and these are what "
            "layer normalization takes away. Whatever comes after it has no more than that to tell these examples "
            f"apart. After batch normalization of the same X two rows differ by up to {decimal(by_batch)}.",
            numbers,
        )
    return Text(
        f"In one feature, two rows differ by up to {decimal(after)}; after batch normalization of the same X by up to "
        f"{decimal(by_batch)}.",
        numbers,
    )


def _scaled(batch: BatchTensors, forward: Normalized) -> list[Part]:
    return [
        Heading("3. Scale and shift, by two numbers per feature that the network learns"),
        *scale_and_shift(batch, forward.y),
        Text(
            "The averages are per example, but gamma and beta are per feature, as in batch normalization. So they "
            "cannot undo it: in batch normalization gamma = sqrt(var + eps) and beta = mean give X back, since these "
            "are per feature too. Here mean and var belong to the example, while gamma and beta are the same for all "
            "examples."
        ),
    ]


def _alone(batch: BatchTensors, eps: float) -> list[Part]:
    parameters = batch.gamma, batch.beta, eps
    together, others = batch.x, with_other_companions(batch.x)
    alone = layer_norm(batch.x[:1], *parameters).y[0]
    by_layer = layer_norm(together, *parameters).y[0], layer_norm(others, *parameters).y[0]
    by_batch = batch_norm_train(together, *parameters).y[0], batch_norm_train(others, *parameters).y[0]
    rows = torch.stack([alone, by_layer[0], by_layer[1], by_batch[0], by_batch[1]])
    labels = (
        "layer norm, alone",
        "layer norm, in this batch",
        "layer norm, other examples doubled",
        "batch norm, in this batch",
        "batch norm, other examples doubled",
    )
    return [
        Heading("4. One example at a time, in training and at inference"),
        matrix("output_of_example_1", "output of example 1", rows, batch.names, labels),
        Text(
            "Layer normalization gives example 1 the same output each time: by the companions it changes by "
            f"{largest_magnitude(by_layer[1] - by_layer[0]):.2g}, under batch normalization by up to "
            f"{decimal(largest_magnitude(by_batch[1] - by_batch[0]))}. So it needs no running averages, computes the "
            "same in training and at inference, and works on a batch of one, where batch normalization has no "
            "variance to divide by.",
            {
                "change_by_companions": {
                    "layer_norm": largest_magnitude(by_layer[1] - by_layer[0]),
                    "batch_norm": largest_magnitude(by_batch[1] - by_batch[0]),
                },
                "alone_against_in_the_batch": largest_magnitude(alone - by_layer[0]),
            },
        ),
    ]


def _forgotten(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    changed = layer_norm(10 * batch.x[:1] + 5, batch.gamma, batch.beta, eps).x_hat[0]
    same = torch.stack([forward.x_hat[0], changed])
    by_batch = batch_norm_train(batch.x, batch.gamma, batch.beta, eps).x_hat
    means = torch.stack([batch.x.mean(dim=0), by_batch.mean(dim=0), forward.x_hat.mean(dim=0)])
    top = int(forward.x_hat.amin(dim=0).argmax())
    stays = forward.x_hat[:, top].min().item() > _SAME
    return [
        Heading("5. What it forgets, and what it keeps"),
        matrix("shift_and_scale", "example 1, normalized", same, batch.names, ("x", "10 x + 5")),
        Text(
            (
                "Shift and scale of an example are forgotten: 10 x + 5 gives what x gives, but for eps (largest "
                if is_small(forward.var[0], eps)
                else "Shift and scale of an example would be forgotten, were eps small beside its variance (largest "
            )
            + f"difference {largest_magnitude(same[1] - same[0]):.1e}).",
            {"difference_by_shift_and_scale": largest_magnitude(same[1] - same[0])},
        ),
        matrix(
            "mean_of_each_feature",
            "mean of each feature over the examples",
            means,
            batch.names,
            ("X", "after batch norm", "after layer norm"),
        ),
        Text(
            "What is kept are the differences between the features of an example, in units of its standard deviation. "
            + (
                f"So a feature that is above the mean in every example stays above it: {batch.names[top]} averages "
                f"{decimal(means[2, top].item())} after layer normalization, while after batch normalization each "
                "feature averages 0 over the batch. "
                if stays
                else ""
            )
            + "Features on different scales are not brought to one scale either; the largest of them governs mean and "
            "variance of all.",
            {"mean_of_the_highest_feature": means[2, top].item()},
        ),
    ]


def _backward(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    grad_y = first_output(batch.x)
    grad_x, grad_gamma, grad_beta = layer_norm_backward(grad_y, forward, batch.gamma, eps)
    by_batch = batch_norm_train(batch.x, batch.gamma, batch.beta, eps)
    batch_grad, _, _ = batch_norm_train_backward(grad_y, by_batch, batch.gamma, eps)
    reached = [("batch norm", batch_grad), ("layer norm", grad_x)]
    two_features = len(batch.names) == 2 and is_small(forward.var[0], eps)
    return [
        Heading("6. Backward: the gradient stays in the example"),
        loss_of_the_first_output(batch),
        grad_beta_table(batch, grad_beta),
        grad_gamma_table(batch, grad_gamma),
        grad_x_table(
            batch, grad_x, ("g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_f(g) - x_hat mean_f(g x_hat))")
        ),
        Table(
            "reached_by_the_gradient",
            "largest magnitude of d x in each example",
            [name for name, _ in reached],
            [(row, [grad[index].abs().max().item() for _, grad in reached]) for index, row in enumerate(batch.rows)],
            corner="example",
        ),
        Text(
            "The gradient stays in the first example and spreads over its features; under batch normalization it "
            "stays in the feature and spreads over the examples. Along the row it sums to 0, since a shift of the "
            "example changes nothing, and all but for eps it has no part along x_hat, since a scale of it changes "
            "nothing either."
            + (" With two features nothing else is left, and the gradient is 0 but for eps." * two_features)
            if largest_magnitude(grad_x) > 0
            else f"The gamma of {batch.names[0]} is 0, and nothing reaches x."
        ),
        *_sum_of_all_outputs(batch, forward, eps),
    ]


def _sum_of_all_outputs(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    """Say why the loss of the lesson on batch normalization would show nothing here, where all gammas are alike."""
    if batch.gamma.min() != batch.gamma.max():
        return []
    grad_y = torch.zeros_like(batch.x)
    grad_y[0] = 1
    grad_x, _, _ = layer_norm_backward(grad_y, forward, batch.gamma, eps)
    return [
        Text(
            "The loss of the lesson on batch normalization, the sum of all outputs of the first example, would give "
            f"no gradient at all here (largest magnitude {largest_magnitude(grad_x):.2g}): with one gamma for all "
            "features that sum is the sum of beta, whatever x is.",
            {"largest_gradient_of_the_sum": largest_magnitude(grad_x)},
        )
    ]


def _against_torch(batch: BatchTensors, forward: Normalized, eps: float) -> Text:
    """Run torch's own module on the same numbers and say how far it is from the formulas."""
    module = nn.LayerNorm(batch.x.shape[1], eps=eps, dtype=torch.float64)
    module.load_state_dict({"weight": batch.gamma, "bias": batch.beta})
    ours = forward.y, *layer_norm_backward(first_output(batch.x), forward, batch.gamma, eps)
    return against_torch("torch.nn.LayerNorm", ours, torch_results(module, batch.x))
