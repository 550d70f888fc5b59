"""What a probe is: it looks before the forward pass and after the backward pass, and changes nothing.

The loop knows probes only by this interface. Tensors stay on the device; the loop brings all figures of a step to
Python together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

Items = Mapping[str, nn.Module]
"""The modules that hold no others, by name and in order: `block1.linear`, `block1.bn`, ..., `head`."""


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


class Probe(Protocol):
    """A measurement of the inside of the network while it trains."""

    every: int
    """steps between two looks, at least 1"""

    def before(self, items: Items) -> None:
        """Get ready, right before the forward pass of a step that is looked at."""

    def after(self, items: Items) -> Reading:
        """Measure, right after the backward pass: gradients are there, unscaled and not clipped; no step was taken."""
