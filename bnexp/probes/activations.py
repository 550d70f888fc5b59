"""Probe `activations`: the outputs of every item of the blocks."""

import functools
import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from bnexp.measure.samples import MOST_UNITS, MOST_VALUES, as_units, scale_of, spread_units, spread_values
from bnexp.measure.subject import Look
from bnexp.probes.probe import Charts, Figure, Reading, WatchingProbe

PERCENTILES = (15, 50, 85)
"""Those of figure 1 of Ioffe & Szegedy 2015."""
TANH_SATURATED = 0.97
"""A tanh unit counts as saturated beyond this magnitude: its slope there is below 1 - 0.97^2 = 0.06."""
SIGMOID_SATURATED = 0.03
"""A sigmoid unit counts as saturated this near to 0 or 1: its slope there is below 0.03 * 0.97 = 0.03."""


class Activations(WatchingProbe):
    """Measures how the output of each item is distributed, and how well its units tell the examples apart.

    The percentiles are those of figure 1 of Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167). Two ranks tell in
    how many directions the examples differ: `effective_rank` about their mean, and `uncentered_rank` about 0, as
    Daneshmand et al. 2020 define it (https://arxiv.org/abs/2003.01652). What all examples share, such as the positive
    mean behind a relu, counts in the second as one large direction: it falls at every relu, and is near 1 where the
    mean is large, however much the examples differ.
    """

    figures = (
        Figure("activation_mean/<item>", "mean over all values of the batch"),
        Figure("activation_std/<item>", "standard deviation over all values, the biased one (divided by n)"),
        Figure("activation_max/<item>", "largest magnitude"),
        *(
            Figure(
                f"activation_p{percent}/<item>",
                f"{percent}th percentile, of at most {MOST_VALUES:,} values of at most {MOST_UNITS:,} units",
            )
            for percent in PERCENTILES
        ),
        Figure(
            "effective_rank/<item>",
            f"in how many directions the examples differ: participation ratio of the eigenvalues of the covariance C "
            f"of the batch's features H (B, F), of at most {MOST_UNITS:,} units",
            formula="tr(C)^2 / |C|_F^2 with C the covariance of the columns of H",
            range="1 to min(B - 1, F); nan where all examples are the same",
        ),
        Figure(
            "uncentered_rank/<item>",
            "the same without subtracting the mean: what the examples have in common counts as a direction",
            formula="tr(K)^2 / |K|_F^2 with K = H H^T",
            range="1 to min(B, F); nan where all features are 0",
        ),
        Figure(
            "dead_fraction/<item>",
            "of a ReLU: fraction of its units that are 0 for every example of the batch",
            range="0 to 1",
        ),
        Figure(
            "saturated_fraction/<item>",
            f"of a tanh or a sigmoid: fraction of values where the slope has nearly vanished, those of a tanh beyond "
            f"{TANH_SATURATED} in magnitude, those of a sigmoid within {SIGMOID_SATURATED} of 0 or 1",
            range="0 to 1",
        ),
    )
    charts: ClassVar[Charts] = {
        "activations": {
            "activation std": r"activation_std/",
            "dead or saturated fraction": r"(dead|saturated)_fraction/",
            "effective rank": r"effective_rank/",
            "activation mean": r"activation_mean/",
        }
    }

    def after_backward(self, look: Look) -> Reading:
        """Measure the outputs of the items."""
        scalars = dict[str, Tensor]()
        for name, output in self._recorder.stop().items():
            units = as_units(output.float())
            figures = {**distribution(units), **_of_activation(look.subject.items[name], units)}
            scalars |= {f"{quantity}/{name}": value for quantity, value in figures.items()}
        return Reading(scalars)


def distribution(output: Tensor) -> dict[str, Tensor]:
    """Return mean, std, largest magnitude, percentiles and both ranks of an output (B, units) in float32."""
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
        "uncentered_rank": uncentered_rank(some),
    }


@functools.lru_cache(maxsize=8)
def _levels(device: torch.device) -> Tensor:
    """Return the percentiles as fractions on a device; cached, since to copy them would wait for the device."""
    return torch.tensor(PERCENTILES, device=device) / 100


def effective_rank(features: Tensor) -> Tensor:
    """Return tr(C)^2 / |C|_F^2 of the covariance C of features H (B, F); nan where all examples are the same. Shape ().

    It is (sum l)^2 / sum l^2 for the eigenvalues l of C, their participation ratio: between 1 and min(B - 1, F).
    """
    differing = features - features[:1]  # first, so that rows that are the same differ by 0 and not by a rounding error
    return uncentered_rank(differing - differing.mean(dim=0))


def uncentered_rank(features: Tensor) -> Tensor:
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
