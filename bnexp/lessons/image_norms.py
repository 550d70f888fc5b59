"""Normalizations of images (N, C, H, W), forward and backward in one form, made of the references."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bnexp.lessons.tensors import initial_parameters
from bnexp.norms.reference import (
    Normalized,
    batch_norm_train,
    batch_norm_train_backward,
    group_norm,
    group_norm_backward,
    rms_norm,
    rms_norm_backward,
)


@dataclass(frozen=True)
class ImageNorm:
    """A normalization of images (N, C, H, W).

    Attributes:
        name: as the lessons call it.
        forward: y of (x, gamma, beta, eps), with gamma and beta (C,).
        gradient: the gradient of x, of (x, gamma, eps) and dy.
    """

    name: str
    forward: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    gradient: Callable[[Tensor, Tensor, float, Tensor], Tensor]

    def x_hat(self, x: Tensor, eps: float = 1e-5) -> Tensor:
        """Return y with gamma 1 and beta 0."""
        return self.forward(x, *initial_parameters(x.shape[1]), eps)

    def gradient_of_x_hat(self, x: Tensor, grad_y: Tensor, eps: float = 1e-5) -> Tensor:
        """Return the gradient of x with gamma 1, of dy."""
        ones, _ = initial_parameters(x.shape[1])
        return self.gradient(x, ones, eps, grad_y)


def by_groups(name: str, groups: int | None) -> ImageNorm:
    """Return group normalization; one group is layer normalization, a group per channel (None) instance norm."""

    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Normalized:
        return group_norm(x, gamma, beta, groups or x.shape[1], eps)

    def gradient(x: Tensor, gamma: Tensor, eps: float, grad_y: Tensor) -> Tensor:
        return group_norm_backward(grad_y, forward(x, gamma, 0 * gamma, eps), gamma, eps)[0]

    return ImageNorm(name, lambda *arguments: forward(*arguments).y, gradient)


def _batch_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    return _as_images(batch_norm_train(_as_rows(x), gamma, beta, eps).y, x)


def _batch_gradient(x: Tensor, gamma: Tensor, eps: float, grad_y: Tensor) -> Tensor:
    forward = batch_norm_train(_as_rows(x), gamma, 0 * gamma, eps)
    return _as_images(batch_norm_train_backward(_as_rows(grad_y), forward, gamma, eps)[0], x)


def _as_rows(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N H W, C): each position of each image is an example."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _as_images(rows: Tensor, x: Tensor) -> Tensor:
    """Return (N H W, C) in the shape of x."""
    images, channels, height, width = x.shape
    return rows.view(images, height, width, channels).movedim(-1, 1)


def _rms_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    y = rms_norm(x.flatten(1), _per_value(gamma, x), eps).y.view(x.shape)
    return y + beta.view(-1, 1, 1)


def _rms_gradient(x: Tensor, gamma: Tensor, eps: float, grad_y: Tensor) -> Tensor:
    forward = rms_norm(x.flatten(1), _per_value(gamma, x), eps)
    return rms_norm_backward(grad_y.flatten(1), forward, _per_value(gamma, x), eps)[0].view(x.shape)


def _per_value(gamma: Tensor, x: Tensor) -> Tensor:
    """Return gamma (C,) for each of the values of an image, (C H W,): they are the features of an example."""
    return gamma.repeat_interleave(x[0, 0].numel())


BATCH_NORM = ImageNorm("batch norm", _batch_forward, _batch_gradient)
LAYER_NORM = by_groups("layer norm", 1)
GROUP_NORM = by_groups("group norm", 2)
INSTANCE_NORM = by_groups("instance norm", None)
RMS_NORM = ImageNorm("RMS norm", _rms_forward, _rms_gradient)
FOUR_NORMS = (BATCH_NORM, LAYER_NORM, GROUP_NORM, INSTANCE_NORM)
"""Those that the lessons on images lay side by side."""
