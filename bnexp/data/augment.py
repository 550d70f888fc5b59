"""Augmentation of whole training batches, on their device and as bytes, before any preprocessing.

What is drawn is a function of the run's seed and the step alone, drawn on the CPU: the same on every device, the same
for two arms, and any step can be resumed.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from bnexp.config.data_section import CROP_PADDING, SHIFT_PIXELS, AugmentName
from bnexp.config.randomness import derive_seed


@dataclass(frozen=True)
class Moves:
    """Cut each image at random from one with `padding` zeros round it, and mirror every second one, if any."""

    padding: int
    mirrors: bool

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return images augmented: uint8 (B, C, H, W) -> uint8 (B, C, H, W)."""
        return self.move(images, self.draw(len(images), generator))

    def draw(self, examples: int, generator: Generator) -> Tensor:
        """Draw the row and the column where each cut begins, uniform in 0 .. 2 padding, then what is mirrored, (3, B).

        On the CPU: the same on every device.
        """
        corners = torch.randint(0, 2 * self.padding + 1, (2, examples), generator=generator)
        mirrored = torch.rand(examples, generator=generator) < 0.5 if self.mirrors else torch.zeros(examples)
        return torch.cat([corners, mirrored.to(torch.int64).unsqueeze(0)])

    def move(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Move images (B, C, H, W) as it was drawn, (3, B)."""
        tops, lefts, mirrored = drawn
        return moved(images, tops, lefts, mirrored.bool(), self.padding)


crop_flip = Moves(CROP_PADDING, mirrors=True)
"""Crop at random from 4 pixels of zero padding, and mirror left to right every second image (He et al. 2015)."""
shift = Moves(SHIFT_PIXELS, mirrors=False)
"""Shift at random by up to 2 pixels down or up and left or right; what comes in at the border is 0."""
AUGMENTS: dict[AugmentName, Moves | None] = {"none": None, "crop_flip": crop_flip, "shift": shift}


def draw_at(augment: AugmentName, examples: int, seed: int, step: int) -> Tensor:
    """Return what is drawn for a batch of so many examples at `step`, counted from 0: int64 (3, B), on the CPU."""
    moves = AUGMENTS[augment]
    if moves is None:
        return torch.zeros((3, examples), dtype=torch.int64)
    return moves.draw(examples, Generator().manual_seed(derive_seed(seed, "augment", step)))


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
