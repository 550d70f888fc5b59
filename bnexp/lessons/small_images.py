"""Two small images (N, C, H, W) for the lessons that normalize feature maps, and four norms on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.lessons.lesson import Table
from bnexp.norms.reference import (
    batch_norm_train,
    batch_norm_train_backward,
    group_norm,
    group_norm_backward,
)

IMAGES, CHANNELS, HEIGHT, WIDTH = SHAPE = (2, 4, 2, 2)
POSITIONS = tuple(f"{row + 1},{column + 1}" for row in range(HEIGHT) for column in range(WIDTH))
CHANNEL_NAMES = tuple(f"channel {channel + 1}" for channel in range(CHANNELS))
ROWS = tuple(f"image {image + 1}, {name}" for image in range(IMAGES) for name in CHANNEL_NAMES)


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

    def x_hat(self, x: Tensor, eps: float) -> Tensor:
        """Return y with gamma 1 and beta 0."""
        ones = torch.ones(x.shape[1], dtype=x.dtype)
        return self.forward(x, ones, torch.zeros_like(ones), eps)


def small_images() -> Tensor:
    """Return two images of four channels and 2 x 2 positions, all whole numbers of 1 .. 12.

    x[n, c, h, w] = (n + 2 c + 1) (2 h + w + 1) mod 13, all indices from 0.
    """
    image, channel, row, column = torch.meshgrid(*(torch.arange(size) for size in SHAPE), indexing="ij")
    return ((image + 2 * channel + 1) * (2 * row + column + 1) % 13).double()


def image_table(key: str, title: str, x: Tensor, formula: tuple[str, ...] = (), digits: int = 4) -> Table:
    """Return the table of images in `SHAPE`: a row per channel, a column per position."""
    rows = zip(ROWS, x.reshape(len(ROWS), -1).tolist(), strict=True)
    return Table(key, title, POSITIONS, list(rows), formula, "at row,column", digits, x.tolist())


def _batch_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    return _as_images(batch_norm_train(_as_rows(x), gamma, beta, eps).y, x)


def _batch_gradient(x: Tensor, gamma: Tensor, eps: float, grad_y: Tensor) -> Tensor:
    forward = batch_norm_train(_as_rows(x), gamma, torch.zeros_like(gamma), eps)
    return _as_images(batch_norm_train_backward(_as_rows(grad_y), forward, gamma, eps)[0], x)


def by_groups(name: str, groups: int) -> ImageNorm:
    """Return group normalization; one group is layer normalization, a group per channel instance normalization."""

    def gradient(x: Tensor, gamma: Tensor, eps: float, grad_y: Tensor) -> Tensor:
        forward = group_norm(x, gamma, torch.zeros_like(gamma), groups, eps)
        return group_norm_backward(grad_y, forward, gamma, eps)[0]

    return ImageNorm(name, lambda x, gamma, beta, eps: group_norm(x, gamma, beta, groups, eps).y, gradient)


def _as_rows(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N H W, C)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _as_images(rows: Tensor, x: Tensor) -> Tensor:
    """Return (N H W, C) in the shape of x."""
    images, channels, height, width = x.shape
    return rows.view(images, height, width, channels).movedim(-1, 1)


BATCH_NORM = ImageNorm("batch norm", _batch_forward, _batch_gradient)
LAYER_NORM = by_groups("layer norm", 1)
GROUP_NORM = by_groups("group norm", 2)
INSTANCE_NORM = by_groups("instance norm", CHANNELS)
IMAGE_NORMS = (BATCH_NORM, LAYER_NORM, GROUP_NORM, INSTANCE_NORM)
