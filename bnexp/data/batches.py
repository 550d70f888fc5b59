"""Draw a batch as a function of the seed and its number alone, so that any step can be resumed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.config.data_section import AugmentName
from bnexp.config.plan import Plan
from bnexp.config.randomness import derive_seed
from bnexp.data.augment import AUGMENTS, draw_at
from bnexp.data.load import Dataset


class Drawn(NamedTuple):
    """What decides a batch: the places of its examples, int64 (B,), and how each is moved, (3, B), if it is."""

    places: Tensor
    moves: Tensor | None

    def copy(self) -> "Drawn":
        """Return the same in tensors of its own."""
        return Drawn(self.places.clone(), None if self.moves is None else self.moves.clone())

    @classmethod
    def of_all(cls, drawn: "Sequence[Drawn]") -> "Drawn":
        """Return several batches on one dataset as one, the examples of the first in front."""
        moves = [batch.moves for batch in drawn if batch.moves is not None]
        return cls(torch.cat([batch.places for batch in drawn]), torch.cat(moves, dim=1) if moves else None)


class TrainBatches:
    """Batches gathered by index on the device, in an order drawn anew for each epoch.

    The order is drawn on the CPU, from the seed and the epoch: the same on every device, and the same for two arms
    whatever else they draw. With `prepared`, all images become inputs at the first batch, with the same bits: for
    images that are not augmented, and preprocessed value by value.
    """

    def __init__(
        self, dataset: Dataset, plan: Plan, seed: int, augment: AugmentName = "none", *, prepared: bool = False
    ) -> None:
        self._dataset, self._plan, self._seed, self._augment = dataset, plan, seed, augment
        self._prepared = prepared
        self._epoch = -1
        self._places: Sequence[Tensor] = ()  # of each batch of the epoch, (B,)

    def at(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, H, W), augmented and preprocessed, and labels (B,) of a batch, counted from 0 on.

        The last batch of an epoch may be smaller.
        """
        return self.gather(*self.draw(batch))

    def draw(self, batch: int) -> Drawn:
        """Return what decides the inputs and labels of a batch."""
        epoch, number = divmod(batch, self._plan.batches_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            order = torch.randperm(self._plan.train_examples, generator=generator)
            self._places = sent(order, self._device).split(self._plan.batch_size)
            self._epoch = epoch
        index = self._places[number]
        if self._augment == "none":
            return Drawn(index, None)
        return Drawn(index, sent(draw_at(self._augment, len(index), self._seed, batch), self._device))

    @property
    def _device(self) -> torch.device:
        return self._dataset.train.labels.device

    def gather(self, places: Tensor, moves: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of the examples at these places, moved; all of it work of the device."""
        if self._prepared:
            return self._dataset.train_inputs.index_select(0, places), self._dataset.train.labels.index_select(
                0, places
            )
        drawn, augment = self._dataset.train.take(places), AUGMENTS[self._augment]
        images = drawn.images if moves is None or augment is None else augment.move(drawn.images, moves)
        return self._dataset.inputs(images), drawn.labels


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting until the device has come to it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
