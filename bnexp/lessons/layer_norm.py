"""The lesson `layernorm`: each example by its own mean and variance, beside batch normalization on the same matrix.

Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450
"""

import torch
from torch import nn

from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson
from bnexp.lessons.image_norms import BATCH_NORM, LAYER_NORM, regions
from bnexp.lessons.prose import compose
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import Walk, against_modules, refuse_one_feature, spread
from bnexp.lessons.tables import matrix, said_of_variance
from bnexp.lessons.tensors import does_not_vary, is_small, largest_magnitude, names_in_words, tensors_of

_SAME = 1e-3
"""Rows of normalized values that differ by less are called the same."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request."""
    batch, eps = tensors_of(request.batch), request.eps
    refuse_one_feature(batch, "layer normalization", "beta")
    walk = Walk(LAYER_NORM, BATCH_NORM, batch, eps)
    x, var, x_hat, names = batch.x, walk.forward.var, walk.forward.x_hat, batch.names
    alone, by_layer, by_batch = walk.of(x[:1]).y, walk.first_example(LAYER_NORM), walk.first_example(BATCH_NORM)
    labels = ["alone", "in this batch", "other examples doubled"]
    labels = [*(f"layer norm, {label}" for label in labels), *(f"batch norm, {label}" for label in labels[1:])]
    changed = torch.cat([x_hat[:1], walk.of(10 * x[:1] + 5).x_hat])
    means = torch.stack([values.mean(dim=0) for values in (x, walk.beside.x_hat, x_hat)])
    mean_title, mean_labels = "mean of each feature over the examples", ("X", "after batch norm", "after layer norm")
    apart = {"input": spread(x), "layer_norm": spread(x_hat), "batch_norm": spread(walk.beside.x_hat)}
    constant = does_not_vary(x, dim=1)
    highest = int(x_hat.amin(dim=0).argmax())
    gradient = largest_magnitude(walk.gradients[0])
    tables = [
        *walk.tables(),
        *_tables(walk),
        matrix("output_of_example_1", "output of example 1", torch.cat([alone, by_layer, by_batch]), names, labels),
        matrix("shift_and_scale", "example 1, normalized", changed, names, ("x", "10 x + 5")),
        matrix("mean_of_each_feature", mean_title, means, names, mean_labels),
    ]
    return compose(
        __name__,
        [regions("regions", x.shape, (BATCH_NORM, LAYER_NORM)), *tables],
        **walk.words,
        variance=said_of_variance("row", "example", batch.rows, var.flatten(), ~constant, eps),
        constant=names_in_words([row for row, is_constant in zip(batch.rows, constant, strict=True) if is_constant]),
        same=apart["layer_norm"] < _SAME <= apart["input"] and is_small(var, eps),
        rows_apart=apart,
        change_by_companions={"layer_norm": spread(by_layer), "batch_norm": spread(by_batch)},
        alone_against_in_the_batch=largest_magnitude(alone[0] - by_layer[0]),
        forgets=is_small(var[0], eps),
        difference_by_shift_and_scale=spread(changed),
        stays_above=x_hat[:, highest].min().item() > _SAME,
        highest=names[highest],
        mean_of_the_highest_feature=means[2, highest].item(),
        reaches_x=gradient > 0,
        nothing_left=gradient > 0 and len(names) == 2 and is_small(var[0], eps),
        first=names[0],
        largest_gradient_of_the_sum=_gradient_of_the_sum(walk),
        one_gamma=_gradient_of_the_sum(walk) is not None,
        against_torch=against_modules([(walk, nn.LayerNorm(len(names), eps=eps, dtype=torch.float64))]),
    )


def _tables(walk: Walk) -> list[Table]:
    mean, var = (values.flatten().tolist() for values in (walk.forward.mean, walk.forward.var))
    formula = "mean = 1/F sum_f x[:, f]", "var = 1/F sum_f (x[:, f] - mean)^2"
    statistics = list(zip(walk.batch.rows, zip(mean, var, strict=True), strict=True))
    values, title = {"mean": mean, "var": var}, "mean and variance, biased: divided by F"
    of_reached = "largest magnitude of d x in each example"
    gradients = [grad.abs().amax(dim=1) for grad in (walk.grad_x_beside, walk.gradients[0])]
    reached = list(zip(walk.batch.rows, torch.stack(gradients, dim=1).tolist(), strict=True))
    return [
        number_table("statistics", title, list(values), statistics, formula, values=values),
        number_table("reached_by_the_gradient", of_reached, ("batch norm", "layer norm"), reached, corner="example"),
    ]


def _gradient_of_the_sum(walk: Walk) -> float | None:
    """Return the largest gradient of the sum of the first example's outputs; None where gammas differ."""
    if walk.batch.gamma.min() != walk.batch.gamma.max():
        return None
    grad_y = torch.zeros_like(walk.batch.x)
    grad_y[0] = 1
    return largest_magnitude(walk.backward(grad_y)[0])
