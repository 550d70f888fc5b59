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
_EXCEPT_BEFORE_A_NORM = "yes, item by item, except before a norm, which takes its scale, and maybe the mean, away"


class Activations(WatchingProbe):
    """Measures how the output of each item is distributed, and in how many directions the examples differ.

    The levels of the percentiles are those of figure 1 of Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167),
    which shows one input of a sigmoid; here they are over all units. `effective_rank` is taken about the mean of the
    examples. `uncentered_rank` is taken about 0, as Daneshmand et al. 2020 define their bound on the rank
    (https://arxiv.org/abs/2003.01652): what all examples share, such as the positive mean behind a relu, counts there
    as one large direction. It is low behind every relu, and near 1 where the mean is large, however much the examples
    differ.
    """

    figures = (
        Figure(
            "activation_mean/<item>",
            "mean over all values of the batch",
            range="any number",
            comparable=_EXCEPT_BEFORE_A_NORM,
            silent_on="the means of single features, which may be large and cancel here",
        ),
        Figure(
            "activation_std/<item>",
            "standard deviation over all values, the biased one (divided by n)",
            range="0 and up",
            comparable=_EXCEPT_BEFORE_A_NORM,
            silent_on="whether examples differ or only features do: both count",
        ),
        Figure(
            "activation_max/<item>",
            "largest magnitude",
            range="0 and up",
            comparable="no: it is one value, and grows with the number of values",
            silent_on="how many values are large",
        ),
        *(
            Figure(
                f"activation_p{percent}/<item>",
                f"{percent}th percentile, of at most {MOST_VALUES:,} values of at most {MOST_UNITS:,} units",
                range="any number",
                comparable=_EXCEPT_BEFORE_A_NORM,
                silent_on="the percentiles of a single unit",
            )
            for percent in PERCENTILES
        ),
        Figure(
            "effective_rank/<item>",
            f"in how many directions the examples differ: participation ratio of the eigenvalues of the covariance C "
            f"of the batch's features H (B, F), of at most {MOST_UNITS:,} units",
            formula="tr(C)^2 / |C|_F^2 with C the covariance of the columns of H",
            range="1 to min(B - 1, F); nan where all examples are the same",
            comparable="yes, for the same batch size and width: neither the scale nor the mean counts",
            silent_on="how far apart the examples are, and whether they differ by class or by noise",
        ),
        Figure(
            "uncentered_rank/<item>",
            "the same without subtracting the mean: what the examples have in common counts as a direction",
            formula="tr(K)^2 / |K|_F^2 with K = H H^T",
            range="1 to min(B, F); nan where all features are 0",
            comparable="no: it follows the size of the mean, which every relu raises and a norm may subtract",
            silent_on="whether examples differ less, or have more in common beside that",
        ),
        Figure(
            "dead_fraction/<item>",
            "of a relu: fraction of its units that are 0 for every example of the batch; in feature maps a unit is a "
            "channel at one position",
            range="0 to 1",
            comparable="yes, for the same batch size and network: fewer units are 0 for all of more examples",
            silent_on="whether a unit is dead for other batches, or a whole filter: see `dead_channels`",
        ),
        Figure(
            "dead_channels/<item>",
            "of a relu behind feature maps: fraction of its channels that are 0 at all positions of every example",
            range="0 to 1",
            comparable="yes, for the same batch size and network",
            silent_on="whether a channel is dead for other batches",
        ),
        Figure(
            "saturated_fraction/<item>",
            f"of a tanh or a sigmoid: fraction of values where the slope has nearly vanished, those of a tanh beyond "
            f"{TANH_SATURATED} in magnitude, those of a sigmoid within {SIGMOID_SATURATED} of 0 or 1",
            range="0 to 1",
            comparable="yes for the same activation; no between tanh and sigmoid, whose bounds lie at 6% and 12% of "
            "their steepest slopes",
            silent_on="whether a unit is saturated for all examples or each for some: the first hardly learns",
        ),
    )
    charts: ClassVar[Charts] = {
        "activations": {
            "activation std": r"activation_std/",
            "dead or saturated fraction": r"(dead|saturated)_fraction/",
            "dead channels": r"dead_channels/",
            "effective rank": r"effective_rank/",
            "activation mean": r"activation_mean/",
        }
    }

    def after_backward(self, look: Look) -> Reading:
        """Measure the outputs of the items."""
        scalars = dict[str, Tensor]()
        for name, output in self._recorder.stop().items():
            units = as_units(output.float())
            figures = {**distribution(units), **_of_activation(look.subject.items[name], output)}
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
    """Return the fractions of dead units and channels of a relu, or of saturated values of a tanh or a sigmoid."""
    if isinstance(module, nn.ReLU):
        return dead_fractions(output)
    if isinstance(module, nn.Tanh):
        return {"saturated_fraction": (output.abs() > TANH_SATURATED).float().mean()}
    if isinstance(module, nn.Sigmoid):
        near = (output < SIGMOID_SATURATED) | (output > 1 - SIGMOID_SATURATED)
        return {"saturated_fraction": near.float().mean()}
    return {}


def dead_fractions(output: Tensor) -> dict[str, Tensor]:
    """Return the fraction of units, and of channels, that are 0 for the whole batch (B, F) or (B, C, H, W)."""
    peaks = as_units(output).amax(dim=0)  # (units,)
    figures = {"dead_fraction": (peaks == 0).float().mean()}
    if output.ndim == 4:
        last = output.is_contiguous(memory_format=torch.channels_last)  # then channels vary fastest among the units
        maps = peaks.unflatten(0, (-1, output.shape[1])).T if last else peaks.unflatten(0, (output.shape[1], -1))
        figures["dead_channels"] = (maps.amax(dim=1) == 0).float().mean()
    return figures
