"""Probe `activations`: the outputs of every item of the blocks."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from bnexp.measure.samples import (
    MOST_UNITS,
    MOST_VALUES,
    alike,
    as_one,
    as_units,
    fractions,
    grouped,
    spread_units,
    spread_values,
)
from bnexp.measure.subject import Look
from bnexp.measure.tally import moments_of, waits
from bnexp.probes.probe import Charts, Figure, Reading, WatchingProbe

PERCENTILES = (15, 50, 85)
"""Those of figure 1 of Ioffe & Szegedy 2015."""
TANH_SATURATED = 0.97
"""A tanh unit counts as saturated beyond this magnitude: its slope there is below 1 - 0.97^2 = 0.06."""
SIGMOID_SATURATED = 0.03
"""A sigmoid unit counts as saturated this near to 0 or 1: its slope there is below 0.03 * 0.97 = 0.03."""
_TOGETHER = 1 << 23
"""Values of outputs of one shape that a GPU takes together at most: it takes longer to begin than to add them."""
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

    recordable = True

    def warm_up(self, device: torch.device) -> None:
        """Measure two examples of a large output of zeros."""
        zeros = torch.zeros(2, 1, 64, 64, device=device)
        distributions({"": as_units(zeros)})
        dead_fractions({"": zeros})

    def after_backward(self, look: Look) -> Reading:
        """Measure the outputs of the items."""
        outputs = self._recorder.stop()
        scalars = distributions({name: as_units(output) for name, output in outputs.items()}) if outputs else {}
        items = look.subject.items
        scalars |= dead_fractions({name: each for name, each in outputs.items() if isinstance(items[name], nn.ReLU)})
        for name, output in outputs.items():
            scalars |= {f"saturated_fraction/{name}": value for value in _saturated(items[name], output)}
        return Reading(scalars)


def distributions(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return mean, std, largest magnitude, percentiles and both ranks of outputs (B, units), by `quantity/name`.

    Each output is read once, and a sample of it is measured together with those of the same shape: a GPU takes longer
    to begin hundreds of small computations than to do them.
    """
    device = next(iter(outputs.values())).device
    groups = list(alike(outputs, _TOGETHER if waits(device) else 0))
    names = [name for group in groups for name in group]
    stacks = [as_one(list(group.values())) for group in groups]  # (N, B, units) each
    low, high, total, squares = moments_of(stacks).unbind(dim=1)  # (I,) each, float64
    n = _on(low.device, tuple(outputs[name].numel() for name in names))
    mean = total / n
    whole = (low + mean, (squares / n - mean.square()).sqrt(), torch.maximum(high, -low))
    means, stds, peaks = torch.stack(whole).float().to(device).unbind()
    scalars = _by_name({"activation_mean": means, "activation_std": stds, "activation_max": peaks}, names)
    samples = defaultdict[torch.Size, list[_Sample]](list)
    for group, stack, scales in zip(groups, stacks, _not_zero(peaks).split([*map(len, groups)]), strict=True):
        some = spread_units(stack)  # (N, B, U)
        samples[some.shape[1:]].append(_Sample(list(group), some, scales))
    of_each_shape = [_joined(parts) for parts in samples.values()]
    for sample in of_each_shape:
        scalars |= _by_name(_percentiles_of(sample), sample.names)
    for sample in [_joined(_widened(of_each_shape))] if waits(device) else of_each_shape:
        effective, uncentered = ranks(sample.units)
        scalars |= _by_name({"effective_rank": effective, "uncentered_rank": uncentered}, sample.names)
    return scalars


class _Sample(NamedTuple):
    """Units (N, B, U) of N outputs, by their names, with the largest magnitude of each, (N,)."""

    names: list[str]
    units: Tensor
    scales: Tensor


def _joined(samples: Sequence[_Sample]) -> _Sample:
    """Return samples of one shape as one, in float32."""
    names = [name for sample in samples for name in sample.names]
    units, scales = (torch.cat(parts) for parts in zip(*((each.units, each.scales) for each in samples), strict=True))
    return _Sample(names, units.float(), scales)


def _widened(samples: Sequence[_Sample]) -> list[_Sample]:
    """Return samples with units that are 0 beside their own, as many in each: they leave the ranks as they are."""
    widest = max(sample.units.shape[2] for sample in samples)
    return [sample._replace(units=pad(sample.units, (0, widest - sample.units.shape[2]))) for sample in samples]


def _percentiles_of(sample: _Sample) -> dict[str, Tensor]:
    """Return the percentiles of each output of a sample, (N,), by quantity."""
    values = spread_values(sample.units) / sample.scales.unsqueeze(1)
    percentiles = _percentiles(values) * sample.scales  # (levels, N)
    return {f"activation_p{percent}": value for percent, value in zip(PERCENTILES, percentiles, strict=True)}


def _percentiles(values: Tensor) -> Tensor:
    """Return the percentiles of each row of values (I, V), linear between its values: (levels, I); nan where one is."""
    # On the CPU, numpy takes a tenth of the time that torch takes.
    in_order = values.sort(dim=1).values if waits(values.device) else torch.from_numpy(np.sort(values.numpy(), axis=1))
    places = [divmod(percent * (values.shape[1] - 1), 100) for percent in PERCENTILES]
    found = [in_order[:, at].lerp(in_order[:, at + bool(rest)], rest / 100) for at, rest in places]
    return torch.stack(found).masked_fill_(in_order[:, -1].isnan(), torch.nan)


def _by_name(figures: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return figures (I,) of several outputs as figures () by `quantity/name`."""
    names = list(names)
    return {
        f"{quantity}/{name}": value
        for quantity, values in figures.items()
        for name, value in zip(names, values.unbind(), strict=True)
    }


@functools.cache
def _on(device: torch.device, numbers: tuple[int, ...]) -> Tensor:
    """Return numbers on a device, in float64; cached for good, as a recorded look reads them without waiting."""
    return torch.tensor(numbers, dtype=torch.float64, device=device)


def ranks(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return two ranks of features H (..., B, F), the effective one about the examples' mean, and the uncentered one.

    Both are tr(K)^2 / |K|_F^2, of K = D D^T with D the differences to the mean m of the examples, and of K = H H^T.
    That is (sum l)^2 / sum l^2 for the eigenvalues l of K, their participation ratio: between 1 and min(B - 1, F) or
    min(B, F). The effective one is nan where all examples are the same, the uncentered one where all features are 0.

    H = D + 1 m^T, so that H H^T = D D^T + a 1^T + 1 a^T + c 1 1^T with a = D m, c = m^T m, and, where F is smaller,
    H^T H = D^T D + B m m^T: one product of matrices serves both.
    """
    examples, units = features.shape[-2:]
    features = features / _scales(features)  # neither the squares of large features nor of small ones fit in float32
    # First, so that rows that are the same differ by 0 and not by a rounding error.
    differing = features - features[..., :1, :]
    shift = differing.mean(dim=-2, keepdim=True)
    mean = features[..., :1, :] + shift  # (..., 1, F)
    scale = _scales(differing.sub_(shift))
    differing.div_(scale)
    if examples <= units:
        kernel, along = differing @ differing.mT, scale * (differing @ mean.mT)  # (..., B, B), (..., B, 1)
        rest = along + along.mT + mean.square().sum(dim=-1, keepdim=True)
    else:
        kernel, rest = differing.mT @ differing, examples * (mean.mT @ mean)  # (..., F, F)
    return _participation(kernel), _participation(scale.square() * kernel + rest)


def _scales(features: Tensor) -> Tensor:
    """Return the largest magnitude of each matrix (..., B, F), 1 where that is 0 or not finite: (..., 1, 1)."""
    if waits(features.device):  # one operation, for which a CPU takes ten times as long as for all these
        peaks = torch.linalg.vector_norm(features, ord=torch.inf, dim=(-2, -1))
    else:
        peaks = torch.maximum(features.amax(dim=(-2, -1)), -features.amin(dim=(-2, -1)))
    return _not_zero(peaks)[..., None, None]


def _not_zero(magnitudes: Tensor) -> Tensor:
    """Return magnitudes to divide by: 1 where one is 0 or not finite."""
    return magnitudes.nan_to_num(1.0, 1.0).masked_fill(magnitudes == 0, 1.0)


def _participation(kernel: Tensor) -> Tensor:
    """Return tr(K)^2 / |K|_F^2 of symmetric matrices K (..., N, N)."""
    trace = kernel.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    ratio: Tensor = (trace / torch.linalg.vector_norm(kernel, dim=(-2, -1))).square()
    return ratio


def _saturated(module: nn.Module, output: Tensor) -> list[Tensor]:
    """Return the fraction () of saturated values of a tanh or a sigmoid, and nothing of other items."""
    if isinstance(module, nn.Tanh):
        beyond = output.abs() > TANH_SATURATED
    elif isinstance(module, nn.Sigmoid):
        beyond = (output < SIGMOID_SATURATED) | (output > 1 - SIGMOID_SATURATED)
    else:
        return []
    return [beyond.count_nonzero() / beyond.numel()]


def dead_fractions(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the fractions of units, and of channels, that are 0 for the whole batch, by `quantity/name`.

    Of outputs (B, F) or (B, C, H, W) of relus, those of one shape together.
    """
    scalars = dict[str, Tensor]()
    for group in grouped(outputs, lambda output: (output.shape, _channels_last(output))):
        peaks = [as_units(output).amax(dim=0) for output in group.values()]  # (units,) each
        dead, first = torch.stack(peaks) == 0, next(iter(group.values()))  # (I, units)
        figures = {"dead_fraction": fractions(dead)}
        if first.ndim == 4:
            channels, last = first.shape[1], _channels_last(first)
            maps = dead.unflatten(1, (-1, channels)).mT if last else dead.unflatten(1, (channels, -1))  # (I, C, H W)
            figures["dead_channels"] = fractions(maps.all(dim=2))
        scalars |= _by_name(figures, group)
    return scalars


def _channels_last(output: Tensor) -> bool:
    """Tell whether channels vary fastest among the units of an output."""
    return output.ndim == 4 and output.is_contiguous(memory_format=torch.channels_last)
