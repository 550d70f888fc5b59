"""The norms of images that the lessons draw: each against torch's own, forward and backward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bnexp.lessons.small_images import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, ImageNorm, small_images
from bnexp.lessons.tensors import first_output

EPS = 1e-3
PAIRS: list[tuple[ImageNorm, Callable[[Tensor], Tensor]]] = [
    (BATCH_NORM, lambda x: functional.batch_norm(x, None, None, training=True, eps=EPS)),
    (LAYER_NORM, lambda x: functional.layer_norm(x, x.shape[1:], eps=EPS)),
    (GROUP_NORM, lambda x: functional.group_norm(x, 2, eps=EPS)),
    (INSTANCE_NORM, lambda x: functional.instance_norm(x, eps=EPS)),
]


@pytest.mark.parametrize(("norm", "theirs"), PAIRS, ids=lambda one: getattr(one, "name", ""))
def test_a_norm_of_images_is_torchs_own(norm: ImageNorm, theirs: Callable[[Tensor], Tensor]) -> None:
    x = small_images().requires_grad_()
    y = theirs(x)
    torch.testing.assert_close(norm.x_hat(x.detach(), EPS), y.detach(), rtol=0, atol=1e-12)
    y[0, 0, 0, 0].backward()
    ones = torch.ones(4, dtype=torch.float64)
    gradient = norm.gradient(x.detach(), ones, EPS, first_output(x.detach()))
    torch.testing.assert_close(gradient, x.grad, rtol=0, atol=1e-12)


def test_gamma_and_beta_are_per_channel() -> None:
    x, gamma, beta = small_images(), torch.arange(4.0).double(), torch.arange(4.0).double() - 2
    for norm, theirs in PAIRS:
        expected = gamma.view(4, 1, 1) * theirs(x) + beta.view(4, 1, 1)
        torch.testing.assert_close(norm.forward(x, gamma, beta, EPS), expected, rtol=0, atol=1e-12)
