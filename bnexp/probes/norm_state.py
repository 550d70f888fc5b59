"""Probe `norm_state`: what the norms have learned, and how well their running statistics fit the batch."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.measure.samples import fractions, grouped
from bnexp.measure.subject import Look
from bnexp.norms.shapes import moments, over_batch
from bnexp.norms.statistics import example_variances, running_moments
from bnexp.probes.probe import Charts, Figure, Reading, WatchingProbe

NEAR_ZERO = 0.01
"""A gamma below this magnitude nearly switches its feature off."""
_OF_PARAMETERS = {
    *(f"{what}_{quantity}" for what in ("gamma", "beta") for quantity in ("mean", "min", "max")),
    "gamma_near_zero",  # a shift of 0 switches nothing off
}
ROUNDING = 1e-5
"""A standard deviation below this multiple of the mean is the rounding error of equal values."""
_NO_SCALE = "no: the weights of the next layer can make up for any scale"
_IMPORTANCE = "how much a feature matters, to which the next layer's weights belong"
_SAME_BATCH = (
    "yes, for the same batch size and momentum: by chance alone, the mean of B independent values lies "
    "0.8 / sqrt(B) off, on average"
)
_LAG = "whether it is lag or the scatter of this batch, and what it costs: that is in `loss_gap` of `evaluation_modes`"


class NormState(WatchingProbe):
    """Measures gamma and beta of each norm, and how well its statistics fit the batch.

    Running statistics are compared as they were before this batch moved them. The standard deviation of the batch is
    the root of the unbiased variance, as the running one is (except with `batch_renorm`, `vn` and `evonorm_b0`, which
    keep the biased one; that of `batch_renorm` has eps under its root). Features that do not vary in the batch have no
    distance and are left out of its mean. Frozen statistics have distances too, and no `eps_dominates`.

    Variances are those of a feature over the whole batch where there are running statistics, also with ghost batches;
    otherwise those of an example (`ln`), of its groups (`gn`), of its channels (`in`) or of its positions (`ln_c`).
    """

    figures = (
        *(
            Figure(name, meaning, range="any number", comparable=_NO_SCALE, silent_on=_IMPORTANCE)
            for name, meaning in (
                ("gamma_mean/<norm>", "mean of the learned scale over the features"),
                ("gamma_min/<norm>", "smallest learned scale"),
                ("gamma_max/<norm>", "largest learned scale"),
                ("beta_mean/<norm>", "mean of the learned shift over the features"),
                ("beta_min/<norm>", "smallest learned shift"),
                ("beta_max/<norm>", "largest learned shift"),
            )
        ),
        Figure(
            "gamma_near_zero/<norm>",
            f"fraction of features with `|gamma|` below {NEAR_ZERO}",
            range="0 to 1",
            comparable=f"no: where weight decay makes all gammas small, {NEAR_ZERO} is not near zero beside them",
            silent_on=_IMPORTANCE,
        ),
        Figure(
            "eps_dominates/<norm>",
            "fraction of variances below eps, where the variance of the output, before gamma, is less than a half",
            range="0 to 1",
            comparable="yes between norms over the same values with the same eps; others count other variances",
            silent_on="how many are above eps and still far from 1: at 9 eps the variance of the output is 0.9",
        ),
        Figure(
            "running_mean_distance/<norm>",
            "distance of the running mean from that of the batch, mean over the features",
            formula="|running mean - batch mean| / batch std",
            range="0 and up, in standard deviations of the batch",
            comparable=_SAME_BATCH,
            silent_on=_LAG,
        ),
        Figure(
            "running_std_distance/<norm>",
            "distance of the running standard deviation from that of the batch, mean over the features",
            formula="|running std - batch std| / batch std",
            range="0 and up, in standard deviations of the batch",
            comparable=_SAME_BATCH,
            silent_on=_LAG,
        ),
    )
    charts: ClassVar[Charts] = {
        "norms": {
            "gamma, mean": r"gamma_mean/",
            "beta, mean": r"beta_mean/",
            "fraction of variances below eps": r"eps_dominates/",
        },
        "running statistics": {
            "distance of the mean, in batch std": r"running_mean_distance/",
            "distance of the std, in batch std": r"running_std_distance/",
        },
    }

    watches_inputs = True
    recordable = True
    _running: dict[str, dict[str, Tensor]]

    def before(self, look: Look) -> None:
        """Watch what comes into the norms, and copy their running statistics."""
        names = {name for name, placed in look.subject.placed.items() if placed.item.kind.role == "norm"}
        norms = {name: module for name, module in look.subject.items.items() if name in names}
        self._recorder.start(norms)
        self._running = {name: running_moments(module) for name, module in norms.items()}

    def after_backward(self, look: Look) -> Reading:
        """Measure parameters and statistics, those of norms of one width together."""
        inputs = self._recorder.stop()
        modules = {name: look.subject.items[name] for name in inputs}
        statistics = {
            name: _statistics_of(look.subject.placed[name].item, modules[name], x.float(), self._running[name])
            for name, x in inputs.items()
        }
        of_parameters, of_statistics = _of_parameters(modules), _of_statistics(statistics)
        scalars = dict[str, Tensor]()
        for name in inputs:
            figures = {**of_parameters.get(name, {}), **of_statistics.get(name, {})}
            scalars |= {f"{quantity}/{name}": value for quantity, value in figures.items()}
        return Reading(scalars)


_Figures = dict[str, dict[str, Tensor]]
"""Figures () by norm and quantity."""


def _of_parameters(modules: Mapping[str, nn.Module]) -> _Figures:
    """Sum up gamma and beta of each norm, those that it has."""
    found = {
        (name, what): values.detach().flatten()
        for name, module in modules.items()
        for parameter, what in (("weight", "gamma"), ("bias", "beta"))
        if (values := getattr(module, parameter, None)) is not None
    }
    figures = defaultdict[str, dict[str, Tensor]](dict)
    for group in grouped(found, len):
        values = torch.stack(list(group.values()))  # (P, F)
        low, high = values.aminmax(dim=1)
        near_zero = fractions(values.abs() < NEAR_ZERO)
        summed_up = {"mean": values.mean(dim=1), "min": low, "max": high, "near_zero": near_zero}
        for (name, what), of_one in zip(group, _one_by_one(summed_up), strict=True):
            named = {f"{what}_{quantity}": value for quantity, value in of_one.items()}
            figures[name] |= {quantity: value for quantity, value in named.items() if quantity in _OF_PARAMETERS}
    return figures


class _Statistics(NamedTuple):
    """What is known of a norm's input.

    Attributes:
        vectors: its variances (F,), its means where a norm takes them over the batch, and the running statistics.
        eps: of the norm, where it is added to these variances.
        values: how many each mean is of.
    """

    vectors: dict[str, Tensor]
    eps: float | Tensor | None
    values: int = 0

    @property
    def kind(self) -> Hashable:
        """What norms have in common that are measured together."""
        return tuple(self.vectors), len(self.vectors["var"]), self.eps, self.values


def _statistics_of(item: Item, module: nn.Module, x: Tensor, running: dict[str, Tensor]) -> _Statistics | None:
    """Measure the input x (B, F) or (B, C, H, W) of a norm; None where nothing is compared with it."""
    eps = getattr(module, "eps", None) if item.kind.over != "none" else None
    if eps is None and not running:
        return None
    if item.kind.batch_statistics or running:  # frozen statistics are compared with a batch's, too
        mean, var = moments(x, over_batch(x))
        kept = {f"running_{name}": value.flatten().expand_as(mean) for name, value in running.items()}
        return _Statistics({"var": var, "mean": mean, **kept}, eps, x.numel() // len(mean))
    variances = example_variances(item, x)
    return None if variances is None else _Statistics({"var": variances}, eps)


def _of_statistics(statistics: Mapping[str, _Statistics | None]) -> _Figures:
    """Compare the statistics of the batch with the running ones and with eps."""
    found = {name: one for name, one in statistics.items() if one is not None}
    figures = _Figures()
    for group in grouped(found, lambda one: one.kind):
        first = next(iter(group.values()))
        vectors = torch.stack([one.vectors[name] for name in first.vectors for one in group.values()])
        named = dict(zip(first.vectors, vectors.unflatten(0, (-1, len(group))), strict=True))  # (N, F) each
        compared = {} if first.eps is None else {"eps_dominates": fractions(named["var"] < first.eps)}
        compared |= _distances(named, first.values)
        figures |= zip(group, _one_by_one(compared), strict=True)
    return figures


def _distances(vectors: Mapping[str, Tensor], values: int) -> dict[str, Tensor]:
    """Return how far running statistics (N, F) are from those of the batch (N, F) over so many values: (N,) each."""
    compared = [name for name in ("mean", "std") if f"running_{name}" in vectors]
    if not compared:
        return {}
    mean, std = vectors["mean"], (vectors["var"] * values / (values - 1)).sqrt()
    varies = std > ROUNDING * mean.abs()
    running = torch.stack([vectors[f"running_{name}"] for name in compared])  # (1 or 2, N, F)
    batch = torch.stack([{"mean": mean, "std": std}[name] for name in compared])
    distances = torch.where(varies, (running - batch).abs() / std, 0).sum(dim=2) / varies.sum(dim=1)
    return {f"running_{name}_distance": distance for name, distance in zip(compared, distances, strict=True)}


def _one_by_one(figures: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return figures (N,) of N norms as figures () of each."""
    return [
        dict(zip(figures, of_one, strict=True))
        for of_one in zip(*(values.unbind() for values in figures.values()), strict=True)
    ]
