"""The lesson `coupling`: how an example's output moves with its companions, and what comes of it.

Ioffe & Szegedy 2015, section 3.4, see a regularizer in it, https://arxiv.org/abs/1502.03167; Luo et al. 2019 derive
one for a single layer, https://arxiv.org/abs/1809.00846; Wu & He 2018 show what small batches cost, https://arxiv.org/abs/1803.08494
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Table, Text, histogram
from bnexp.document.numerals import Cell, decimal
from bnexp.lessons.request import Request
from bnexp.lessons.sorted_batches import batches_of_one_class
from bnexp.lessons.tensors import first_output, initial_parameters, largest_difference, standard_normal, torch_results
from bnexp.norms.reference import (
    Normalized,
    batch_norm_train,
    batch_norm_train_backward,
    layer_norm,
    layer_norm_backward,
)

_DRAWS, _FEATURES = 1000, 4
_SIZES = (2, 4, 8, 32, 128)
_WATCHED = 1.0
"""The first feature of the watched example: one true standard deviation above the mean."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on examples whose features are drawn with mean 0 and standard deviation 1."""
    generator = torch.Generator().manual_seed(request.seed)
    example = standard_normal(generator, 1, _FEATURES)
    example[0, 0] = _WATCHED
    of_8, of_6 = (torch.cat([example, standard_normal(generator, count, _FEATURES)]) for count in (7, 5))
    parts = [
        *_companions(example, generator),
        *_one_large(of_8),
        *_gradients(of_6),
        _against_torch(of_6),
        *batches_of_one_class(generator),
        *_what_of_it(),
    ]
    return Lesson(
        "coupling",
        "in training an example's companions move its output, less in a larger batch",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --name coupled",
                "bnexp probe coupled --probe coupling --set data.batch_size=8",
                "bnexp probe coupled --probe coupling --set data.batch_size=128",
                "bnexp train configs/demo.yaml --set model.norm=ln --name uncoupled",
                "bnexp probe uncoupled --probe coupling",
            ),
            "The weights are the same in the first two probes, only the number of companions differs. "
            "`coupling_relative` says how far an example's logits move with them, in standard deviations of the "
            "logits: much less at 128 than at 8 with random companions, and hardly less with companions sorted by "
            "class. With ln all figures are 0.",
        ),
    )


def _batch_norm(x: Tensor) -> Normalized:
    return batch_norm_train(x, *initial_parameters(x.shape[1]))


def _layer_norm(x: Tensor) -> Normalized:
    return layer_norm(x, *initial_parameters(x.shape[1]))


def outputs_among_companions(example: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the first feature of an example (1, F) in batches with other companions each time.

    Returns:
        Its output under batch and under layer normalization, (draws,) each.
    """
    features = example.shape[1]
    companions = standard_normal(generator, size - 1, _DRAWS * features)
    x = torch.cat([example.repeat(1, _DRAWS), companions])  # (B, draws F): the batches side by side
    by_batch = _batch_norm(x).y[0].view(_DRAWS, features)
    by_layer = _layer_norm(x.view(size * _DRAWS, features)).y.view(size, _DRAWS, features)[0]
    return by_batch[:, 0], by_layer[:, 0]


def _companions(example: Tensor, generator: torch.Generator) -> list[Part]:
    edges = [-2 + 0.4 * one for one in range(11)]
    rows: list[tuple[str, Sequence[Cell]]] = []
    series: dict[str, Tensor] = {}
    for size in _SIZES:
        batch, by_layer = outputs_among_companions(example, size, generator)
        spread = batch.std().item()
        rows.append(
            (
                str(size),
                [batch.mean().item(), spread, (1.5 / size) ** 0.5, (by_layer.amax() - by_layer.amin()).item()],
            )
        )
        if size in (2, 8, 128):
            series[f"B = {size}"] = batch
    return [
        Heading("1. The same example, other companions"),
        Text(
            f"One example stays, and its companions are drawn anew {_DRAWS:,} times, with mean 0 and standard "
            f"deviation 1. The example's feature is x = {_WATCHED:g}. By the true mean and variance its output would "
            f"be {_WATCHED:g}, too. In training it is:"
        ),
        Table(
            "companions",
            f"output of the example, over {_DRAWS:,} batches",
            ("mean", "std under bn", "expected", "range under ln"),
            rows,
            ("expected = sqrt((1 + x^2 / 2) / B), for large B", "range: largest less smallest"),
            corner="B",
        ),
        histogram("outputs", "output of the example under bn", edges, series),
        Text(
            "The mean that is subtracted scatters by 1 / sqrt(B), and the standard deviation that is divided by "
            "scatters too; hence the formula. With B = 2 the output is -1 or 1 but for eps: it says whether the one "
            "companion is larger, and nothing more. Layer normalization looks at no companion, so nothing moves."
        ),
    ]


def _one_large(x: Tensor) -> list[Part]:
    columns = ("example 1", "example 2", "example 3", "the last one", "std of the others", "example 1 under ln")
    rows: list[tuple[str, Sequence[Cell]]] = []
    for value in (0.0, 10.0, 100.0, 1000.0):
        changed = x.clone()
        changed[-1, 0] = value
        y = _batch_norm(changed).y[:, 0]
        spread = y[:-1].std(unbiased=False).item()
        rows.append((f"{value:g}", [*y[:3].tolist(), y[-1].item(), spread, _layer_norm(changed).y[0, 0].item()]))
    bound = (len(x) - 1) ** 0.5
    return [
        Heading("2. One companion far away"),
        Table(
            "one_large",
            f"outputs in a batch of {len(x)} whose last example has a large value",
            columns,
            rows,
            corner="value",
        ),
        Text(
            f"A single large value raises mean and standard deviation, and all others are pressed together: their "
            f"differences, which the layers above need, all but vanish. The large one itself ends at most "
            f"sqrt(B - 1) = {decimal(bound)} away from 0, whatever its size.",
            {"farthest": bound},
        ),
    ]


def _gradients(x: Tensor) -> list[Part]:
    upstream, (ones, _) = first_output(x), initial_parameters(x.shape[1])
    of_batch = batch_norm_train_backward(upstream, _batch_norm(x), ones)[0][:, 0]
    of_layer = layer_norm_backward(upstream, _layer_norm(x), ones)[0][:, 0]
    rows: list[tuple[str, Sequence[Cell]]] = [
        (f"example {number + 1}", cells)
        for number, cells in enumerate(torch.stack([x[:, 0], of_batch, of_layer], dim=1).tolist())
    ]
    total = of_batch.sum().item()
    return [
        Heading("3. The gradient reaches the companions"),
        Table(
            "gradients",
            f"d y[1] / d x[j], in a batch of {len(x)}",
            ("x[j]", "under bn", "under ln"),
            rows,
            ("y[1]: output of example 1", "first feature of each"),
        ),
        Text(
            "Under batch normalization the output of example 1 depends on every x[j], so that its loss trains the "
            f"layers below on the other examples as well. The gradients sum to 0 ({total:.1e}), since adding the same "
            "to all changes nothing. Under layer normalization the others get exactly 0.",
            {"sum_of_gradients": total},
        ),
    ]


def _against_torch(x: Tensor) -> Text:
    upstream, (ones, _) = first_output(x), initial_parameters(x.shape[1])
    ours: list[Tensor] = []
    theirs: list[Tensor | None] = []
    for forward, backward, module in (
        (_batch_norm(x), batch_norm_train_backward, nn.BatchNorm1d(_FEATURES, dtype=x.dtype)),
        (_layer_norm(x), layer_norm_backward, nn.LayerNorm(_FEATURES, dtype=x.dtype)),
    ):
        ours += [forward.y, *backward(upstream, forward, ones)]
        theirs += torch_results(module, x)
    difference = largest_difference(ours, theirs)
    return Text(
        "On this batch torch.nn.BatchNorm1d and LayerNorm, forward and backward, differ from the formulas by "
        f"{difference:.1e} at most.",
        {"difference_to_torch": difference},
    )


def _what_of_it() -> list[Part]:
    return [
        Heading("5. Noise, good or bad"),
        Text(
            "To the layers above the scatter is noise. Ioffe & Szegedy 2015 see a regularizer in it, and Luo et al. "
            "2019 derive one for a single layer. How much of the benefit of batch normalization comes from it is not "
            "settled, and the numbers above do not measure it. What they show: the noise is there in training only; "
            "it fades as 1 / sqrt(B), so that whoever changes the batch size changes it too; and companions that are "
            "far away or all of one class do more than add noise."
        ),
    ]
