"""The lesson `batchnorm`: the algorithm step by step on a small matrix, forward, at inference and backward.

Two articles have worked examples of it. What they print is kept here as text, because the number of digits is part of
the claim, and each number is computed again and judged.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson, Text
from bnexp.lessons import tables, tensors
from bnexp.lessons.matrix_file import counted_names
from bnexp.lessons.played import MOST_EXAMPLES, OFFSET, batch_norm_play
from bnexp.lessons.prose import compose
from bnexp.lessons.request import BUILT_IN, Request
from bnexp.lessons.tensors import BatchTensors, initial_parameters
from bnexp.norms import reference
from bnexp.norms.reference import Normalized


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request."""
    batch, eps, momentum = tensors.tensors_of(request.batch), request.eps, request.momentum
    forward = reference.batch_norm_train(batch.x, batch.gamma, batch.beta, eps)
    examples, features = batch.x.shape
    constant = tensors.does_not_vary(batch.x, dim=0)
    ones, zeros = initial_parameters(features)
    running = reference.batch_norm_running(zeros, ones, forward, examples, momentum)
    grad_y = torch.zeros_like(batch.x)
    grad_y[0] = 1
    gradients = reference.batch_norm_train_backward(grad_y, forward, batch.gamma, eps)
    reaches_x = tensors.largest_magnitude(gradients[0]) > 0
    article = {"000": _moderator, "002": _understanding}.get(request.as_published or "")
    printed, judgment = article(batch, forward) if article else ([], {})
    return compose(
        __name__,
        [*_tables(batch, forward, running, gradients, eps), batch_norm_play(), *printed],
        source=batch.source,
        examples=str(examples),
        features=str(features),
        unbiased_over_biased=examples / (examples - 1),
        constant=tensors.names_in_words([name for name, same in zip(batch.names, constant, strict=True) if same]),
        variance=tables.said_of_variance("column", "feature", batch.names, forward.var, ~constant, eps),
        momentum=momentum,
        keras_momentum=1 - momentum,
        offset=f"{OFFSET:g}",
        most_examples=str(MOST_EXAMPLES),
        inference_over_training=((examples - 1) / examples) ** 0.5,
        reaches_x=reaches_x,
        nothing_left=reaches_x and examples == 2 and tensors.is_small(forward.var, eps),
        against_torch=_against_torch(batch, (forward.y, *gradients), running, request),
        example_000=request.as_published == "000",
        example_002=request.as_published == "002",
        eps_in_words=f"{eps:g}",
        **_what_is_seen(request, batch, forward.x_hat),
        **judgment,
    )


def _what_is_seen(request: Request, batch: BatchTensors, x_hat: Tensor) -> dict[str, object]:
    """Return what sentences say of the built-in matrix, and which normalized value is the farthest from 0."""
    farthest, widths = x_hat.abs().amax(dim=0), batch.x.amax(dim=0) - batch.x.amin(dim=0)
    built_in = request.batch.rows is BUILT_IN.rows
    return {
        "built_in": built_in,
        "wider": f"{(widths[1] / widths[0]).item():g}" if built_in else "",
        "varies": not tensors.does_not_vary(batch.x, dim=0).all(),
        "farthest": farthest.max().item(),
        "farthest_of": batch.names[int(farthest.argmax())],
        "farthest_possible": (len(x_hat) - 1) ** 0.5,
    }


def _tables(
    batch: BatchTensors, forward: Normalized, running: Sequence[Tensor], gradients: Sequence[Tensor], eps: float
) -> list[Table]:
    show, known = partial(tables.batch_table, batch), partial(tables.known_table, batch)
    unbiased = forward.var * len(batch.x) / (len(batch.x) - 1)
    at_inference = partial(reference.batch_norm_inference, batch.x, batch.gamma, batch.beta, eps=eps)
    grad_x, grad_gamma, grad_beta = gradients
    of_running_var = "(1 - momentum) running_var", "  + momentum var B / (B - 1)"
    of_output = "y = gamma (x - running_mean)", "  / sqrt(running_var + eps) + beta"
    in_the_end = "running_mean = mean", "running_var = var B / (B - 1)"
    of_grad_x = "d x = gamma / sqrt(var + eps)", "  (dy - mean_b(dy) - x_hat mean_b(dy x_hat))"
    return [
        known("x", batch.x, f"(B, F) = {tuple(batch.x.shape)}"),
        show("mean", "mean", forward.mean, "mean = 1/B sum_b x[b]"),
        show("var_biased", "variance, biased: divided by B", forward.var, "var = 1/B sum_b (x[b] - mean)^2"),
        show("var_unbiased", "variance, unbiased: divided by B - 1", unbiased, "var B / (B - 1)"),
        known("x_hat", forward.x_hat, "x_hat = (x - mean) / sqrt(var + eps)", f"eps = {eps:g}"),
        known("gamma", batch.gamma),
        known("beta", batch.beta),
        known("y", forward.y),
        show("running_mean", "running mean", running[0], "(1 - momentum) running_mean + momentum mean"),
        show("running_var", "running variance, of the unbiased one", running[1], *of_running_var),
        show("y_inference", "output at inference", at_inference(*running), *of_output),
        show("y_inference_limit", "output at inference, in the end", at_inference(forward.mean, unbiased), *in_the_end),
        known("grad_beta", grad_beta),
        known("grad_gamma", grad_gamma),
        known("grad_x", grad_x, *of_grad_x),
    ]


def _against_torch(
    batch: BatchTensors, in_training: Sequence[Tensor], running: tuple[Tensor, Tensor], request: Request
) -> Text:
    module = nn.BatchNorm1d(len(batch.names), eps=request.eps, momentum=request.momentum, dtype=torch.float64)
    theirs = tensors.torch_results(module, batch.x, (batch.gamma, batch.beta), lambda y: y[0].sum())
    theirs += [module.running_mean, module.running_var, module.eval()(batch.x)]
    at_inference = reference.batch_norm_inference(batch.x, batch.gamma, batch.beta, *running, request.eps)
    return tensors.against_torch("torch.nn.BatchNorm1d", [*in_training, *running, at_inference], theirs)


def judge(printed: str, computed: float) -> str:
    """Tell whether a printed number is the computed one to its digits: `right`, or what it should be.

    That is `cut: ...` where digits were cut off instead of rounded, else `wrong: ...`.
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
Article = tuple[list[Table], dict[str, object]]
"""What the page shows of an article: tables, and the values that its sentences name."""


def _moderator(batch: BatchTensors, forward: Normalized) -> Article:
    """Article 000, `Batch Normalization is like A Human Moderator`: right numbers, beside code that gives others."""
    rows = [
        ("mean", ("5.0", "6.0", "7.0", "8.0"), forward.mean),
        ("variance", ("10.6667",) * 4, forward.var),
        *_examples("output", [("-1.2247",) * 4, ("0.0000",) * 4, ("1.2247",) * 4], forward.y),
    ]
    in_code = reference.batch_norm_unbiased(batch.x, batch.gamma, batch.beta, Request.eps)
    of_var, of_y = "X.var(dim=0)", "(X - mean) / sqrt(X.var(dim=0) + eps)"
    shown = [
        _judged("printed in the article, and whether it is right", rows),
        tables.batch_table(batch, "var_in_code", "variance in its code", in_code.var, of_var),
        tables.batch_table(batch, "y_in_code", "output of its code", in_code.y, of_y),
    ]
    talk = torch.tensor([2.0, 5.0, 8.0], dtype=torch.float64)
    from_mean = (talk - talk.mean()).tolist()
    return shown, {
        "divisor_in_code": str(len(batch.x) - 1),
        "variance_in_code": f"{in_code.var[0].item():.4f}",
        "variance_printed": f"{forward.var[0].item():.4f}",
        "minutes_mean": talk.mean().item(),
        "minutes_from_mean": from_mean,
        "minutes_below": f"{-from_mean[0]:.0f}",
    }


def _understanding(batch: BatchTensors, forward: Normalized) -> Article:
    """Article 002, `Understanding Batch Normalization in Deep Learning`: digits cut off, and carried on."""
    printed = [("-1.336", "-1.224", "-1.112"), ("0.5", "0.0", "-0.5"), ("2.336", "1.224", "0.112")]
    rows = [
        *_examples("normalized", [("-1.224",) * 3, ("0.0",) * 3, ("1.224",) * 3], forward.x_hat),
        *_examples("output", printed, forward.y),
    ]
    peak, cut = forward.x_hat[2, 0].item(), 1.224
    gamma, beta = batch.gamma.tolist(), batch.beta.tolist()
    return [_judged("printed in `Understanding Batch Normalization in Deep Learning`", rows)], {
        "peak": f"{peak:.4f}",
        "peak_rounded": f"{peak:.3f}",
        "cut": cut,
        "gamma_1": f"{gamma[0]:g}",
        "beta_1": f"{beta[0]:g}",
        "carried_on": [scale * cut + shift for scale, shift in zip(gamma, beta, strict=True)],
        "output": f"{forward.y[2, 0].item():.4f}",
        "var_of_x_hat_with_eps": (forward.var / (forward.var + Request.eps)).tolist(),
    }


def _examples(quantity: str, printed: Sequence[Sequence[str]], computed: Tensor) -> list[Printed]:
    return [(f"{quantity}, example {row + 1}", words, computed[row]) for row, words in enumerate(printed)]


def _judged(title: str, rows: Sequence[Printed]) -> Table:
    names = counted_names(len(rows[0][1]))
    values = [
        {"quantity": quantity, "feature": name, "printed": word, "computed": number, "verdict": judge(word, number)}
        for quantity, words, computed in rows
        for name, word, number in zip(names, words, computed.tolist(), strict=True)
    ]
    cells = [f"{value['printed']} {value['verdict']}" for value in values]
    shown = [(row[0], cells[at * len(names) : (at + 1) * len(names)]) for at, row in enumerate(rows)]
    return number_table("printed", title, names, shown, values=values)
