"""The lesson `coupling`: how an example's output moves with its companions, and what follows from it.

Ioffe & Szegedy 2015, section 3.4, see a regularizer in it, https://arxiv.org/abs/1502.03167; Luo et al. 2019 derive
one for a single layer, https://arxiv.org/abs/1809.00846; Wu & He 2018 show what small batches cost, https://arxiv.org/abs/1803.08494
"""

import torch
from torch import Tensor, nn

from bnexp.document.figure import histogram
from bnexp.document.table import number_table
from bnexp.document.values import Heading, Lesson, Part, Text, TryIt, text
from bnexp.lessons.request import Request
from bnexp.lessons.tensors import (
    against_torch,
    first_output,
    initial_parameters,
    standard_normal,
    torch_results,
)
from bnexp.norms.reference import (
    Normalized,
    batch_norm_inference,
    batch_norm_train,
    batch_norm_train_backward,
    layer_norm,
    layer_norm_backward,
)

DRAWS, FEATURES = 1000, 4
WATCHED = 1.0  # the first feature of the watched example: one true standard deviation above the mean
BATCH_SIZE, BATCHES, CENTER, STD = 32, 100, 2.0, 0.5  # of the two classes


def lesson(request: Request) -> Lesson:
    """Return the lesson on examples whose features are drawn with mean 0 and standard deviation 1."""
    generator = torch.Generator().manual_seed(request.seed)
    example = standard_normal(generator, 1, FEATURES)
    example[0, 0] = WATCHED
    batch_of_8, batch_of_6 = (torch.cat([example, standard_normal(generator, count, FEATURES)]) for count in (7, 5))
    return Lesson(
        "coupling",
        "in training an example's companions move its output, less in a larger batch",
        [
            *_other_companions(example, generator),
            *_one_large_companion(batch_of_8),
            *_gradients(batch_of_6),
            *batches_of_one_class(generator),
            Heading("5. Noise, good or bad"),
            Text(
                "To the layers above, the scatter is noise. Ioffe & Szegedy 2015 see a regularizer in it, and Luo et "
                "al. 2019 derive one for a single layer. How much of the benefit of batch normalization comes from it "
                "is not settled, and the numbers above do not measure it. They do show that the noise is there in "
                "training only; that it fades as 1 / sqrt(B), so that whoever changes the batch size changes the noise "
                "too; and that companions that are far away or all of one class do more than add noise."
            ),
        ],
        TryIt(
            (
                "bnexp train configs/demo.yaml --name coupled",
                "bnexp probe coupled --probe coupling --set data.batch_size=8",
                "bnexp probe coupled --probe coupling --set data.batch_size=128",
                "bnexp train configs/demo.yaml --set model.norm=ln --name uncoupled",
                "bnexp probe uncoupled --probe coupling",
            ),
            "The weights are the same in the first two probes; only the number of companions differs. "
            "`coupling_relative` tells how far an example's logits move with them, in standard deviations of the "
            "logits: much less at 128 than at 8 with random companions, and hardly less with companions sorted by "
            "class. With ln all figures are 0.",
        ),
    )


def _batch_norm(x: Tensor) -> Normalized:
    return batch_norm_train(x, *initial_parameters(x.shape[1]))


def _layer_norm(x: Tensor) -> Normalized:
    return layer_norm(x, *initial_parameters(x.shape[1]))


def outputs_among_companions(example: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the first feature of an example (1, F) in batches of a size, with other companions each time.

    Returns:
        Its output under batch and under layer normalization, (DRAWS,) each.
    """
    features = example.shape[1]
    companions = standard_normal(generator, size - 1, DRAWS * features)
    x = torch.cat([example.repeat(1, DRAWS), companions])  # (B, DRAWS F): the batches side by side
    by_batch = _batch_norm(x).y[0].view(DRAWS, features)
    by_layer = _layer_norm(x.view(size * DRAWS, features)).y.view(size, DRAWS, features)[0]
    return by_batch[:, 0], by_layer[:, 0]


def _other_companions(example: Tensor, generator: torch.Generator) -> list[Part]:
    rows, outputs = [], {}
    for size in (2, 4, 8, 32, 128):
        by_batch, by_layer = outputs_among_companions(example, size, generator)
        spread_under_ln = (by_layer.amax() - by_layer.amin()).item()
        cells = [by_batch.mean().item(), by_batch.std().item(), (1.5 / size) ** 0.5, spread_under_ln]
        rows.append((str(size), cells))
        outputs[f"B = {size}"] = by_batch
    edges = [-2 + 0.4 * number for number in range(11)]
    return [
        Heading("1. The same example, other companions"),
        Text(
            f"One example stays, and its companions are drawn anew {DRAWS:,} times, with mean 0 and standard deviation "
            f"1. The example's feature is x = {WATCHED:g}. By the true mean and variance its output would be "
            f"{WATCHED:g}, too. In training it is:"
        ),
        number_table(
            "companions",
            f"output of the example, over {DRAWS:,} batches",
            ("mean", "std under bn", "expected", "range under ln"),
            rows,
            ("expected = sqrt((1 + x^2 / 2) / B), for large B", "range: largest less smallest"),
            corner="B",
        ),
        histogram(
            "outputs",
            "output of the example under bn",
            edges,
            {name: outputs[name] for name in ("B = 2", "B = 8", "B = 128")},
        ),
        Text(
            "The mean that is subtracted scatters by 1 / sqrt(B), and the standard deviation that is divided by "
            "scatters, too; hence the formula. With B = 2 the output is -1 or 1, except for eps: it tells whether the "
            "one companion is larger, and nothing more. Layer normalization looks at no companion, so nothing moves."
        ),
    ]


def _one_large_companion(x: Tensor) -> list[Part]:
    rows = []
    for value in (0.0, 10.0, 100.0, 1000.0):
        changed = x.clone()
        changed[-1, 0] = value
        y = _batch_norm(changed).y[:, 0]
        spread = y[:-1].std(unbiased=False).item()
        rows.append((f"{value:g}", [*y[:3].tolist(), y[-1].item(), spread, _layer_norm(changed).y[0, 0].item()]))
    return [
        Heading("2. One companion far away"),
        number_table(
            "one_large",
            f"outputs in a batch of {len(x)} whose last example has a large value",
            ("example 1", "example 2", "example 3", "the last one", "std of the others", "example 1 under ln"),
            rows,
            corner="value",
        ),
        text(
            "A single large value raises mean and standard deviation, and all other outputs are pressed together: "
            "their differences, which the layers above need, all but vanish. The large one itself ends at most "
            "sqrt(B - 1) = {farthest} away from 0, whatever its size.",
            farthest=(len(x) - 1) ** 0.5,
        ),
    ]


def _gradients(x: Tensor) -> list[Part]:
    upstream, (ones, _) = first_output(x), initial_parameters(FEATURES)
    by_batch, by_layer = _batch_norm(x), _layer_norm(x)
    under_bn = batch_norm_train_backward(upstream, by_batch, ones)
    under_ln = layer_norm_backward(upstream, by_layer, ones)
    columns = torch.stack([x[:, 0], under_bn[0][:, 0], under_ln[0][:, 0]], dim=1)
    return [
        Heading("3. The gradient reaches the companions"),
        number_table(
            "gradients",
            f"d y[1] / d x[j], in a batch of {len(x)}",
            ("x[j]", "under bn", "under ln"),
            [(f"example {number}", cells) for number, cells in enumerate(columns.tolist(), start=1)],
            ("y[1]: output of example 1", "first feature of each"),
        ),
        text(
            "Under batch normalization the output of example 1 depends on every x[j], so that its loss trains the "
            "layers below on the other examples as well. The gradients sum to 0 ({sum_of_gradients:.1e}), since adding "
            "the same to all x[j] changes nothing. Under layer normalization the others get exactly 0.",
            sum_of_gradients=under_bn[0][:, 0].sum().item(),
        ),
        against_torch(
            "Each of torch.nn.BatchNorm1d and torch.nn.LayerNorm",
            [by_batch.y, *under_bn, by_layer.y, *under_ln],
            [
                *torch_results(nn.BatchNorm1d(FEATURES, dtype=x.dtype), x),
                *torch_results(nn.LayerNorm(FEATURES, dtype=x.dtype), x),
            ],
        ),
    ]


def normalized(batches: Tensor) -> Tensor:
    """Return batches (K, B) of one feature, each normalized by itself."""
    return _batch_norm(batches.T).y.T


def batches_of_one_class(generator: torch.Generator) -> list[Part]:
    """Normalize two classes in mixed batches and in batches of one class each."""
    noise = STD * standard_normal(generator, 2, BATCHES, BATCH_SIZE)
    x = noise + torch.tensor([-CENTER, CENTER], dtype=torch.float64).view(2, 1, 1)  # class, batch of it, example
    half = BATCH_SIZE // 2
    mixed = torch.cat([torch.cat([x[0, :, :half], x[1, :, half:]], 1), torch.cat([x[0, :, half:], x[1, :, :half]], 1)])
    y_mixed, y_sorted = normalized(mixed), normalized(x.flatten(0, 1))  # (2 BATCHES, BATCH_SIZE) each
    outputs = {
        "A mixed": y_mixed[:, :half].flatten(),
        "B mixed": y_mixed[:, half:].flatten(),
        "A sorted": y_sorted[:BATCHES].flatten(),
        "B sorted": y_sorted[BATCHES:].flatten(),
    }
    rows = []
    for name in ("mixed", "sorted"):
        a, b = outputs[f"A {name}"], outputs[f"B {name}"]
        right = ((a < 0).double().mean() + (b >= 0).double().mean()).item() / 2
        rows.append((name, [a.mean().item(), b.mean().item(), a.std().item(), right]))
    within = x.var(dim=2).mean()
    inferred = batch_norm_inference(x, *initial_parameters(1), x.mean(), within)
    edges = [-2.5 + 0.5 * number for number in range(11)]
    return [
        Heading("4. Batches that are not mixed"),
        text(
            f"Two classes, A around {-CENTER:g} and B around {CENTER:g}, each with standard deviation "
            "{std_of_a_class:g}, "
            f"come in batches of {BATCH_SIZE}: mixed, half of each class; or sorted, of one class only.",
            std_of_a_class=STD,
        ),
        number_table(
            "sorted_batches",
            "output in training",
            ("mean of A", "mean of B", "std of A", "told apart by the sign"),
            rows,
            corner="batches",
        ),
        histogram("outputs_of_classes", "outputs of the classes in mixed and in sorted batches", edges, outputs),
        text(
            "In a sorted batch the mean that is subtracted is the class's own, and with it goes the difference between "
            "the classes: half of the signs are right, by chance. At inference something else happens. If batches of A "
            "and B take turns, the running mean is that of both, but the running variance is that within a class, "
            "{variance_within}, where mixed batches give {variance_mixed}. The class means then come out as "
            "{means_at_inference[0]} and {means_at_inference[1]}, which the layers above have never seen. So each "
            "batch in training should be drawn from the whole data.",
            variance_within=within.item(),
            variance_mixed=mixed.var(dim=1).mean().item(),
            means_at_inference=[values.mean().item() for values in inferred],
        ),
    ]
