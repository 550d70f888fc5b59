"""The lesson `batchnorm`: the algorithm step by step on a small matrix, forward, at inference and backward."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Text
from bnexp.document.numerals import decimal
from bnexp.lessons.articles import article_parts
from bnexp.lessons.request import Request
from bnexp.lessons.tables import (
    grad_beta_table,
    grad_gamma_table,
    grad_x_table,
    input_table,
    matrix,
    normalized_table,
    scale_and_shift,
)
from bnexp.lessons.tensors import BatchTensors, compared_with_torch, largest_magnitude, names_in_words, tensors_of
from bnexp.lessons.weight_of_eps import does_not_vary, is_small, said_of_variance
from bnexp.norms.reference import (
    Normalized,
    batch_norm_inference,
    batch_norm_running,
    batch_norm_train,
    batch_norm_train_backward,
)


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request."""
    batch = tensors_of(request.batch)
    forward = batch_norm_train(batch.x, batch.gamma, batch.beta, request.eps)
    parts = [
        *_statistics(batch, forward),
        *_normalized(batch, forward, request.eps),
        *_inference(batch, forward, request),
        *_backward(batch, forward, request.eps),
        _against_torch(batch, request),
        *(article_parts(request.as_published, batch, forward) if request.as_published else ()),
    ]
    return Lesson(
        "batchnorm",
        "each feature of a batch is brought to mean 0 and variance 1, then scaled and shifted",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --set model.norm=bn --name with_bn",
                "bnexp train configs/demo.yaml --set model.norm=none --name without",
                "bnexp compare with_bn without --target 0.9",
            ),
            "Same weights at the start, same batches: what differs is the normalization. Look at the curves, and at "
            "the epochs that each needs to 90 % of validation accuracy.",
        ),
    )


def _statistics(batch: BatchTensors, forward: Normalized) -> list[Part]:
    examples = len(batch.x)
    unbiased = forward.var * examples / (examples - 1)
    return [
        Text(
            f"X is {batch.source}: B = {examples} examples (rows) of {batch.x.shape[1]} features (columns). Each "
            "column is treated by itself, and all that follows looks down the columns, over the examples of the "
            "batch."
        ),
        input_table(batch),
        Heading("1. Mean and variance of each feature over the batch"),
        matrix("mean", "mean", forward.mean, batch.names, formula=("mean = 1/B sum_b x[b]",)),
        matrix(
            "var_biased",
            "variance, biased: divided by B",
            forward.var,
            batch.names,
            formula=("var = 1/B sum_b (x[b] - mean)^2",),
        ),
        matrix(
            "var_unbiased",
            "variance, unbiased: divided by B - 1",
            unbiased,
            batch.names,
            formula=("var B / (B - 1)",),
        ),
        Text(
            "The network normalizes by the biased variance, as Ioffe & Szegedy 2015 and torch.nn.BatchNorm1d do. The "
            f"unbiased one, which torch's `X.var(dim=0)` gives, is B / (B - 1) = {decimal(examples / (examples - 1))} "
            "times as large; batch normalization keeps it only in its running average, for inference (step 4).",
            {"unbiased_over_biased": examples / (examples - 1)},
        ),
        *_without_variance(batch),
    ]


def _without_variance(batch: BatchTensors) -> list[Part]:
    """Name the features that do not vary, which normalization cannot bring to variance 1."""
    constant = [name for name, same in zip(batch.names, does_not_vary(batch.x, dim=0), strict=True) if same]
    if not constant:
        return []
    return [
        Text(
            f"Without any variance: {names_in_words(constant)}. There x - mean is 0, but for rounding, and eps alone "
            "stands under the root, so that the output is beta, whatever gamma is."
        )
    ]


def _normalized(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    return [
        Heading("2. Normalize"),
        normalized_table(batch, forward.x_hat, "x_hat = (x - mean) / sqrt(var + eps)", eps),
        *said_of_variance("column", "feature", batch.names, forward.var, ~does_not_vary(batch.x, dim=0), eps),
        Heading("3. Scale and shift, by two numbers per feature that the network learns"),
        *scale_and_shift(batch, forward.y),
    ]


def _inference(batch: BatchTensors, forward: Normalized, request: Request) -> list[Part]:
    examples, momentum = len(batch.x), request.momentum
    mean, var = torch.zeros_like(batch.gamma), torch.ones_like(batch.gamma)  # as a fresh network begins
    mean, var = batch_norm_running(mean, var, forward, examples, momentum)
    first = batch_norm_inference(batch.x, batch.gamma, batch.beta, mean, var, request.eps)
    return [
        Heading("4. At inference: running averages in place of the batch"),
        Text(
            "One example has no variance, and what a network answers must not depend on what else is asked. So in "
            f"training running averages are kept, from 0 and 1 on; the momentum {momentum:g} is the weight of the new "
            f"batch, as in PyTorch (Keras calls {1 - momentum:g} by that name). After this one batch:",
            {"momentum": momentum, "keras_momentum": 1 - momentum},
        ),
        matrix(
            "running_mean",
            "running mean",
            mean,
            batch.names,
            formula=("(1 - momentum) running_mean + momentum mean",),
        ),
        matrix(
            "running_var",
            "running variance, of the unbiased one",
            var,
            batch.names,
            formula=("(1 - momentum) running_var", "  + momentum var B / (B - 1)"),
        ),
        matrix(
            "y_inference",
            "output at inference",
            first,
            batch.names,
            batch.rows,
            ("y = gamma (x - running_mean)", "  / sqrt(running_var + eps) + beta"),
        ),
        *_inference_in_the_end(batch, forward, request.eps),
    ]


def _inference_in_the_end(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    """Show the outputs once the running averages are those of batches like this one."""
    examples = len(batch.x)
    unbiased = forward.var * examples / (examples - 1)
    last = batch_norm_inference(batch.x, batch.gamma, batch.beta, forward.mean, unbiased, eps)
    ratio = ((examples - 1) / examples) ** 0.5
    return [
        Text(
            "That is far from the output in training wherever the averages are still far from the batch. After many "
            "such batches they are its mean and its unbiased variance, and the output at inference is:"
        ),
        matrix(
            "y_inference_limit",
            "output at inference, in the end",
            last,
            batch.names,
            batch.rows,
            ("running_mean = mean", "running_var = var B / (B - 1)"),
        ),
        Text(
            f"Even then it is not the output in training: sqrt((B - 1) / B) = {decimal(ratio)} times the normalized "
            "value. For a batch of 128 nobody sees that; for one of 2 everybody does. `bnexp explain "
            "training-vs-inference` goes on from here.",
            {"inference_over_training": ratio},
        ),
    ]


def _backward(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    grad_y = _upstream(batch.x)
    grad_x, grad_gamma, grad_beta = batch_norm_train_backward(grad_y, forward, batch.gamma, eps)
    return [
        Heading("5. Backward: the gradient knows of the normalization"),
        Text(
            "Let the loss be the sum of the outputs of the first example alone, so that dy, its gradient by y, is 1 "
            "in the first row and 0 elsewhere."
        ),
        grad_beta_table(batch, grad_beta),
        grad_gamma_table(batch, grad_gamma),
        grad_x_table(batch, grad_x, ("d x = gamma / sqrt(var + eps)", "  (dy - mean_b(dy) - x_hat mean_b(dy x_hat))")),
        Text(_of_the_gradient(batch, forward, grad_x, eps)),
    ]


def _of_the_gradient(batch: BatchTensors, forward: Normalized, grad_x: Tensor, eps: float) -> str:
    if largest_magnitude(grad_x) == 0:
        return "gamma is 0, and no gradient reaches x."
    text = (
        "The gradient reaches all examples, although the loss looks at the first alone: mean and variance are made of "
        "all of them. Down each column it sums to 0, since a shift of the column changes nothing, and all but for eps "
        "it has no part along x_hat, since a scale of it changes nothing either."
    )
    if len(batch.x) == 2 and is_small(forward.var, eps):
        text += " Of two examples these two parts are all there is, and what is left is due to eps."
    return text


def _upstream(x: Tensor) -> Tensor:
    grad_y = torch.zeros_like(x)
    grad_y[0] = 1
    return grad_y


def _against_torch(batch: BatchTensors, request: Request) -> Text:
    """Run torch's own module on the same numbers and say how far it is from the formulas."""
    module = nn.BatchNorm1d(batch.x.shape[1], eps=request.eps, momentum=request.momentum, dtype=torch.float64)
    module.load_state_dict({"weight": batch.gamma, "bias": batch.beta}, strict=False)
    x = batch.x.clone().requires_grad_()
    y = module(x)
    y[0].sum().backward()
    forward = batch_norm_train(batch.x, batch.gamma, batch.beta, request.eps)
    start = torch.zeros_like(batch.gamma), torch.ones_like(batch.gamma)
    mean, var = batch_norm_running(*start, forward, len(x), request.momentum)
    at_inference = batch_norm_inference(batch.x, batch.gamma, batch.beta, mean, var, request.eps)
    ours = (
        forward.y,
        *batch_norm_train_backward(_upstream(x), forward, batch.gamma, request.eps),
        mean,
        var,
        at_inference,
    )
    theirs: Sequence[Tensor | None] = (
        y,
        x.grad,
        module.weight.grad,
        module.bias.grad,
        module.running_mean,
        module.running_var,
        module.eval()(batch.x),
    )
    return compared_with_torch("torch.nn.BatchNorm1d", ours, theirs)
