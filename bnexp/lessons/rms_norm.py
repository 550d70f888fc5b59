"""The lesson `rmsnorm`: layer normalization without the mean, and what the mean was good for.

Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson
from bnexp.document.writing import decimal
from bnexp.lessons.image_norms import BATCH_NORM, LAYER_NORM, RMS_NORM, ImageNorm, regions
from bnexp.lessons.prose import Placed, compose
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import Walk, against_modules, refuse_one_feature, spread
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import NEGLIGIBLE, is_small, largest_magnitude, tensors_of
from bnexp.norms.reference import Normalized

_MOST_COMPARED = 4
"""Examples that the table of both norms shows."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request, which has no beta."""
    batch, eps = tensors_of(request.batch), request.eps
    refuse_one_feature(batch, "RMS normalization", "gamma times its sign")
    walk = Walk(RMS_NORM, LAYER_NORM, replace(batch, beta=torch.zeros_like(batch.beta)), eps)
    x, ms, x_hat = batch.x, walk.forward.var, walk.forward.x_hat
    share = (walk.beside.mean**2 / ms.clamp_min(torch.finfo(torch.float64).tiny)).flatten().tolist()
    means = x_hat.mean(dim=1)
    apart = {"rms_norm": spread(x_hat), "layer_norm": spread(walk.beside.x_hat)}
    centered = x - x.mean(dim=1, keepdim=True)
    changed = {norm: walk.of(torch.cat([x[:1], 10 * x[:1], x[:1] + 5]), norm) for norm in (RMS_NORM, LAYER_NORM)}
    by_shift, tables_of_changes = _of_changes(changed, batch.names)
    parts: list[Placed] = [
        *walk.tables(),
        *_tables(walk),
        *tables_of_changes,
        regions("regions", x.shape, (BATCH_NORM, replace(LAYER_NORM, name="layer norm, RMS norm"))),
    ]
    return compose(
        __name__,
        parts,
        **walk.words,
        has_share=max(share) > NEGLIGIBLE,
        example=batch.rows[share.index(max(share))],
        mean_squared_over_ms=share,
        largest_mean_squared_over_ms=max(share),
        eps=eps,
        ms_of_x_hat=(ms / (ms + eps)).flatten().tolist(),
        least_ms_of_x_hat=(ms / (ms + eps)).min().item(),
        least=decimal((ms / (ms + eps)).min().item(), 6),
        mean_of_x_hat=means.tolist(),
        zeros=not ms.all(),
        off_center=largest_magnitude(means) > eps,
        farthest=decimal(means[means.abs().argmax()].item()),
        far_off=bool(ms.all()) and not is_small(ms, eps),
        rows_apart=apart,
        kept=apart["rms_norm"] > 10 * apart["layer_norm"] + NEGLIGIBLE,
        difference_on_rows_of_mean_0=largest_magnitude(walk.of(centered, LAYER_NORM).x_hat - walk.of(centered).x_hat),
        forgets=is_small(torch.stack([forward.var[0] for forward in changed.values()]), eps),
        by_shift=decimal(by_shift),
        change_by_companions={
            "rms_norm": spread(walk.first_example(RMS_NORM)),
            "batch_norm": spread(walk.first_example(BATCH_NORM)),
        },
        against_torch=against_modules([(walk, nn.RMSNorm(len(batch.names), eps=eps, dtype=torch.float64))]),
    )


def _of_changes(changed: Mapping[ImageNorm, Normalized], names: Sequence[str]) -> tuple[float, list[Placed]]:
    """Return what a shift changes in RMS norm, and the tables of x, 10 x and x + 5 after both norms."""
    changes = {
        norm.name: [largest_magnitude(row - forward.x_hat[0]) for row in forward.x_hat[1:]]
        for norm, forward in changed.items()
    }
    columns, changed_by = ("10 x in place of x", "x + 5 in place of x"), "largest change of x_hat in example 1"
    scaled, labels = changed[RMS_NORM].x_hat, ("x", "10 x", "x + 5")
    return changes[RMS_NORM.name][1], [
        matrix("shift_and_scale", "example 1, normalized", scaled, names, labels),
        number_table("changed_by", changed_by, columns, list(changes.items()), corner="norm"),
    ]


def _tables(walk: Walk) -> list[Table]:
    rows, forward, layer = walk.batch.rows, walk.forward, walk.beside
    names, norms = ("ms", "mean^2", "var"), (LAYER_NORM.name, RMS_NORM.name)
    columns = [values.flatten() for values in (forward.var, layer.mean**2, layer.var)]
    statistics = list(zip(rows, torch.stack(columns, dim=1).tolist(), strict=True))
    formula = "ms = 1/F sum_f x[:, f]^2", "ms = mean^2 + var"
    values = {name: column.tolist() for name, column in zip(names, columns, strict=True)}
    both = torch.stack([layer.x_hat, forward.x_hat], dim=1)[:_MOST_COMPARED].flatten(0, 1)
    labels = [f"{row}, {norm}" for row in rows[:_MOST_COMPARED] for norm in norms]
    first = (walk.grad_x_beside[0], layer.x_hat[0]), (walk.gradients[0][0], forward.x_hat[0])
    sums = [(grad.sum().item(), (grad * x_hat).sum().item()) for grad, x_hat in first]
    of_gradient, gradients = ("its sum", "along x_hat"), list(zip(norms, sums, strict=True))
    return [
        number_table("statistics", "mean square, and what it is made of", names, statistics, formula, values=values),
        matrix("x_hat_of_both", "x_hat of both, on the same rows", both, walk.batch.names, labels),
        number_table("gradient_of_example_1", "gradient of example 1", of_gradient, gradients, corner="norm"),
    ]
