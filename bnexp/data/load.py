"""Load the dataset of a config: its images, split and preprocessed, on the device of the training.

`DATASET_LOADERS` names the loader of each dataset. The published sets have a file of their own; a folder of images and
an npz file, which a person brings, are read through `data/sources/`.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnexp.config.data_section import (
    DEFAULT_WHITEN_EPS,
    DataAccount,
    DataConfig,
    DatasetInfo,
    DatasetName,
    ImageFolderData,
    NpzData,
)
from bnexp.config.plan import Plan
from bnexp.config.randomness import SPLIT_SEED
from bnexp.data.cifar import CIFAR10, CIFAR100, load_cifar
from bnexp.data.generated import load_mnist5k, make_synthetic
from bnexp.data.mnist import FASHION_MNIST, KMNIST, MNIST, IdxSet, load_idx_set
from bnexp.data.parts import ImageSet, Part, stratified_split
from bnexp.data.preprocess import PREPROCESSES, Preprocess
from bnexp.errors import BnexpError


def load_image_folder(data: ImageFolderData, data_dir: Path) -> ImageSet:
    """Return the images of a folder; without a part to test on, a fixed, stratified fifth is the test set."""
    from bnexp.data.sources.image_folder import open_folder  # loads Pillow

    opened = open_folder(data, data_dir)
    whole, vals = Part(torch.from_numpy(opened.images()), torch.tensor(opened.about.labels)), opened.about.val_examples
    ends = [opened.train_examples, vals or 0]
    train, val, test = (
        Part(*both)
        for both in zip(
            *(tensor.split([*ends, len(whole) - sum(ends)]) for tensor in (whole.images, whole.labels)), strict=True
        )
    )
    if opened.splits_test:
        rest, held_out = stratified_split(train.labels, opened.test_examples, SPLIT_SEED)
        train, test = train.take(rest), train.take(held_out)
    return ImageSet(train, test, None if vals is None else val)


def load_npz(data: NpzData, data_dir: Path) -> ImageSet:
    """Return the arrays of an npz file; without a test part, a fixed, stratified fifth is the test set."""
    from bnexp.data.sources.npz_file import read_npz

    arrays = read_npz(data, data_dir)
    parts = {
        part: Part(torch.from_numpy(images), torch.from_numpy(arrays.labels[part]))
        for part, images in arrays.images.items()
    }
    train, test = parts["train"], parts.get("test")
    if test is None:
        rest, held_out = stratified_split(train.labels, arrays.test_examples, SPLIT_SEED)
        train, test = train.take(rest), train.take(held_out)
    return ImageSet(train, test, parts.get("val"))


_AT_ONCE = 128
"""Examples that become inputs at once where all do."""


@dataclass(frozen=True)
class Dataset:
    """The three parts on the training device, and how bytes become inputs, fitted on `train`.

    Choices are made on `val`, the same for every seed; `test` is looked at once, at the end.
    """

    train: Part
    val: Part
    test: Part
    preprocess: Preprocess
    account: DataAccount | None = None

    @property
    def has_unequal_classes(self) -> bool:
        """Whether classes are unequal in the validation part or the test set; both are then scored class by class."""
        return self.val.has_unequal_classes or self.test.has_unequal_classes

    def inputs(self, images: Tensor) -> Tensor:
        """Return what the network sees: uint8 (B, C, H, W) -> float32 (B, C, H, W)."""
        return self.preprocess(images)

    @cached_property
    def train_inputs(self) -> Tensor:
        """All training images as inputs (N, C, H, W), made once for all runs that share the dataset."""
        images = self.train.images
        inputs = torch.empty(images.shape, dtype=self.inputs(images[:1]).dtype)
        # A part that stays in the cache, time after time: all at once, each operation would go through main memory.
        for part, of in zip(inputs.split(_AT_ONCE), images.split(_AT_ONCE), strict=True):
            part.copy_(self.inputs(of))
        return inputs

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all images and labels: a run is resumed only with the examples that it began with."""
        return self._fingerprints[0]

    @property
    def part_fingerprints(self) -> dict[str, str]:
        """SHA-256 of images and labels of `val` and `test`: runs scored on other examples are not compared."""
        return self._fingerprints[1]

    @cached_property
    def _fingerprints(self) -> tuple[str, dict[str, str]]:
        whole, scored = hashlib.sha256(), {name: hashlib.sha256() for name in ("val", "test")}
        for name, part in self.parts.items():
            shape, digests = str(tuple(part.images.shape)).encode(), [whole]
            if name in scored:
                scored[name].update(shape)
                digests.append(scored[name])
            for content in (tensor.cpu().numpy().data for tensor in (part.images, part.labels)):
                for digest in digests:
                    digest.update(content)
        return whole.hexdigest(), {name: digest.hexdigest() for name, digest in scored.items()}

    def to(self, device: torch.device) -> "Dataset":
        """Return the dataset on a device; itself where it is there."""
        if self.train.images.device == device:
            return self
        train, val, test = (Part(part.images.to(device), part.labels.to(device)) for part in self.parts.values())
        return Dataset(train, val, test, self.preprocess.to(device), self.account)

    def val_inputs(self, count: int) -> Tensor:
        """Return the first `count` images of the validation part as inputs."""
        return self.inputs(self.val.images[:count])


Loader = Callable[[Any, Path], ImageSet]
"""From the section `data` of its own dataset and the data folder to the images."""

DATASET_LOADERS: dict[DatasetName, Loader] = {
    "mnist": lambda data, data_dir: load_idx_set(MNIST, "mnist", data_dir, data.download),
    "fashion_mnist": lambda data, data_dir: load_idx_set(FASHION_MNIST, "fashion_mnist", data_dir, data.download),
    "kmnist": lambda data, data_dir: load_idx_set(KMNIST, "kmnist", data_dir, data.download),
    "cifar10": lambda data, data_dir: load_cifar(CIFAR10, "cifar10", data_dir, data.download),
    "cifar100": lambda data, data_dir: load_cifar(CIFAR100, "cifar100", data_dir, data.download),
    "mnist5k": lambda data, data_dir: load_mnist5k(),
    "image_folder": load_image_folder,
    "npz": load_npz,
    "synthetic": lambda data, data_dir: make_synthetic(data.synthetic),
}


def load_dataset(data: DataConfig, info: DatasetInfo, plan: Plan, data_dir: Path, device: torch.device) -> Dataset:
    """Load the dataset once, split off a validation part if it brings none, and put all on the device as bytes.

    Raises:
        ConfigError: missing and not to be had.
        BnexpError: corrupt, or not of the size that the config's plan counts on.
    """
    kept = _KEPT.get(_key_of(data, plan, data_dir))
    return (kept or _prepare(data, info, plan, data_dir)).to(device)


_KEPT: dict[str, Dataset] = {}
"""Datasets that this process loaded for all runs of a sweep, which are forked from it."""


def keep_dataset(
    data: DataConfig, info: DatasetInfo, plan: Plan, data_dir: Path, device: torch.device | None = None
) -> None:
    """Load a dataset that `load_dataset` then finds in the memory of this process, or of a device. Raises as that."""
    dataset = load_dataset(data, info, plan, data_dir, device or torch.device("cpu"))
    _ = dataset.fingerprint  # computed once, too
    _KEPT[_key_of(data, plan, data_dir)] = dataset


def _key_of(data: DataConfig, plan: Plan, data_dir: Path) -> str:
    """Return what decides the examples of a dataset and how it is fitted."""
    options = data.model_dump_json(exclude={"batch_size", "eval_batch_size", "augment", "drop_last"})
    return f"{options} {plan.train_examples} {plan.val_examples} {os.path.abspath(data_dir)}"


def _prepare(data: DataConfig, info: DatasetInfo, plan: Plan, data_dir: Path) -> Dataset:
    """Return the dataset on the CPU, split and fitted."""
    images = DATASET_LOADERS[data.dataset](data, data_dir)
    brought = () if images.val is None else (len(images.val),)
    found = (len(images.train), len(images.test), *images.train.images.shape[1:], *brought)
    expected = (info.train_examples, info.test_examples, *info.shape, *filter(None, [info.val_examples]))
    if found != expected:
        names = "train, test, C, H, W" + ", val" * (len(found) > 5)
        raise BnexpError(f"dataset {data.dataset}: found ({names}) = {found}, expected {expected}")
    rest, held_out = stratified_split(images.train.labels, plan.val_examples if images.val is None else 0, SPLIT_SEED)
    train = images.train.take(rest[: plan.train_examples])
    fitted = PREPROCESSES[data.preprocess](train.images, data.whiten_eps or DEFAULT_WHITEN_EPS)
    parts = (train, images.train.take(held_out) if images.val is None else images.val, images.test)
    train, val, test = (Part(part.images.contiguous(), part.labels) for part in parts)
    return Dataset(train, val, test, fitted, info.account)


def _idx_files(idx_set: IdxSet) -> Callable[[Path], list[Path]]:
    return lambda data_dir: [file.path_in(idx_set.folder(data_dir)) for file in idx_set.files]


PUBLISHED: dict[DatasetName, Callable[[Path], list[Path]]] = {
    "mnist": _idx_files(MNIST),
    "fashion_mnist": _idx_files(FASHION_MNIST),
    "kmnist": _idx_files(KMNIST),
    "cifar10": lambda data_dir: [data_dir / CIFAR10.archive],
    "cifar100": lambda data_dir: [data_dir / CIFAR100.archive],
}
"""The files of each dataset that is downloaded, below a data folder."""
