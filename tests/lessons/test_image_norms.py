"""The norms of images: each against torch's own, forward and backward, and the picture of what each averages over."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bnexp.document.figure import Regions
from bnexp.lessons.image_norms import (
    BATCH_NORM,
    GROUP_NORM,
    INSTANCE_NORM,
    LAYER_NORM,
    RMS_NORM,
    ImageNorm,
    by_groups,
    regions,
)

EPS = 1e-3
PAIRS: list[tuple[ImageNorm, Callable[[Tensor], Tensor]]] = [
    (BATCH_NORM, lambda x: functional.batch_norm(x, None, None, training=True, eps=EPS)),
    (LAYER_NORM, lambda x: functional.layer_norm(x, x.shape[1:], eps=EPS)),
    (GROUP_NORM, lambda x: functional.group_norm(x, 2, eps=EPS)),
    (INSTANCE_NORM, lambda x: functional.instance_norm(x, eps=EPS)),
    (RMS_NORM, lambda x: functional.rms_norm(x, x.shape[1:], eps=EPS)),
]


@pytest.mark.parametrize(("norm", "theirs"), PAIRS, ids=lambda one: getattr(one, "name", ""))
def test_a_norm_of_images_is_torchs_own(norm: ImageNorm, theirs: Callable[[Tensor], Tensor]) -> None:
    x, grad_y = torch.randn(2, 3, 4, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    leaf = x.clone().requires_grad_()
    y = theirs(leaf)
    (y * grad_y).sum().backward()
    torch.testing.assert_close(norm.x_hat(x, EPS), y.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.gradient_of_x_hat(x, grad_y, EPS), leaf.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "theirs"), PAIRS, ids=lambda one: getattr(one, "name", ""))
def test_gamma_and_beta_are_per_channel(norm: ImageNorm, theirs: Callable[[Tensor], Tensor]) -> None:
    x, grad_y = torch.randn(2, 3, 4, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gamma, beta = torch.arange(4.0).double() - 1, torch.arange(4.0).double() - 2
    leaf, *parameters = (values.clone().requires_grad_() for values in (x, gamma, beta))
    expected = parameters[0].view(4, 1, 1) * theirs(leaf) + parameters[1].view(4, 1, 1)
    (expected * grad_y).sum().backward()
    forward = norm.forward(x, gamma, beta, EPS)
    gradients = norm.backward(grad_y, forward, gamma, EPS)
    torch.testing.assert_close(forward.y, expected.detach(), rtol=0, atol=1e-12)
    for ours, by_torch in zip(gradients, (leaf.grad, *(leaves.grad for leaves in parameters)), strict=True):
        torch.testing.assert_close(ours, by_torch, rtol=0, atol=1e-12)


def letters(picture: Regions) -> dict[str, list[str]]:
    return {name: ["".join(row) for _, row in rows] for name, rows in picture.blocks}


def test_a_matrix_shares_down_the_columns_along_the_rows_or_in_groups() -> None:
    picture = regions("regions", (2, 4), (BATCH_NORM, LAYER_NORM, GROUP_NORM))
    assert letters(picture) == {
        "batch norm": ["ABCD", "ABCD"],
        "layer norm": ["AAAA", "BBBB"],
        "group norm": ["AABB", "CCDD"],
    }
    assert picture.numbers["regions"] == {
        "batch norm": {"statistics": 4, "values_per_statistic": 2},
        "layer norm": {"statistics": 2, "values_per_statistic": 4},
        "group norm": {"statistics": 4, "values_per_statistic": 2},
    }


def test_images_share_by_channel_by_image_or_by_both() -> None:
    picture = regions("regions", (2, 2, 1, 3), (BATCH_NORM, LAYER_NORM, INSTANCE_NORM))
    assert letters(picture) == {
        "batch norm": ["AAA", "BBB", "AAA", "BBB"],
        "layer norm": ["AAA", "AAA", "BBB", "BBB"],
        "instance norm": ["AAA", "BBB", "CCC", "DDD"],
    }


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (4, 4), (6, 3), (8, 2)])
def test_every_statistic_is_of_as_many_values_as_is_said(channels: int, groups: int) -> None:
    picture = regions("regions", (3, channels, 2, 2), [by_groups("group norm", groups)])
    drawn = "".join(letters(picture)["group norm"])
    assert {drawn.count(letter) for letter in drawn} == {4 * channels // groups}
    assert picture.numbers["regions"]["group norm"] == {
        "statistics": 3 * groups,
        "values_per_statistic": 4 * channels // groups,
    }


@pytest.mark.parametrize(("examples", "features"), list(product([2, 1000], [2, 90])))
def test_a_large_matrix_is_drawn_smaller_and_that_is_said(examples: int, features: int) -> None:
    picture = regions("regions", (examples, features), (BATCH_NORM, LAYER_NORM))
    assert ("drawn for" in picture.title) == (examples > 6 or features > 8)
    assert {(len(rows), len(rows[0][1])) for _, rows in picture.blocks} == {(min(examples, 6), min(features, 8))}
