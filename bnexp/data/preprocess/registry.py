"""Every preprocessing by its name in the config."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from bnexp.config.datasets import PreprocessName
from bnexp.data.preprocess.affine import fit_center, fit_none, fit_scale, fit_standardize
from bnexp.data.preprocess.whiten import fit_pca_whiten, fit_zca_whiten


class Preprocess(Protocol):
    """A fitted map from bytes to inputs."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 inputs (B, C, H, W) from uint8 images (B, C, H, W)."""
        ...

    def to(self, device: torch.device) -> "Preprocess":
        """Return the same map on a device."""
        ...


PREPROCESSES: dict[PreprocessName, Callable[[Tensor, float], Preprocess]] = {
    "none": fit_none,
    "center": fit_center,
    "standardize": fit_standardize,
    "scale": fit_scale,
    "pca_whiten": fit_pca_whiten,
    "zca_whiten": fit_zca_whiten,
}
"""Fits a preprocessing on the training part, uint8 (N, C, H, W) on the CPU, and `data.whiten_eps`."""
