"""The lesson `coupling`: how an example's output moves with its companions, and what follows from it.

Ioffe & Szegedy 2015, section 3.4, see a regularizer in it, https://arxiv.org/abs/1502.03167; Luo et al. 2019 derive
one for a single layer, https://arxiv.org/abs/1809.00846; Wu & He 2018 show what small batches cost, https://arxiv.org/abs/1803.08494
"""

import torch
from torch import Tensor, nn

from bnexp.document.figure import histogram
from bnexp.document.table import Table, number_table
from bnexp.document.values import Lesson, Text
from bnexp.lessons.prose import Placed, compose
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import (
    against_torch,
    batch_norm,
    first_output,
    initial_parameters,
    share,
    standard_normal,
    torch_results,
)
from bnexp.norms import reference

DRAWS, FEATURES = 1000, 4
WATCHED = 1.0  # the first feature of the watched example: one true standard deviation above the mean
BATCH_SIZE, BATCHES, CENTER, STD = 32, 100, 2.0, 0.5  # of the two classes


def lesson(request: Request) -> Lesson:
    """Return the lesson on examples whose features are drawn with mean 0 and standard deviation 1."""
    generator = torch.Generator().manual_seed(request.seed)
    example = standard_normal(generator, 1, FEATURES)
    example[0, 0] = WATCHED
    batch_of_8, batch_of_6 = (torch.cat([example, standard_normal(generator, count, FEATURES)]) for count in (7, 5))
    parts = _other_companions(example, generator)
    of_gradients, sum_of_gradients, against = _gradients(batch_of_6)
    centers = torch.tensor([-CENTER, CENTER], dtype=torch.float64).view(2, 1, 1)
    x = STD * standard_normal(generator, 2, BATCHES, BATCH_SIZE) + centers  # batches of class A, and of class B
    (a, more_of_a), (b, more_of_b) = (batches.chunk(2, dim=1) for batches in x)
    mixed = torch.cat([torch.cat([a, more_of_b], dim=1), torch.cat([more_of_a, b], dim=1)])  # A first, then as many B
    within = x.var(dim=2).mean()
    inferred = reference.batch_norm_inference(x, *initial_parameters(1), x.mean(), within)
    return compose(
        __name__,
        [*parts, _one_large_companion(batch_of_8), of_gradients, *_outputs_of_classes(x, mixed)],
        farthest=(len(batch_of_8) - 1) ** 0.5,
        sum_of_gradients=sum_of_gradients,
        against_torch=against,
        std_of_a_class=STD,
        variance_within=within.item(),
        variance_mixed=mixed.var(dim=1).mean().item(),
        means_at_inference=[values.mean().item() for values in inferred],
    )


def _layer_norm(x: Tensor) -> Tensor:
    return reference.layer_norm(x, *initial_parameters(x.shape[1])).y


def outputs_among_companions(example: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the first output of an example (1, F) under batch and under layer normalization, (DRAWS,) each.

    It is in batches of a size, with other companions each time.
    """
    features = example.shape[1]
    companions = standard_normal(generator, size - 1, DRAWS * features)
    x = torch.cat([example.repeat(1, DRAWS), companions])  # (B, DRAWS F): the batches side by side
    by_batch = batch_norm(x).y[0].view(DRAWS, features)
    by_layer = _layer_norm(x.view(size * DRAWS, features)).view(size, DRAWS, features)[0]
    return by_batch[:, 0], by_layer[:, 0]


def _other_companions(example: Tensor, generator: torch.Generator) -> list[Placed]:
    title = f"output of the example, over {DRAWS:,} batches"
    columns = "mean", "std under bn", "expected", "range under ln"
    formula = "expected = sqrt((1 + x^2 / 2) / B), for large B", "range: largest less smallest"
    rows, outputs = [], {}
    for size in (2, 4, 8, 32, 128):
        by_batch, by_layer = outputs_among_companions(example, size, generator)
        range_under_ln = (by_layer.amax() - by_layer.amin()).item()
        cells = [by_batch.mean().item(), by_batch.std().item(), (1.5 / size) ** 0.5, range_under_ln]
        rows.append((str(size), cells))
        outputs[f"B = {size}"] = by_batch
    edges = [-2 + 0.4 * number for number in range(11)]
    shown = {name: outputs[name] for name in ("B = 2", "B = 8", "B = 128")}
    return [
        number_table("companions", title, columns, rows, formula, corner="B"),
        histogram("outputs", "output of the example under bn", edges, shown),
    ]


def _one_large_companion(x: Tensor) -> Table:
    columns = "example 1", "example 2", "example 3", "the last one", "std of the others", "example 1 under ln"
    rows = []
    for value in (0.0, 10.0, 100.0, 1000.0):
        changed = x.clone()
        changed[-1, 0] = value
        y = batch_norm(changed).y[:, 0]
        spread = y[:-1].std(unbiased=False).item()
        by_layer = _layer_norm(changed)[0, 0].item()
        rows.append((f"{value:g}", [*y[:3].tolist(), y[-1].item(), spread, by_layer]))
    title = f"outputs in a batch of {len(x)} whose last example has a large value"
    return number_table("one_large", title, columns, rows, corner="value")


def _gradients(x: Tensor) -> tuple[Table, float, Text]:
    """Return the gradients of the first output of example 1, their sum under bn, and how far torch's are from them."""
    upstream, (ones, zeros) = first_output(x), initial_parameters(FEATURES)
    by_batch, by_layer = batch_norm(x), reference.layer_norm(x, ones, zeros)
    under_bn = reference.batch_norm_train_backward(upstream, by_batch, ones)
    under_ln = reference.layer_norm_backward(upstream, by_layer, ones)
    columns = torch.stack([x[:, 0], under_bn[0][:, 0], under_ln[0][:, 0]], dim=1)
    rows = [(f"example {number}", cells) for number, cells in enumerate(columns.tolist(), start=1)]
    formula = "y[1]: output of example 1", "first feature of each"
    title = f"d y[1] / d x[j], in a batch of {len(x)}"
    modules = nn.BatchNorm1d(FEATURES, dtype=x.dtype), nn.LayerNorm(FEATURES, dtype=x.dtype)
    ours = [by_batch.y, *under_bn, by_layer.y, *under_ln]
    theirs = [result for module in modules for result in torch_results(module, x)]
    return (
        number_table("gradients", title, ("x[j]", "under bn", "under ln"), rows, formula),
        under_bn[0][:, 0].sum().item(),
        against_torch("Each of torch.nn.BatchNorm1d and torch.nn.LayerNorm", ours, theirs),
    )


def normalized(batches: Tensor) -> Tensor:
    """Return batches (K, B) of one feature, each normalized by itself."""
    return batch_norm(batches.T).y.T


def _outputs_of_classes(x: Tensor, mixed: Tensor) -> list[Placed]:
    halves, of_one_class = normalized(mixed).chunk(2, dim=1), normalized(x.flatten(0, 1)).chunk(2)
    outputs: dict[str, Tensor] = {}
    rows = []
    for name, classes in (("mixed", halves), ("sorted", of_one_class)):
        a, b = (values.flatten() for values in classes)
        outputs |= {f"A {name}": a, f"B {name}": b}
        right = (share(a < 0) + share(b >= 0)) / 2
        rows.append((name, [a.mean().item(), b.mean().item(), a.std().item(), right]))
    columns = "mean of A", "mean of B", "std of A", "told apart by the sign"
    edges = [-2.5 + 0.5 * number for number in range(11)]
    return [
        number_table("sorted_batches", "output in training", columns, rows, corner="batches"),
        histogram("outputs_of_classes", "outputs of the classes in mixed and in sorted batches", edges, outputs),
    ]
