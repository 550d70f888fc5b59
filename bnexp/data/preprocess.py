"""Fit the preprocessing of a dataset to its training part, uint8 (N, C, H, W). x stands for pixels in 0 .. 1.

None, center, standardize and scale shift and scale each channel. Whitening decorrelates the features of an image and
brings them to one variance. With the mean m and the covariance S = U diag(v) U^T of the D = C H W features x:

    pca_whiten   y = diag(1 / sqrt(v + eps)) U^T (x - m)      a feature per direction, the largest variance first
    zca_whiten   y = U diag(1 / sqrt(v + eps)) U^T (x - m)    nearest to the image itself (Bell & Sejnowski 1997)

The covariance of y is diag(v / (v + eps)), turned back by U for zca: the identity except for eps, which holds down the
directions without variance, where there is only noise to amplify (Krizhevsky 2009; Kessy et al. 2018).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.config.data_section import PreprocessName

CHUNK = 4096
"""Examples taken into the covariance at once: 100 MB in float64 for CIFAR's 3,072 features."""


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
    """Return y = x - mean, with the mean over N of each pixel of each channel, taken in integers (He et al. 2015)."""
    mean = images.sum(dim=0, dtype=torch.int64).double() / (255 * len(images))  # (C, H, W)
    return Affine(torch.tensor(1 / 255), -mean.float().unsqueeze(0))


def fit_standardize(images: Tensor, eps: float) -> Affine:
    """Return y = (x - mean) / std, with mean and (biased) standard deviation of each channel, over N, H and W."""
    mean, std = channel_statistics(images)
    return Affine(1 / (255 * std), -mean / std)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, float32 (1, C, 1, 1), in units of the pixel range 0 .. 1.

    Exact, in float64 over the counts of the 256 byte values: no float copy of the whole set is made. A channel without
    any variation gets the standard deviation 1.
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


@dataclass(frozen=True)
class Whitening:
    """Flattened pixels less `mean` (D,), times `matrix` (D, D), in the shape that they had."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 inputs (B, C, H, W) from uint8 images (B, C, H, W)."""
        # In full precision also where the network's forward pass runs under autocast: it belongs to the data.
        with torch.autocast(images.device.type, enabled=False):
            centered = images.flatten(1).float().div_(255).sub_(self.mean)  # (B, D)
            return (centered @ self.matrix).view(images.shape)

    def to(self, device: torch.device) -> "Whitening":
        """Return the same map on a device."""
        return Whitening(self.mean.to(device), self.matrix.to(device))


def fit_pca_whiten(images: Tensor, eps: float) -> Whitening:
    """Return the map onto the eigenvectors of the covariance, each with variance 1, but for eps."""
    mean, values, vectors = eigen(images)
    return Whitening(mean.float(), (vectors / (values + eps).sqrt()).float())


def fit_zca_whiten(images: Tensor, eps: float) -> Whitening:
    """Return the symmetric whitening map: pca_whiten, turned back to pixels."""
    mean, values, vectors = eigen(images)
    return Whitening(mean.float(), ((vectors / (values + eps).sqrt()) @ vectors.T).float())


def covariance(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and biased covariance (D, D) of the features, in float64 and in units of the pixel range.

    Streamed in chunks. Sums of bytes and of products of bytes are whole numbers far below 2^53, so they are exact,
    whatever the chunks and the number of threads.
    """
    features = images[0].numel()
    total = torch.zeros(features, dtype=torch.float64)
    products = torch.zeros(features, features, dtype=torch.float64)
    for chunk in images.split(CHUNK):
        rows = chunk.flatten(1).double()  # (CHUNK, D)
        total += rows.sum(dim=0)
        products.addmm_(rows.T, rows)
    mean = total / len(images)
    return mean / 255, products.div_(len(images)).addr_(mean, mean, alpha=-1).div_(255**2)


def eigen(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (D,), variances (D,), the largest first, and their directions as columns (D, D), in float64.

    The sign of an eigenvector is arbitrary: its entry of the largest magnitude is made positive.
    """
    mean, matrix = covariance(images)
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    peaks = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))  # (1, D)
    return mean, values, vectors * peaks.sign()


Preprocess = Affine | Whitening
"""A fitted map from bytes to inputs."""

PREPROCESSES: dict[PreprocessName, Callable[[Tensor, float], Preprocess]] = {
    "none": fit_none,
    "center": fit_center,
    "standardize": fit_standardize,
    "scale": fit_scale,
    "pca_whiten": fit_pca_whiten,
    "zca_whiten": fit_zca_whiten,
}
"""Fits a preprocessing on the training part, uint8 (N, C, H, W) on the CPU, and `data.whiten_eps`."""
