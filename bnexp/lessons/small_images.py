"""Two small images (N, C, H, W) for the lessons that normalize feature maps."""

import torch
from torch import Tensor

from bnexp.document.lesson import Table

IMAGES, CHANNELS, HEIGHT, WIDTH = SHAPE = (2, 4, 2, 2)
POSITIONS = tuple(f"{row + 1},{column + 1}" for row in range(HEIGHT) for column in range(WIDTH))
CHANNEL_NAMES = tuple(f"channel {channel + 1}" for channel in range(CHANNELS))
IMAGE_NAMES = tuple(f"image {image + 1}" for image in range(IMAGES))
ROWS = tuple(f"{image}, {channel}" for image in IMAGE_NAMES for channel in CHANNEL_NAMES)


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


def input_images(x: Tensor) -> Table:
    """Return the table of `small_images`, with the formula that they come from."""
    formula = f"(N, C, H, W) = {SHAPE}", "x[n, c, h, w] =", "  (n + 2 c + 1) (2 h + w + 1) mod 13", "  (indices from 0)"
    return image_table("images", "images X", x, formula, digits=0)
