"""The lesson `groupnorm`: between layer and instance normalization, on a matrix and on two small images."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.errors import ConfigError
from bnexp.lessons.lesson import Experiment, Heading, Lesson, Part, Table, Text
from bnexp.lessons.regions import MOST_FEATURES, image_regions, matrix_regions, of_batch, of_example, of_group
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import refuse_one_feature
from bnexp.lessons.small_images import (
    BATCH_NORM,
    CHANNELS,
    GROUP_NORM,
    IMAGE_NORMS,
    ROWS,
    SHAPE,
    image_table,
    small_images,
)
from bnexp.lessons.tables import input_table, matrix, normalized_table, scale_and_shift
from bnexp.lessons.tensors import (
    BatchTensors,
    compared_with_torch,
    first_output,
    first_output_of,
    initial_parameters,
    largest_magnitude,
    tensors_of,
)
from bnexp.lessons.views.numerals import decimal
from bnexp.norms.reference import Normalized, group_norm, group_norm_backward

_MOST_NAMED = 16
"""Numbers of groups that a message names."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request, then on two small images.

    Raises:
        ConfigError: the groups do not divide the features, or leave a single value in each.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494
    """
    batch = tensors_of(request.batch)
    groups = groups_of(batch, request.groups)
    forward = group_norm(batch.x, batch.gamma, batch.beta, groups, request.eps)
    x = small_images()
    parts = [
        *_statistics(batch, forward, groups),
        *_normalized(batch, forward, groups, request.eps),
        *_images(x, request.eps),
        *_ends(x, request.eps),
        *_companions(x, request.eps),
        *_backward(x, request.eps),
        Heading("6. In a network"),
        Text(
            "The bias of the layer before it stays: it is a number per channel, and the mean over a group takes away "
            "only what its channels have in common. How many groups is one more number to choose; Wu & He 2018 take "
            "32, and report errors on ImageNet within a percentage point of each other for 2 to 64 groups."
        ),
        _against_torch(batch, forward, x, request.eps),
    ]
    return Lesson(
        "groupnorm",
        "the channels of each example in groups, each brought to mean 0 and variance 1",
        parts,
        Experiment(
            (
                "bnexp train configs/demo.yaml --set 'model.norm=gn(groups=4)' --set data.batch_size=2 --name gn_2",
                "bnexp train configs/demo.yaml --set model.norm=bn --set data.batch_size=2 --name bn_2",
                "bnexp compare gn_2 bn_2 --target 0.8",
            ),
            "Two examples a batch: of two values batch normalization keeps little more than which is the larger. Look "
            "at the accuracy that each reaches. A run takes about a minute, for it has 14,400 steps.",
        ),
    )


def groups_of(batch: BatchTensors, groups: int | None) -> int:
    """Return the number of groups: what was asked for, else the smallest that makes several groups of several features.

    Raises:
        ConfigError: it does not divide the features, or leaves a single value in each group.
    """
    refuse_one_feature(batch, "group normalization", "beta")
    features = batch.x.shape[1]
    fitting = [count for count in range(1, features // 2 + 1) if features % count == 0]
    if groups is None:
        return fitting[min(1, len(fitting) - 1)]
    if groups in fitting:
        return groups
    words = [str(count) for count in fitting[:_MOST_NAMED]]
    expected = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    if groups == features:
        raise ConfigError(
            f"--groups {groups}: each of {groups} groups would hold 1 of the {features} features of {batch.source} and "
            f"give beta, whatever the input; expected {expected}"
        )
    raise ConfigError(
        f"--groups {groups}: does not divide the {features} features of {batch.source}; expected {expected}"
    )


def _statistics(batch: BatchTensors, forward: Normalized, groups: int) -> list[Part]:
    examples, features = batch.x.shape
    drawn = of_group(features, groups) if features <= MOST_FEATURES else of_group(MOST_FEATURES, min(groups, 2))
    norms = {"batch norm": of_batch, "layer norm": of_example, "group norm": drawn}
    names = [f"group {group + 1}" for group in range(groups)]
    formula = "1/|S| sum_S x", "1/|S| sum_S (x - mean)^2"
    return [
        Text(
            f"X is {batch.source}: B = {examples} examples (rows) of F = {features} features (columns), the channels "
            f"of this lesson, in G = {groups} {'group' if groups == 1 else 'groups'} of {features // groups} "
            "neighbors. Each group S of each example has a mean and a variance of its own."
            + (" With one group, that is layer normalization." if groups == 1 else "")
        ),
        input_table(batch),
        matrix_regions("regions", examples, features, norms),
        Heading("1. A matrix in groups"),
        matrix("mean", "mean of each group", forward.mean, names, batch.rows, (formula[0],)),
        matrix("var", "variance of each group, biased", forward.var, names, batch.rows, (formula[1],)),
    ]


def _normalized(batch: BatchTensors, forward: Normalized, groups: int, eps: float) -> list[Part]:
    values = batch.x.shape[1] // groups
    parts: list[Part] = [normalized_table(batch, forward.x_hat, "x_hat = (x - mean) / sqrt(var + eps)", eps)]
    if values == 2:
        parts.append(
            Text(
                "A group of two values a and b has the mean (a + b) / 2 and the variance ((a - b) / 2)^2, so that -1 "
                "and 1 are left, but for eps, whatever a and b are: which of the two is larger, and nothing else (0 "
                "and 0 where they are equal). The groups of a network hold more."
            )
        )
    return [
        *parts,
        *scale_and_shift(batch, forward.y),
    ]


def _images(x: Tensor, eps: float) -> list[Part]:
    norms = {
        "batch norm": of_batch,
        "layer norm": of_example,
        "group norm": of_group(CHANNELS, 2),
        "instance norm": of_group(CHANNELS, CHANNELS),
    }
    picture = image_regions("regions_of_images", SHAPE, norms)
    counted = picture.numbers["regions_of_images"]
    assert isinstance(counted, dict)  # noqa: S101  for the type checker
    return [
        Heading("2. Two images: four ways to share"),
        image_table(
            "images",
            "images X",
            x,
            (
                f"(N, C, H, W) = {SHAPE}",
                "x[n, c, h, w] =",
                "  (n + 2 c + 1) (2 h + w + 1) mod 13",
                "  (indices from 0)",
            ),
            digits=0,
        ),
        picture,
        Table(
            "statistics_of_images",
            "how many means, and of how many values each",
            ("means", "values each", "values each, in letters"),
            [
                (name, (counted[name]["statistics"], counted[name]["values_per_statistic"], letters))
                for name, letters in zip(norms, ("N H W", "C H W", "C H W / G", "H W"), strict=True)
            ],
            corner="norm",
        ),
        Text(
            "Each channel has an image's rows and columns to average over, so that even a group of one channel holds "
            f"{x[0, 0].numel()} values here. Only batch normalization has N, the size of the batch, among them."
        ),
        image_table(
            "y_of_images", "group norm, 2 groups", GROUP_NORM.x_hat(x, eps), ("gamma = 1, beta = 0", f"eps = {eps:g}")
        ),
    ]


def _ends(x: Tensor, eps: float) -> list[Part]:
    ones, zeros = initial_parameters(CHANNELS)
    layer, instance = functional.layer_norm(x, x.shape[1:], eps=eps), functional.instance_norm(x, eps=eps)
    counts = [count for count in range(1, CHANNELS + 1) if CHANNELS % count == 0]
    rows = [
        (
            f"groups={count}",
            [largest_magnitude(group_norm(x, ones, zeros, count, eps).y - one) for one in (layer, instance)],
        )
        for count in counts
    ]
    return [
        Heading("3. Layer and instance normalization are its two ends"),
        Table(
            "distance_to_the_ends",
            "largest difference of the outputs on X",
            ("to layer norm", "to instance norm"),
            rows,
            corner="group norm",
        ),
        Text(
            "One group is layer normalization over (C, H, W), a group per channel is instance normalization; what lies "
            "between is neither. One thing differs even then: torch.nn.LayerNorm over (C, H, W) has a gamma and a beta "
            f"for each of the {x[0].numel()} values, group normalization one for each of the {CHANNELS} channels."
        ),
    ]


def _companions(x: Tensor, eps: float) -> list[Part]:
    batches = {
        "image 1 alone": x[:1],
        "with image 2": x,
        "with image 2, doubled": torch.cat([x[:1], 2 * x[1:]]),
        "with three times image 2": torch.cat([x[:1], x[1:], x[1:], x[1:]]),
    }
    rows = []
    for name, batch in batches.items():
        rows.append((name, [norm.x_hat(batch, eps)[0, 0, 0, 0].item() for norm in (BATCH_NORM, GROUP_NORM)]))
    changes = [max(cells[one] for _, cells in rows) - min(cells[one] for _, cells in rows) for one in (0, 1)]
    return [
        Heading("4. Why it exists: the size of the batch"),
        Table(
            "first_output_by_companions",
            "the first output of image 1, in four batches",
            ("batch norm", "group norm"),
            rows,
            corner="batch",
        ),
        Text(
            "Group normalization does not look at the other images: its output changes by "
            f"{changes[1]:.2g}, that of batch normalization by up to {decimal(changes[0])}. The fewer the examples of "
            "a batch, the more its mean and variance depend on which they are, and the farther they are from the "
            "running averages that inference uses. Where memory allows only a few images at a time, as in detection "
            "and segmentation, this is what Wu & He 2018 meant to mend. Training and inference are the same "
            "computation here, without running averages.",
            {"change_by_companions": {"batch_norm": changes[0], "group_norm": changes[1]}},
        ),
    ]


def _backward(x: Tensor, eps: float) -> list[Part]:
    (ones, _), grad_y = initial_parameters(CHANNELS), first_output(x)
    gradients = [norm.gradient(x, ones, eps, grad_y).flatten(2).abs().amax(dim=2).flatten() for norm in IMAGE_NORMS]
    cells = torch.stack(gradients, dim=1).tolist()
    return [
        Heading("5. Backward: the gradient draws the same picture"),
        Text(
            "Let the loss be the first output of image 1, channel 1. Whatever shares its mean and variance gets a "
            "gradient, and nothing else does."
        ),
        Table(
            "reached_by_the_gradient",
            "largest magnitude of d x",
            [norm.name for norm in IMAGE_NORMS],
            list(zip(ROWS, cells, strict=True)),
            ("g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_S(g)", "   - x_hat mean_S(g x_hat))"),
        ),
    ]


def _against_torch(batch: BatchTensors, forward: Normalized, x: Tensor, eps: float) -> Text:
    """Run torch's own module on the same numbers, matrix and images, and say how far it is from all of the above."""
    module = nn.GroupNorm(forward.var.shape[1], batch.x.shape[1], eps=eps, dtype=torch.float64)
    module.load_state_dict({"weight": batch.gamma, "bias": batch.beta})
    of_images = x.clone().requires_grad_()
    y_of_images = functional.group_norm(of_images, 2, eps=eps)
    y_of_images[0, 0, 0, 0].backward()
    ours = (
        forward.y,
        *group_norm_backward(first_output(batch.x), forward, batch.gamma, eps),
        GROUP_NORM.x_hat(x, eps),
        GROUP_NORM.gradient(x, initial_parameters(CHANNELS)[0], eps, first_output(x)),
    )
    theirs = *first_output_of(module, batch.x), y_of_images, of_images.grad
    return compared_with_torch("torch.nn.GroupNorm", ours, theirs)
