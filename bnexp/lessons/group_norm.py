"""The lesson `groupnorm`: between layer and instance normalization, on a matrix and on two small images."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.document.lesson import Experiment, Heading, Lesson, Part, Text
from bnexp.errors import ConfigError
from bnexp.lessons.groups_of_channels import on_images
from bnexp.lessons.image_norms import GROUP_NORM
from bnexp.lessons.regions import MOST_FEATURES, matrix_regions, of_batch, of_example, of_group
from bnexp.lessons.request import Request
from bnexp.lessons.single_examples import refuse_one_feature
from bnexp.lessons.small_images import small_images
from bnexp.lessons.tables import input_table, matrix, normalized_table, scale_and_shift
from bnexp.lessons.tensors import BatchTensors, against_torch, first_output, is_small, tensors_of, torch_results
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
        *on_images(x, request.eps),
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
            "at the accuracy that each reaches. So small a batch makes many steps: these runs take a while.",
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
    varied = forward.var[forward.var > 0]
    parts: list[Part] = [normalized_table(batch, forward.x_hat, "x_hat = (x - mean) / sqrt(var + eps)", eps)]
    if values == 2:
        parts.append(
            Text(
                "A group of two values a and b has the mean (a + b) / 2 and the variance ((a - b) / 2)^2, so that -1 "
                "and 1 are left, but for eps, whatever a and b are: which of the two is larger, and nothing else (0 "
                "and 0 where they are equal). "
                + ("" if is_small(varied, eps) else "Some of these variances are not large beside eps, and give less. ")
                + "The groups of a network hold more."
            )
        )
    return [
        *parts,
        *scale_and_shift(batch, forward.y),
    ]


def _against_torch(batch: BatchTensors, forward: Normalized, x: Tensor, eps: float) -> Text:
    """Run torch's own module on the same numbers, matrix and images, and say how far it is from the formulas."""
    module = nn.GroupNorm(forward.var.shape[1], batch.x.shape[1], eps=eps, dtype=torch.float64)
    module.load_state_dict({"weight": batch.gamma, "bias": batch.beta})
    of_images = x.clone().requires_grad_()
    y_of_images = functional.group_norm(of_images, 2, eps=eps)
    y_of_images[0, 0, 0, 0].backward()
    ours = (
        forward.y,
        *group_norm_backward(first_output(batch.x), forward, batch.gamma, eps),
        GROUP_NORM.x_hat(x, eps),
        GROUP_NORM.gradient_of_x_hat(x, first_output(x), eps),
    )
    theirs = *torch_results(module, batch.x), y_of_images, of_images.grad
    return against_torch("torch.nn.GroupNorm", ours, theirs)
