"""What every dataset gives: images as bytes and labels, for training and for the test."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Images and labels of one part of a dataset.

    Attributes:
        images: uint8, (N, C, H, W).
        labels: int64, (N,), classes counted from 0.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Part":
        """Return the examples at `index`, in its order."""
        # Whole rows at once: on the CPU three times as fast as indexing, which looks at every element.
        return Part(self.images.index_select(0, index), self.labels.index_select(0, index))


@dataclass(frozen=True)
class ImageSet:
    """A whole dataset as it comes: what may be trained and chosen on, and the test set."""

    train: Part
    test: Part
