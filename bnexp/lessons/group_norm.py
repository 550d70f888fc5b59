"""The lesson `groupnorm`: between layer and instance normalization, on a matrix and on two small images.

Wu & He 2018, https://arxiv.org/abs/1803.08494
"""

import torch
from torch import nn
from torch.nn import functional

from bnexp.document.table import number_table
from bnexp.document.values import Lesson
from bnexp.errors import ConfigError
from bnexp.lessons import image_norms
from bnexp.lessons.image_norms import BATCH_NORM, CHANNELS, FOUR_NORMS, GROUP_NORM, LAYER_NORM, MOST_FEATURES, ROWS
from bnexp.lessons.prose import Placed, compose
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import Walk, against_modules, refuse_one_feature
from bnexp.lessons.tables import matrix
from bnexp.lessons.tensors import (
    BatchTensors,
    first_output,
    initial_parameters,
    is_small,
    largest_magnitude,
    tensors_of,
)

_MOST_NAMED = 16
"""Numbers of groups that a message names."""


def lesson(request: Request) -> Lesson:
    """Return the lesson on the matrix of the request, then on two small images."""
    batch, eps = tensors_of(request.batch), request.eps
    groups, features = groups_of(batch, request.groups), len(batch.names)
    walk = Walk(image_norms.by_groups("group norm", groups), BATCH_NORM, batch, eps)
    images = Walk(GROUP_NORM, BATCH_NORM, image_norms.two_images(*initial_parameters(CHANNELS)), eps)
    drawn = walk.norm if features <= MOST_FEATURES else image_norms.by_groups("group norm", min(groups, 2))
    names = [f"group {group + 1}" for group in range(groups)]
    mean, var = walk.forward.mean, walk.forward.var
    companions = _companions(images)
    by_batch, by_group = zip(*(outputs for _, outputs in companions), strict=True)
    title, norms = "the first output of image 1, in four batches", ("batch norm", "group norm")
    parts = [
        *walk.tables(backward=False),
        image_norms.regions("regions", batch.x.shape, (BATCH_NORM, LAYER_NORM, drawn)),
        matrix("mean", "mean of each group", mean, names, batch.rows, ("1/|S| sum_S x",)),
        matrix("var", "variance of each group, biased", var, names, batch.rows, ("1/|S| sum_S (x - mean)^2",)),
        *_of_images(images),
        number_table("first_output_by_companions", title, norms, companions, corner="batch"),
    ]
    of_matrix = nn.GroupNorm(groups, features, eps=eps, dtype=torch.float64)
    of_images = nn.GroupNorm(2, CHANNELS, eps=eps, affine=False)
    return compose(
        __name__,
        parts,
        **walk.words,
        groups="1 group" if groups == 1 else f"{groups} groups",
        neighbors=str(features // groups),
        one_group=groups == 1,
        pairs=features == 2 * groups,
        pressed=features == 2 * groups and not is_small(var[var > 0], eps),
        positions=str(images.batch.x[0, 0].numel()),
        values=str(images.batch.x[0].numel()),
        change_by_companions={"batch_norm": max(by_batch) - min(by_batch), "group_norm": max(by_group) - min(by_group)},
        against_torch=against_modules([(walk, of_matrix), (images, of_images)]),
    )


def groups_of(batch: BatchTensors, groups: int | None) -> int:
    """Return the number of groups: the one requested, else the smallest that makes several groups of several features.

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
    *others, last = map(str, fitting[:_MOST_NAMED])
    expected = f"{', '.join(others)} or {last}" if others else last
    reason = f"does not divide the {features} features of {batch.source}"
    if groups == features:
        reason = (
            f"each of {groups} groups would hold 1 of the {features} features of {batch.source} and give beta, "
            "whatever the input"
        )
    raise ConfigError(f"--groups {groups}: {reason}; expected {expected}")


def _of_images(walk: Walk) -> list[Placed]:
    x, eps = walk.batch.x, walk.eps
    picture = image_norms.regions("regions_of_images", x.shape, FOUR_NORMS)
    names = [norm.name for norm in FOUR_NORMS]
    sizes = [(x.numel() // size, size) for size in picture.values_per_statistic.values()]
    letters = "N H W", "C H W", "C H W / G", "H W"
    sharing = [(name, (*size, words)) for name, size, words in zip(names, sizes, letters, strict=True)]
    layer, instance = functional.layer_norm(x, x.shape[1:], eps=eps), functional.instance_norm(x, eps=eps)
    outputs = {f"groups={count}": image_norms.by_groups("group norm", count).x_hat(x, eps) for count in (1, 2, 4)}
    distances = [(name, [largest_magnitude(y - end) for end in (layer, instance)]) for name, y in outputs.items()]
    gradients = [norm.gradient_of_x_hat(x, first_output(x), eps) for norm in FOUR_NORMS]
    reached = torch.stack([gradient.abs().amax(dim=(2, 3)).flatten() for gradient in gradients], dim=1).tolist()
    of_sharing = "means", "values each", "values each, in letters"
    title, how_far = "how many means, and of how many values each", "largest difference of the outputs on X"
    formula = "g = gamma dy", "d x = 1 / sqrt(var + eps)", "  (g - mean_S(g)", "   - x_hat mean_S(g x_hat))"
    by_row, of_y = list(zip(ROWS, reached, strict=True)), ("gamma = 1, beta = 0", f"eps = {eps:g}")
    ends = "to layer norm", "to instance norm"
    return [
        image_norms.input_images(x),
        picture,
        number_table("statistics_of_images", title, of_sharing, sharing, corner="norm"),
        image_norms.image_table("y_of_images", "group norm, 2 groups", walk.forward.y, of_y),
        number_table("distance_to_the_ends", how_far, ends, distances, corner="group norm"),
        number_table("reached_by_the_gradient", "largest magnitude of d x", names, by_row, formula),
    ]


def _companions(walk: Walk) -> list[tuple[str, list[float]]]:
    """Return the first output of image 1 in each of four batches, under batch and group normalization."""
    first, second = walk.batch.x[:1], walk.batch.x[1:]
    batches = {
        "image 1 alone": [first],
        "with image 2": [first, second],
        "with image 2, doubled": [first, 2 * second],
        "with three times image 2": [first, second, second, second],
    }
    return [
        (name, [norm.x_hat(torch.cat(images), walk.eps)[0, 0, 0, 0].item() for norm in (BATCH_NORM, GROUP_NORM)])
        for name, images in batches.items()
    ]
