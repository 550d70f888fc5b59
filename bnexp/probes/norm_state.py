"""Probe `norm_state`: what the norms have learned, and how well their running statistics fit the batch."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.measure.subject import Look
from bnexp.norms.shapes import moments, over_batch
from bnexp.norms.statistics import example_variances, running_moments
from bnexp.probes.probe import Charts, Figure, Reading, WatchingProbe

NEAR_ZERO = 0.01
"""A gamma below this magnitude nearly switches its feature off."""
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
        """Measure parameters and statistics."""
        scalars = dict[str, Tensor]()
        for name, x in self._recorder.stop().items():
            item, module = look.subject.placed[name].item, look.subject.items[name]
            figures = {**_of_parameters(module), **_of_statistics(item, module, x.float(), self._running[name])}
            scalars |= {f"{quantity}/{name}": value for quantity, value in figures.items()}
        return Reading(scalars)


def _of_parameters(module: nn.Module) -> dict[str, Tensor]:
    figures = dict[str, Tensor]()
    for parameter, quantity in (("weight", "gamma"), ("bias", "beta")):
        values = getattr(module, parameter, None)
        if values is not None:
            low, high = values.detach().aminmax()
            figures |= {f"{quantity}_mean": values.detach().mean(), f"{quantity}_min": low, f"{quantity}_max": high}
            if quantity == "gamma":
                figures["gamma_near_zero"] = (values.detach().abs() < NEAR_ZERO).float().mean()
    return figures


def _of_statistics(item: Item, module: nn.Module, x: Tensor, running: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compare the statistics of the batch x (B, F) or (B, C, H, W) with the running ones and with eps."""
    of_batch = item.kind.batch_statistics or running  # frozen statistics are compared with a batch's, too
    mean, var = moments(x, over_batch(x)) if of_batch else (None, example_variances(item, x))
    eps, figures = getattr(module, "eps", None), dict[str, Tensor]()
    if var is not None and eps is not None and item.kind.over != "none":
        figures["eps_dominates"] = (var < eps).float().mean()
    if mean is None or var is None:
        return figures
    count = x.numel() // len(mean)
    std = (var * count / (count - 1)).sqrt()
    varies = std > ROUNDING * mean.abs()
    for name, batch in (("mean", mean), ("std", std)):
        if name in running:
            distances = torch.where(varies, (running[name] - batch).abs() / std, 0)
            figures[f"running_{name}_distance"] = distances.sum() / varies.sum()
    return figures
