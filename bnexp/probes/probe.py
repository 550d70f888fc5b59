"""What a probe is: it looks at a training step from three moments, and changes nothing.

The loop knows probes only by this interface. Tensors stay on the device; the loop brings all figures of a step to
Python together.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from bnexp.config.layout import Layout, Placed
from bnexp.config.plan import Plan
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import Config
from bnexp.data.load import Dataset

Items = Mapping[str, nn.Module]
"""The modules that hold no others, by name and in order: `block1.linear`, `block1.bn`, ..., `head`."""


Layer = nn.Linear | nn.Conv2d


def layers_of(items: Items) -> dict[str, Layer]:
    """Return the linear and convolutional items by name, in the order of computation; the head is the last."""
    return {name: module for name, module in items.items() if isinstance(module, Layer)}


@dataclass(frozen=True)
class Subject:
    """What is looked at, and what is the same at every step.

    Attributes:
        config: of the run.
        plan: its arithmetic.
        network: as it is trained, never in its compiled form.
        items: its modules that hold no others.
        layout: the same items as a list, with shapes and options.
        dataset: train, val and test parts, on the network's device.
        precision: context of the forward pass.
    """

    config: Config
    plan: Plan
    network: nn.Module
    items: Items
    layout: Layout
    dataset: Dataset
    precision: AbstractContextManager[Any]

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers among the items."""
        return layers_of(self.items)

    @property
    def placed(self) -> dict[str, Placed]:
        """What the layout says of each item of the blocks, by its full name."""
        blocks = self.layout.blocks
        branches = {f"{block.place}.{placed.name}": placed for block in blocks for placed in block.items}
        shortcuts = {f"{block.place}.shortcut.{placed.name}": placed for block in blocks for placed in block.shortcut}
        return branches | shortcuts


@dataclass(frozen=True)
class Look:
    """One step, as a probe sees it.

    Attributes:
        subject: what is looked at.
        step: counted from 1.
        lr: learning rate of this step.
        x: the batch, (B, C, H, W).
        y: its labels, (B,).
    """

    subject: Subject
    step: int
    lr: float
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Reading:
    """What a probe saw at one step.

    The tensors are the probe's own: the loop reads them after clipping and the optimizer's step, both of which write
    into the gradients.

    Attributes:
        scalars: figures of shape (), named `quantity/where`.
        histograms: values of any shape, named likewise.
    """

    scalars: dict[str, Tensor] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)


class Probe:
    """A measurement of the inside of the network while it trains; each overrides the moments that it needs.

    Extra passes of its own go through `undisturbed`, and leave `grad` of every parameter as it is.
    """

    needs_step = False
    """Whether it measures what the optimizer's step does, so that a stored network alone gives it nothing to see."""

    watches = False
    """Whether it watches the forward pass of the step."""

    def __init__(self, schedule: ProbeSchedule) -> None:
        """Take the options of the probe's section, where it has any."""

    def before(self, look: Look) -> None:
        """Get ready, right before the forward pass."""

    def after_backward(self, look: Look) -> Reading:
        """Measure, right after the backward pass: gradients are there, unscaled and not clipped; no step was taken."""
        return Reading()

    def after_step(self, look: Look) -> Reading:
        """Measure, right after the optimizer's step, which a diverging training does not come to."""
        return Reading()

    def state(self) -> dict[str, Tensor]:
        """Return what the probe keeps from one look to the next, so that a continued run sees the same."""
        return {}

    def go_on_at(self, state: Mapping[str, Tensor]) -> None:
        """Take up what the probe kept in an earlier session, on the device where it was kept."""
