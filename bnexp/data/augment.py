"""Augmentation of whole training batches, on their device and as bytes, before any preprocessing.

What is drawn is a function of the run's seed and the step alone, drawn on the CPU: the same on every device, the same
for two arms, and any step can be resumed.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from bnexp.config.data_section import CROP_PADDING, SHIFT_PIXELS, AugmentName
from bnexp.config.randomness import derive_seed

Augment = Callable[[Tensor, Generator], Tensor]


def augment_at(augment: AugmentName, images: Tensor, seed: int, step: int) -> Tensor:
    """Return the training images of `step`, counted from 0, augmented: uint8 (B, C, H, W) -> uint8 (B, C, H, W)."""
    return AUGMENTS[augment](images, Generator().manual_seed(derive_seed(seed, "augment", step)))


def crop_flip(images: Tensor, generator: Generator) -> Tensor:
    """Crop at random from 4 pixels of zero padding, and mirror left to right every second image (He et al. 2015).

    Draws, in this order: the row and the column where each crop begins, uniform in 0 .. 8, and which are mirrored.
    """
    tops, lefts = _corners(len(images), CROP_PADDING, generator)
    mirrored = torch.rand(len(images), generator=generator) < 0.5  # (B,)
    return moved(images, tops, lefts, mirrored, CROP_PADDING)


def shift(images: Tensor, generator: Generator) -> Tensor:
    """Shift at random by up to 2 pixels down or up and left or right; what comes in at the border is 0.

    Draws the row and the column where each image begins in its padding, uniform in 0 .. 4.
    """
    tops, lefts = _corners(len(images), SHIFT_PIXELS, generator)
    return moved(images, tops, lefts, torch.zeros(len(images), dtype=torch.bool), SHIFT_PIXELS)


def moved(images: Tensor, tops: Tensor, lefts: Tensor, mirrored: Tensor, padding: int) -> Tensor:
    """Cut each image, of its own size, from the image in a border of zeros, then mirror it where that is wanted.

    Images are uint8 (B, C, H, W), on any device. `tops` and `lefts`, where each cut begins in the padded image, and
    `mirrored`, left to right, are (B,), on the CPU.
    """
    batch, channels, height, width = images.shape
    tops, lefts, mirrored = (drawn.to(images.device).unsqueeze(1) for drawn in (tops, lefts, mirrored))  # (B, 1)
    rows = tops + torch.arange(height, device=images.device)  # (B, H)
    columns = torch.arange(width, device=images.device)
    columns = lefts + torch.where(mirrored, columns.flip(0), columns)  # (B, W)
    pixels = rows.unsqueeze(2) * (width + 2 * padding) + columns.unsqueeze(1)  # (B, H, W)
    padded = functional.pad(images, (padding,) * 4).flatten(2)
    return padded.gather(2, pixels.view(batch, 1, -1).expand(-1, channels, -1)).view(images.shape)


def _corners(batch: int, padding: int, generator: Generator) -> Tensor:
    return torch.randint(0, 2 * padding + 1, (2, batch), generator=generator)


AUGMENTS: dict[AugmentName, Augment] = {
    "none": lambda images, generator: images,
    "crop_flip": crop_flip,
    "shift": shift,
}
