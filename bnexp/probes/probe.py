"""What a probe is: it looks at a training step from three moments, and changes nothing.

The loop knows probes only by this interface. Tensors stay on the device; the loop brings all figures of a step to
Python together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.subject import Look


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


def scalars_of(readings: Iterable[Reading]) -> dict[str, Tensor]:
    """Return the scalars of several readings together."""
    return {name: value for reading in readings for name, value in reading.scalars.items()}


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

    def state_dict(self) -> dict[str, Tensor]:
        """Return what the probe keeps from one look to the next."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Resume from what the probe kept in an earlier session; the tensors are on the run's device."""
