"""Hold a dataset's images as bytes with their labels, and split a validation part off them.

The split is fixed and stratified, whatever the run's seed: all runs are chosen on the same examples.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bnexp.config.randomness import derive_seed
from bnexp.data.sources.composition import shares

UNEQUAL = 1.5
"""How many times larger a class is than another where accuracy says little of the smaller one; in MNIST it is 1.24."""


@dataclass(frozen=True)
class Part:
    """Images, uint8 (N, C, H, W), and labels, int64 (N,) from 0, of one part of a dataset."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Examples of each class, up to the last one that is there."""
        return tuple(self.labels.bincount().tolist())

    @property
    def has_unequal_classes(self) -> bool:
        """Whether the largest class has over 1.5 times the examples of the smallest, and not for one example alone."""
        least, most = min(self.class_counts), max(self.class_counts)
        return most - least > 1 and most > UNEQUAL * least

    def take(self, index: Tensor) -> "Part":
        """Return the examples at `index`, in its order."""
        # Whole rows at once: on the CPU three times as fast as indexing, which looks at every element.
        return Part(self.images.index_select(0, index), self.labels.index_select(0, index))


@dataclass(frozen=True)
class ImageSet:
    """A whole dataset as it comes: what may be trained and chosen on, and the test set.

    `val` is the validation part that a dataset brings; None where one is to be split off `train`.
    """

    train: Part
    test: Part
    val: Part | None = None


def stratified_split(labels: Tensor, held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split examples into a rest and `held_out` examples with the same mixture of classes.

    Each class gives its share of `held_out`, 0 <= held_out < N, rounded so that the total is exact (largest remainders
    first). The seed, fixed for a dataset, decides which examples.

    Returns:
        Indices (N - held_out,) and (held_out,). Both orders mix the classes, so that the first n of a part are a fair
        sample of it.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive_seed(seed, "split")))
    shuffled_labels = labels[shuffled]
    classes, counts = np.unique(labels.numpy(), return_counts=True)
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label, quota in zip(classes.tolist(), shares(counts, held_out).tolist(), strict=True):
        mask[shuffled[shuffled_labels == label][:quota]] = True
    chosen = mask[shuffled]
    return shuffled[~chosen], shuffled[chosen]
