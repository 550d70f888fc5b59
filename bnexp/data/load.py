"""From the config to the parts of a dataset, on the training device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from bnexp.config.data_section import DataConfig, SyntheticConfig
from bnexp.config.datasets import DatasetInfo, DatasetName
from bnexp.config.plan import Plan
from bnexp.config.randomness import SPLIT_SEED
from bnexp.data.images import ImageSet, Part
from bnexp.data.mnist import FASHION_MNIST, MNIST, load_idx_set
from bnexp.data.mnist5k import load_mnist5k
from bnexp.data.split import stratified_split
from bnexp.data.synthetic import make_synthetic
from bnexp.errors import BnexpError


@dataclass(frozen=True)
class Dataset:
    """The three parts on the training device, and how bytes become inputs.

    Attributes:
        train: what is trained on.
        val: what choices are made on; the same for every seed.
        test: looked at once, at the end.
        mean: (1, C, 1, 1), of each channel of `train`, in units of the pixel range 0 .. 1.
        std: (1, C, 1, 1), likewise.
    """

    train: Part
    val: Part
    test: Part
    mean: Tensor
    std: Tensor

    def inputs(self, images: Tensor) -> Tensor:
        """Standardize per channel: uint8 (B, C, H, W) -> float32 (B, C, H, W), (x / 255 - mean) / std."""
        return images.float().mul_(self._factor).add_(self._offset)

    @cached_property
    def _factor(self) -> Tensor:
        return 1 / (255 * self.std)

    @cached_property
    def _offset(self) -> Tensor:
        return -self.mean / self.std


Loader = Callable[[DataConfig, Path], ImageSet]

DATASET_LOADERS: dict[DatasetName, Loader] = {
    "mnist": lambda data, data_dir: load_idx_set(MNIST, "mnist", data_dir, data.download),
    "fashion_mnist": lambda data, data_dir: load_idx_set(FASHION_MNIST, "fashion_mnist", data_dir, data.download),
    "mnist5k": lambda data, data_dir: load_mnist5k(),
    "synthetic": lambda data, data_dir: make_synthetic(data.synthetic or SyntheticConfig()),
}


def load_dataset(data: DataConfig, info: DatasetInfo, plan: Plan, data_dir: Path, device: torch.device) -> Dataset:
    """Load the dataset once, split off the validation part, and put all of it on the device as bytes.

    Raises:
        ConfigError: missing and not to be had.
        BnexpError: corrupt, or not of the size that the config's plan counts on.
    """
    images = DATASET_LOADERS[data.dataset](data, data_dir)
    found = (len(images.train), len(images.test), *images.train.images.shape[1:])
    expected = (info.train_examples, info.test_examples, *info.shape)
    if found != expected:
        raise BnexpError(f"dataset {data.dataset}: found (train, test, C, H, W) = {found}, expected {expected}")
    rest, held_out = stratified_split(images.train.labels, plan.val_examples, SPLIT_SEED)
    train = images.train.take(rest[: plan.train_examples])
    mean, std = channel_statistics(train.images)
    return Dataset(
        train=_on(device, train),
        val=_on(device, images.train.take(held_out)),
        test=_on(device, images.test),
        mean=mean.to(device),
        std=std.to(device),
    )


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


def _on(device: torch.device, part: Part) -> Part:
    return Part(part.images.contiguous().to(device), part.labels.to(device))
