"""Draw a batch as a function of the seed and its number alone, so that any step can be resumed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bnexp.config.data_section import AugmentName
from bnexp.config.plan import Plan
from bnexp.config.randomness import derive_seed
from bnexp.data.augment import augment_at
from bnexp.data.load import Dataset


class TrainBatches:
    """Batches gathered by index on the device, in an order drawn anew for each epoch.

    The order is drawn on the CPU, from the seed and the epoch: the same on every device, and the same for two arms
    whatever else they draw.
    """

    def __init__(self, dataset: Dataset, plan: Plan, seed: int, augment: AugmentName = "none") -> None:
        self._dataset, self._plan, self._seed, self._augment = dataset, plan, seed, augment
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def at(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, H, W), augmented and preprocessed, and labels (B,) of a batch, counted from 0 on.

        The last batch of an epoch may be smaller.
        """
        drawn = self._dataset.train.take(self._index_of(batch))
        return self._dataset.inputs(self._augmented(drawn.images, batch)), drawn.labels

    def _index_of(self, batch: int) -> Tensor:
        """Return which examples are in a batch, (B,)."""
        epoch, number = divmod(batch, self._plan.batches_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            order = torch.randperm(self._plan.train_examples, generator=generator)
            self._order, self._epoch = order.to(self._dataset.train.labels.device), epoch
        return self._order[number * self._plan.batch_size : (number + 1) * self._plan.batch_size]

    def _augmented(self, images: Tensor, batch: int) -> Tensor:
        return augment_at(self._augment, images, self._seed, batch)

    @staticmethod
    def of_all(runs: "Sequence[TrainBatches]", batch: int) -> tuple[Tensor, Tensor]:
        """Return a batch of each of K runs on one dataset, gathered together: inputs (K, B, C, H, W), labels (K, B)."""
        dataset, count = runs[0]._dataset, len(runs)
        drawn = dataset.train.take(torch.cat([run._index_of(batch) for run in runs]))
        images, labels = drawn.images, drawn.labels.view(count, -1)
        if runs[0]._augment != "none":
            parts = zip(runs, images.chunk(count), strict=True)
            images = torch.cat([run._augmented(part, batch) for run, part in parts])
        return dataset.inputs(images).view(*labels.shape, *images.shape[1:]), labels
