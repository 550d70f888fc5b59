"""The lesson `batchnorm`: the algorithm step by step on a small matrix, forward, at inference and backward.

Two articles have worked examples of it. What they print is kept here as text, because the number of digits is part of
the claim, and each number is computed again and judged.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from bnexp.document.table import Table, number_table
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.lessons import tables
from bnexp.lessons.matrix_file import counted_names
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import (
    BatchTensors,
    against_torch,
    does_not_vary,
    initial_parameters,
    is_small,
    largest_magnitude,
    names_in_words,
    tensors_of,
    torch_results,
)
from bnexp.norms import reference
from bnexp.norms.reference import Normalized, batch_norm_inference, batch_norm_train

_ARTICLES_EPS = 1e-5


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request."""
    batch = tensors_of(request.batch)
    forward = batch_norm_train(batch.x, batch.gamma, batch.beta, request.eps)
    parts = [*_forward(batch, forward, request.eps), *_inference(batch, forward, request)]
    parts += _backward(batch, forward, request)
    if request.as_published:
        parts += {"000": _moderator, "002": _understanding}[request.as_published](batch, forward)
    return Lesson(
        "batchnorm",
        "each feature of a batch is brought to mean 0 and variance 1, then scaled and shifted",
        parts,
        TryIt(
            (
                "bnexp train configs/demo.yaml --set model.norm=bn --name with_bn",
                "bnexp train configs/demo.yaml --set model.norm=none --name without",
                "bnexp compare with_bn without --target 0.9",
            ),
            "Both start from the same weights and see the same batches; only the normalization differs. Look at the "
            "curves, and at the epochs that each needs to reach 90 % validation accuracy.",
        ),
    )


def _forward(batch: BatchTensors, forward: Normalized, eps: float) -> list[Part]:
    examples, features = batch.x.shape
    show = partial(tables.batch_table, batch)
    unbiased = forward.var * examples / (examples - 1)
    same = does_not_vary(batch.x, dim=0)
    constant = names_in_words([name for name, is_same in zip(batch.names, same.tolist(), strict=True) if is_same])
    without_variance = (
        f"Without any variance: {constant}. There x - mean is 0, up to rounding, and only eps stands under the root. "
        "The output is beta, whatever gamma is."
    )
    return [
        Text(
            f"X is {batch.source}: B = {examples} examples (rows) of {features} features (columns). Each column is "
            "treated by itself: everything below looks down the columns, over the examples of the batch."
        ),
        tables.input_table(batch),
        Heading("1. Mean and variance of each feature over the batch"),
        show("mean", "mean", forward.mean, "mean = 1/B sum_b x[b]"),
        show("var_biased", "variance, biased: divided by B", forward.var, "var = 1/B sum_b (x[b] - mean)^2"),
        show("var_unbiased", "variance, unbiased: divided by B - 1", unbiased, "var B / (B - 1)"),
        text(
            "The network normalizes by the biased variance, as Ioffe & Szegedy 2015 and torch.nn.BatchNorm1d do. The "
            "unbiased variance, which torch's `X.var(dim=0)` gives, is B / (B - 1) = {unbiased_over_biased} times as "
            "large. Batch normalization uses it only in the running average, for inference (step 4).",
            unbiased_over_biased=examples / (examples - 1),
        ),
        *([Text(without_variance)] if constant else []),
        Heading("2. Normalize"),
        tables.normalized_table(batch, forward.x_hat, "x_hat = (x - mean) / sqrt(var + eps)", eps),
        *tables.said_of_variance("column", "feature", batch.names, forward.var, ~same, eps),
        Heading("3. Scale and shift, by two numbers per feature that the network learns"),
        *tables.scale_and_shift(batch, forward.y),
    ]


def _after_one_batch(batch: BatchTensors, forward: Normalized, momentum: float) -> tuple[Tensor, Tensor]:
    """Return the running mean and variance, (F,) each, of a new network that has seen only this batch."""
    ones, zeros = initial_parameters(batch.x.shape[1])
    return reference.batch_norm_running(zeros, ones, forward, len(batch.x), momentum)


def _inference(batch: BatchTensors, forward: Normalized, request: Request) -> list[Part]:
    show = partial(tables.batch_table, batch)
    examples, momentum, eps = len(batch.x), request.momentum, request.eps
    mean, var = _after_one_batch(batch, forward, momentum)
    unbiased = forward.var * examples / (examples - 1)
    first = batch_norm_inference(batch.x, batch.gamma, batch.beta, mean, var, eps)
    limit = batch_norm_inference(batch.x, batch.gamma, batch.beta, forward.mean, unbiased, eps)
    of_mean = "(1 - momentum) running_mean + momentum mean"
    of_var = "(1 - momentum) running_var", "  + momentum var B / (B - 1)"
    var_in_the_end = "running_var = var B / (B - 1)"
    of_y = "y = gamma (x - running_mean)", "  / sqrt(running_var + eps) + beta"
    return [
        Heading("4. At inference: running averages in place of the batch"),
        text(
            "A single example has no variance, and an answer must not depend on which other questions come with it. So "
            "training keeps running averages, which start at 0 and 1. The momentum {momentum:g} is the weight of the "
            "new batch, as in PyTorch (Keras calls {keras_momentum:g} the momentum). After this one batch:",
            momentum=momentum,
            keras_momentum=1 - momentum,
        ),
        show("running_mean", "running mean", mean, of_mean),
        show("running_var", "running variance, of the unbiased one", var, *of_var),
        show("y_inference", "output at inference", first, *of_y),
        Text(
            "This is far from the output in training wherever the averages are still far from the batch. After many "
            "such batches they are its mean and its unbiased variance, and the output at inference is:"
        ),
        show("y_inference_limit", "output at inference, in the end", limit, "running_mean = mean", var_in_the_end),
        text(
            "Even then it is not the output in training: the normalized value is sqrt((B - 1) / B) = "
            "{inference_over_training} times as large. With a batch of 128 nobody notices; with a batch of 2 everybody "
            "does. `bnexp explain training-vs-inference` continues from here.",
            inference_over_training=((examples - 1) / examples) ** 0.5,
        ),
    ]


def _backward(batch: BatchTensors, forward: Normalized, request: Request) -> list[Part]:
    x, gamma, beta, eps = batch.x, batch.gamma, batch.beta, request.eps
    grad_y = torch.zeros_like(x)
    grad_y[0] = 1
    grad_x, grad_gamma, grad_beta = reference.batch_norm_train_backward(grad_y, forward, gamma, eps)
    if largest_magnitude(grad_x) == 0:
        meaning = "gamma is 0, and no gradient reaches x."
    else:
        meaning = (
            "The gradient reaches all examples, although the loss looks only at the first: mean and variance are made "
            "of all of them. Down each column it sums to 0, since shifting the column changes nothing. Except for eps "
            "it has no part along x_hat, since scaling the column changes nothing either."
        )
        if len(x) == 2 and is_small(forward.var, eps):
            meaning += " With two examples nothing else remains: what is left is due to eps."
    of_grad_x = "d x = gamma / sqrt(var + eps)", "  (dy - mean_b(dy) - x_hat mean_b(dy x_hat))"
    module = nn.BatchNorm1d(x.shape[1], eps=eps, momentum=request.momentum, dtype=torch.float64)
    theirs = torch_results(module, x, (gamma, beta), lambda y: y[0].sum())
    theirs += [module.running_mean, module.running_var, module.eval()(x)]
    mean, var = _after_one_batch(batch, forward, request.momentum)
    ours = forward.y, grad_x, grad_gamma, grad_beta, mean, var, batch_norm_inference(x, gamma, beta, mean, var, eps)
    return [
        Heading("5. Backward: the gradient passes through mean and variance"),
        Text(
            "Let the loss be the sum of the outputs of the first example. Then dy, its gradient by y, is 1 in the "
            "first row and 0 elsewhere."
        ),
        tables.grad_beta_table(batch, grad_beta),
        tables.grad_gamma_table(batch, grad_gamma),
        tables.grad_x_table(batch, grad_x, of_grad_x),
        Text(meaning),
        against_torch("torch.nn.BatchNorm1d", ours, theirs),
    ]


def judge(printed: str, computed: float) -> str:
    """Tell whether a printed number is the computed one, to the digits printed.

    Returns:
        `right`; or `cut: ...` where digits were cut off instead of rounded, or `wrong: ...`, with what it should be.
    """
    digits = len(printed.partition(".")[2])
    expected = f"{computed:.{digits}f}"
    if float(expected) == 0:
        expected = expected.removeprefix("-")
    if expected == printed:
        return "right"
    off = abs(computed - float(printed)) * 10**digits
    return f"{'cut' if abs(float(printed)) < abs(computed) and off < 1 else 'wrong'}: {expected}"


Printed = tuple[str, Sequence[str], Tensor]
"""A row of an article's table: a quantity, as printed for each feature, and as computed here, (F,)."""


def _examples(quantity: str, printed: Sequence[Sequence[str]], computed: Tensor) -> list[Printed]:
    return [(f"{quantity}, example {row + 1}", words, computed[row]) for row, words in enumerate(printed)]


def _judged(title: str, rows: Sequence[Printed]) -> Table:
    """Return the table of an article's numbers with a verdict on each."""
    names = counted_names(len(rows[0][1]))
    values = [
        {"quantity": quantity, "feature": name, "printed": word, "computed": number, "verdict": judge(word, number)}
        for quantity, words, computed in rows
        for name, word, number in zip(names, words, computed.tolist(), strict=True)
    ]
    cells = [f"{value['printed']} {value['verdict']}" for value in values]
    shown = [(row[0], cells[at * len(names) : (at + 1) * len(names)]) for at, row in enumerate(rows)]
    return number_table("printed", title, names, shown, values=values)


def _moderator(batch: BatchTensors, forward: Normalized) -> list[Part]:
    """Article 000, `Batch Normalization is like A Human Moderator`: right numbers, beside code that gives others."""
    rows = [
        ("mean", ("5.0", "6.0", "7.0", "8.0"), forward.mean),
        ("variance", ("10.6667",) * 4, forward.var),
        *_examples("output", [("-1.2247",) * 4, ("0.0000",) * 4, ("1.2247",) * 4], forward.y),
    ]
    show = partial(tables.batch_table, batch)
    in_code = reference.batch_norm_unbiased(batch.x, batch.gamma, batch.beta, _ARTICLES_EPS)
    talk = torch.tensor([2.0, 5.0, 8.0], dtype=torch.float64)
    from_mean = (talk - talk.mean()).tolist()
    var, var_in_code = (f"{of.var[0].item():.4f}" for of in (forward, in_code))
    return [
        Heading("The article that this example is from, and where it disagrees with itself"),
        Text(
            "`Batch Normalization is like A Human Moderator` prints these numbers below its code, worked out by hand. "
            "All of them are right, for the biased variance:"
        ),
        _judged("printed in the article, and whether it is right", rows),
        Text(
            "But its code does not print them. It takes `X.var(dim=0)`, which in torch is the unbiased variance, "
            f"divided by B - 1 = {len(batch.x) - 1}: {var_in_code} in place of {var}. Run as it stands, it prints:"
        ),
        show("var_in_code", "variance in its code", in_code.var, "X.var(dim=0)"),
        show("y_in_code", "output of its code", in_code.y, "(X - mean) / sqrt(X.var(dim=0) + eps)"),
        Text(
            "A network normalizes by the biased variance, so it computes the printed numbers; the code does not. "
            "`X.var(dim=0, unbiased=False)` would correct it. The numbers of the code are what batch normalization "
            "gives at inference in the end (step 4)."
        ),
        text(
            "Its numbers of the moderator are right, too: from an average of {minutes_mean:.0f} minutes, 8 minutes are "
            "{minutes_from_mean[2]:.0f} above and 2 minutes {below} below.",
            minutes_mean=talk.mean().item(),
            minutes_from_mean=from_mean,
            below=f"{-from_mean[0]:.0f}",
        ),
    ]


def _understanding(batch: BatchTensors, forward: Normalized) -> list[Part]:
    """Article 002, `Understanding Batch Normalization in Deep Learning`: digits cut off, and carried on."""
    printed = [("-1.336", "-1.224", "-1.112"), ("0.5", "0.0", "-0.5"), ("2.336", "1.224", "0.112")]
    rows = [
        *_examples("normalized", [("-1.224",) * 3, ("0.0",) * 3, ("1.224",) * 3], forward.x_hat),
        *_examples("output", printed, forward.y),
    ]
    peak, cut = forward.x_hat[2, 0].item(), 1.224
    gamma, beta = batch.gamma.tolist(), batch.beta.tolist()
    return [
        Heading("The article that this example is from, number by number"),
        _judged("printed in `Understanding Batch Normalization in Deep Learning`", rows),
        text(
            f"Its method is right: biased variance, eps under the root. But it cut {peak:.4f} to {cut}, where rounding "
            f"gives {peak:.3f}, and went on with the cut number: {gamma[0]:g} x {cut} + {beta[0]:g} = "
            f"{{carried_on[0]:.3f}}, where {forward.y[2, 0].item():.4f} is right. That makes the last digit of two "
            "outputs wrong, and two more are cut themselves. By hand this does not matter. To check a program against "
            "it, it does: keep more digits than you print.",
            cut=cut,
            carried_on=[scale * cut + shift for scale, shift in zip(gamma, beta, strict=True)],
        ),
        Text(
            "The article names neither gamma nor beta. They follow from its table: beta is the output of the second "
            "example, whose normalized values are 0; gamma is the output of the third less beta, divided by its "
            "normalized value."
        ),
        text(
            f"And it says that normalizing ensures a variance of 1. With eps = {_ARTICLES_EPS:g} it is "
            "var / (var + eps) = {var_of_x_hat_with_eps[0]:.6f} here.",
            var_of_x_hat_with_eps=(forward.var / (forward.var + _ARTICLES_EPS)).tolist(),
        ),
    ]
