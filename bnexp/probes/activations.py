"""Probe `activations`: the outputs of every item of the blocks."""

import functools
import math

import torch
from torch import Tensor, nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.recorder import Recorder
from bnexp.measure.samples import as_units, scale_of, spread_units, spread_values
from bnexp.measure.subject import Look
from bnexp.probes.probe import Probe, Reading

PERCENTILES = (15, 50, 85)
"""Those of figure 1 of Ioffe & Szegedy 2015."""
TANH_SATURATED = 0.97
"""A tanh unit counts as saturated beyond this magnitude: its slope there is below 1 - 0.97^2 = 0.06."""
SIGMOID_SATURATED = 0.03
"""A sigmoid unit counts as saturated this near to 0 or 1: its slope there is below 0.03 * 0.97 = 0.03."""


class Activations(Probe):
    """How the output of each item is distributed, and what its units still say.

        activation_mean/<item>, activation_std/<item>   over all values of the batch (the biased standard deviation)
        activation_max/<item>                           the largest magnitude
        activation_p15/<item>, p50, p85                 percentiles, of at most 4,096 values of at most 1,024 units
        effective_rank/<item>                           tr(K)^2 / |K|_F^2, with K = H H^T of the batch's features H
        dead_fraction/<item>                            ReLU: units that are 0 for every example of the batch
        saturated_fraction/<item>                       tanh, sigmoid: values where the slope has all but vanished

    The effective rank lies between 1, where all examples look alike, and the size of the batch; it is the measure of
    Daneshmand et al. 2020 (https://arxiv.org/abs/2003.01652), here over at most 1,024 units. H (B, F) is not centered.
    """

    watches = True

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
            units = as_units(output.float())
            figures = {**distribution(units), **_of_activation(look.subject.items[name], units)}
            scalars |= {f"{quantity}/{name}": value for quantity, value in figures.items()}
        return Reading(scalars)


def distribution(output: Tensor) -> dict[str, Tensor]:
    """Return mean, std, largest magnitude, percentiles and effective rank of an output (B, units) in float32."""
    scale = scale_of(output)
    scaled = output / scale
    mean = scaled.mean()
    # The two passes of the definition; torch.std_mean takes six times as long on the CPU.
    std = torch.linalg.vector_norm(scaled - mean) / math.sqrt(output.numel())
    low, high = output.aminmax()
    some = spread_units(scaled)  # (B, U)
    percentiles = torch.quantile(spread_values(some), _levels(output.device)) * scale
    return {
        "activation_mean": mean * scale,
        "activation_std": std * scale,
        "activation_max": torch.maximum(high, -low),
        **{f"activation_p{percent}": value for percent, value in zip(PERCENTILES, percentiles, strict=True)},
        "effective_rank": effective_rank(some),
    }


@functools.lru_cache(maxsize=8)
def _levels(device: torch.device) -> Tensor:
    """Return the percentiles as fractions on a device, where they stay: to bring them there anew would wait for it."""
    return torch.tensor(PERCENTILES, device=device) / 100


def effective_rank(features: Tensor) -> Tensor:
    """Return tr(K)^2 / |K|_F^2 of K = H H^T for features H (B, F); nan where all of them are 0. Shape ()."""
    scaled = features / scale_of(features)  # neither the squares of large features nor of small ones fit in float32
    kernel = scaled @ scaled.T if len(features) <= features.shape[1] else scaled.T @ scaled
    rank: Tensor = (kernel.trace() / torch.linalg.vector_norm(kernel)).square()
    return rank


def _of_activation(module: nn.Module, output: Tensor) -> dict[str, Tensor]:
    """Return the fraction of dead units of a ReLU, or of saturated values of a tanh or a sigmoid."""
    if isinstance(module, nn.ReLU):
        return {"dead_fraction": dead_fraction(output)}
    if isinstance(module, nn.Tanh):
        return {"saturated_fraction": (output.abs() > TANH_SATURATED).float().mean()}
    if isinstance(module, nn.Sigmoid):
        near = (output < SIGMOID_SATURATED) | (output > 1 - SIGMOID_SATURATED)
        return {"saturated_fraction": near.float().mean()}
    return {}


def dead_fraction(output: Tensor) -> Tensor:
    """Return the fraction of units of (B, units) that are 0 for the whole batch; shape ()."""
    return (output.amax(dim=0) == 0).float().mean()
