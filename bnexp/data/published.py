"""Where the files of the published datasets lie."""

from collections.abc import Callable
from pathlib import Path

from bnexp.config.datasets import DatasetName
from bnexp.data.cifar import CIFAR10, CIFAR100
from bnexp.data.mnist import FASHION_MNIST, KMNIST, MNIST, IdxSet


def _idx_files(idx_set: IdxSet) -> Callable[[Path], list[Path]]:
    return lambda data_dir: [idx_set.folder(data_dir) / file.name for file in idx_set.files]


PUBLISHED: dict[DatasetName, Callable[[Path], list[Path]]] = {
    "mnist": _idx_files(MNIST),
    "fashion_mnist": _idx_files(FASHION_MNIST),
    "kmnist": _idx_files(KMNIST),
    "cifar10": lambda data_dir: [data_dir / CIFAR10.archive],
    "cifar100": lambda data_dir: [data_dir / CIFAR100.archive],
}
"""The files of each dataset that is downloaded, below a data folder."""
