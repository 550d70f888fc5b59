"""Probe `activations`: the outputs of every item of the blocks."""

import math

import torch
from torch import Tensor, nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.probes.probe import Look, Probe, Reading
from bnexp.probes.recorder import Recorder

TANH_SATURATED = 0.97
"""A tanh unit counts as saturated beyond this magnitude: its slope there is below 1 - 0.97^2 = 0.06."""
SIGMOID_SATURATED = 0.03
"""A sigmoid unit counts as saturated this near to 0 or 1: its slope there is below 0.03 * 0.97 = 0.03."""


class Activations(Probe):
    """Mean, standard deviation and largest magnitude of each item's output; dead and saturated fraction.

    activation_mean/<item>, activation_std/<item>   over all values of the batch (the biased standard deviation)
    activation_max/<item>                           the largest magnitude
    dead_fraction/<item>                            ReLU: units that are 0 for every example of the batch
    saturated_fraction/<item>                       tanh, sigmoid: values where the slope has all but vanished
    """

    def __init__(self, schedule: ProbeSchedule) -> None:
        super().__init__(schedule)
        self._recorder = Recorder()

    def before(self, look: Look) -> None:
        """Watch the coming forward pass."""
        self._recorder.start(look.subject.items)

    def after_backward(self, look: Look) -> Reading:
        """Measure what the items gave out."""
        scalars: dict[str, Tensor] = {}
        for name, output in self._recorder.stop().items():
            output = output.float()
            mean = output.mean()
            # The two passes of the definition; torch.std_mean takes six times as long on the CPU.
            std = torch.linalg.vector_norm(output - mean) / math.sqrt(output.numel())
            low, high = output.aminmax()
            scalars[f"activation_mean/{name}"] = mean
            scalars[f"activation_std/{name}"] = std
            scalars[f"activation_max/{name}"] = torch.maximum(high, -low)
            module = look.subject.items[name]
            if isinstance(module, nn.ReLU):
                scalars[f"dead_fraction/{name}"] = dead_fraction(output)
            elif isinstance(module, nn.Tanh):
                scalars[f"saturated_fraction/{name}"] = (output.abs() > TANH_SATURATED).float().mean()
            elif isinstance(module, nn.Sigmoid):
                near = (output < SIGMOID_SATURATED) | (output > 1 - SIGMOID_SATURATED)
                scalars[f"saturated_fraction/{name}"] = near.float().mean()
        return Reading(scalars)


def dead_fraction(output: Tensor) -> Tensor:
    """Return the fraction of units of (B, F) or (B, C, H, W) that are 0 for the whole batch; shape ()."""
    return (output.amax(dim=0) == 0).float().mean()
