"""Draw the batch of a step as a function of the seed and the step alone, so that any step can be resumed."""

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

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, H, W), augmented and preprocessed, and labels (B,) of `step`, counted from 0.

        The last batch of an epoch may be smaller.
        """
        epoch, number = divmod(step, self._plan.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            order = torch.randperm(self._plan.train_examples, generator=generator)
            self._order, self._epoch = order.to(self._dataset.train.labels.device), epoch
        index = self._order[number * self._plan.batch_size : (number + 1) * self._plan.batch_size]  # (B,)
        batch = self._dataset.train.take(index)
        images = augment_at(self._augment, batch.images, self._seed, step)
        return self._dataset.inputs(images), batch.labels
