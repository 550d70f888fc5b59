"""The subject of a measurement: a network with its data, and one step of its training."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from bnexp.config.layout import Layout, Placed
from bnexp.config.plan import Plan
from bnexp.config.schema import Config

if TYPE_CHECKING:  # `check` needs no file of a dataset
    from bnexp.data.load import Dataset

Items = Mapping[str, nn.Module]
"""The modules that hold no others, by name and in order: `block1.linear`, `block1.bn`, ..., `head`."""
Layer = nn.Linear | nn.Conv2d


def layers_of(items: Items) -> dict[str, Layer]:
    """Return the linear and convolutional items by name, in the order of computation; the head is the last."""
    return {name: module for name, module in items.items() if isinstance(module, Layer)}


@dataclass(frozen=True)
class Subject:
    """A network and all about it that is the same at every step.

    Attributes:
        network: as it is trained, never in its compiled form.
        items: its modules that hold no others.
        layout: the same items as a list, with shapes and options.
        dataset: on the network's device.
        precision: context of the forward pass.
        label_smoothing: of the loss that is optimized.
    """

    config: Config
    plan: Plan
    network: nn.Module
    items: Items
    layout: Layout
    dataset: "Dataset"
    precision: AbstractContextManager[Any]
    label_smoothing: float

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers among the items."""
        return layers_of(self.items)

    @property
    def placed(self) -> dict[str, Placed]:
        """The placed items of the blocks, by their full names."""
        return self.layout.placed


class Look(NamedTuple):
    """One step, counted from 1, as a probe sees it: its learning rate, its last batch x (B, C, H, W), labels y (B,).

    Of a step that is taken ahead, the step is 0 and the learning rate on CUDA the tensor () that the optimizer reads.
    """

    subject: Subject
    step: int
    lr: float | Tensor
    x: Tensor
    y: Tensor
