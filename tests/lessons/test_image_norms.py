"""The norms of images: each against torch's own, forward and backward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bnexp.lessons.image_norms import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, RMS_NORM, ImageNorm

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
    leaf = x.clone().requires_grad_()
    expected = gamma.view(4, 1, 1) * theirs(leaf) + beta.view(4, 1, 1)
    (expected * grad_y).sum().backward()
    torch.testing.assert_close(norm.forward(x, gamma, beta, EPS), expected.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.gradient(x, gamma, EPS, grad_y), leaf.grad, rtol=0, atol=1e-12)
