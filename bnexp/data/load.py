"""From the config to the parts of a dataset, on the training device."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from bnexp.config.data_section import DataConfig, SyntheticConfig
from bnexp.config.datasets import DEFAULT_WHITEN_EPS, DatasetInfo, DatasetName
from bnexp.config.plan import Plan
from bnexp.config.randomness import SPLIT_SEED
from bnexp.data.cifar import CIFAR10, CIFAR100, load_cifar
from bnexp.data.images import ImageSet, Part
from bnexp.data.mnist import FASHION_MNIST, KMNIST, MNIST, load_idx_set
from bnexp.data.mnist5k import load_mnist5k
from bnexp.data.own import load_image_folder, load_npz
from bnexp.data.preprocess.registry import PREPROCESSES, Preprocess
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
        preprocess: how bytes become inputs, fitted on `train`.
    """

    train: Part
    val: Part
    test: Part
    preprocess: Preprocess

    def inputs(self, images: Tensor) -> Tensor:
        """Return what the network sees: uint8 (B, C, H, W) -> float32 (B, C, H, W)."""
        return self.preprocess(images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all images and labels: a run goes on only with the examples that it began with."""
        digest = hashlib.sha256()
        for part in (self.train, self.val, self.test):
            for tensor in (part.images, part.labels):
                digest.update(tensor.cpu().numpy().data)
        return digest.hexdigest()

    def val_inputs(self, count: int) -> Tensor:
        """Return the first `count` images of the validation part as inputs."""
        return self.inputs(self.val.images[:count])


Loader = Callable[[DataConfig, Path], ImageSet]

DATASET_LOADERS: dict[DatasetName, Loader] = {
    "mnist": lambda data, data_dir: load_idx_set(MNIST, "mnist", data_dir, data.download),
    "fashion_mnist": lambda data, data_dir: load_idx_set(FASHION_MNIST, "fashion_mnist", data_dir, data.download),
    "kmnist": lambda data, data_dir: load_idx_set(KMNIST, "kmnist", data_dir, data.download),
    "cifar10": lambda data, data_dir: load_cifar(CIFAR10, "cifar10", data_dir, data.download),
    "cifar100": lambda data, data_dir: load_cifar(CIFAR100, "cifar100", data_dir, data.download),
    "mnist5k": lambda data, data_dir: load_mnist5k(),
    "image_folder": load_image_folder,
    "npz": load_npz,
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
    fitted = PREPROCESSES[data.preprocess](train.images, data.whiten_eps or DEFAULT_WHITEN_EPS)
    return Dataset(
        train=_on(device, train),
        val=_on(device, images.train.take(held_out)),
        test=_on(device, images.test),
        preprocess=fitted.to(device),
    )


def _on(device: torch.device, part: Part) -> Part:
    return Part(part.images.contiguous().to(device), part.labels.to(device))
