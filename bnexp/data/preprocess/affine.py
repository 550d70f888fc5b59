"""Preprocessing that shifts and scales: none, center, standardize and scale. x stands for pixels in 0 .. 1."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """Bytes times `factor` plus `offset`; both broadcast against (B, C, H, W)."""

    factor: Tensor
    offset: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 inputs (B, C, H, W) from uint8 images (B, C, H, W)."""
        return images.float().mul_(self.factor).add_(self.offset)

    def to(self, device: torch.device) -> "Affine":
        """Return the same map on a device."""
        return Affine(self.factor.to(device), self.offset.to(device))


def fit_none(images: Tensor, eps: float) -> Affine:
    """Return y = x: pixels in 0 .. 1. Nothing is fitted."""
    return Affine(torch.tensor(1 / 255), torch.tensor(0.0))


def fit_scale(images: Tensor, eps: float) -> Affine:
    """Return y = 2 x - 1: pixels in -1 .. 1. Nothing is fitted."""
    return Affine(torch.tensor(2 / 255), torch.tensor(-1.0))


def fit_center(images: Tensor, eps: float) -> Affine:
    """Return y = x - mean, with the mean of each feature: of every pixel of every channel (He et al. 2015).

    Args:
        images: uint8, (N, C, H, W); the mean over N is taken exactly, in integers.
        eps: not used.
    """
    mean = images.sum(dim=0, dtype=torch.int64).double() / (255 * len(images))  # (C, H, W)
    return Affine(torch.tensor(1 / 255), -mean.float().unsqueeze(0))


def fit_standardize(images: Tensor, eps: float) -> Affine:
    """Return y = (x - mean) / std, with mean and (biased) standard deviation of each channel.

    Args:
        images: uint8, (N, C, H, W); the statistics are taken over N, H and W.
        eps: not used; a channel without any variation gets the standard deviation 1.
    """
    mean, std = channel_statistics(images)
    return Affine(1 / (255 * std), -mean / std)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, in units of the pixel range 0 .. 1.

    Exact, in float64 over the counts of the 256 byte values: no float copy of the whole set is made. A channel without
    any variation gets the standard deviation 1.

    Args:
        images: uint8, (N, C, H, W).

    Returns:
        Two float32 tensors of shape (1, C, 1, 1).
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].reshape(-1), minlength=256).double()
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
        means.append(mean)
        stds.append(variance.sqrt() if variance > 0 else torch.ones_like(variance))
    return torch.stack(means).float().view(1, -1, 1, 1), torch.stack(stds).float().view(1, -1, 1, 1)
