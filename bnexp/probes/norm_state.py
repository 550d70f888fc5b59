"""Probe `norm_state`: what the norms have learned, and how well their running statistics fit the batch."""

import torch
from torch import Tensor, nn

from bnexp.config.block import Item
from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.recorder import Recorder
from bnexp.measure.subject import Look
from bnexp.norms.shapes import moments, over_batch
from bnexp.norms.statistics import example_variances, running_moments
from bnexp.probes.probe import Probe, Reading

NEAR_ZERO = 0.01
"""A gamma below this magnitude all but switches its feature off."""
ROUNDING = 1e-5
"""A deviation this far below the mean is what rounding makes of values that are all the same."""


class NormState(Probe):
    """Learned scale and shift of each norm, and its statistics.

        gamma_mean/<norm>, gamma_min, gamma_max     over the features; beta_... likewise
        gamma_near_zero/<norm>                      fraction of features with |gamma| < 0.01
        eps_dominates/<norm>                        fraction of variances that are below eps: there the norm no longer
                                                    normalizes
        running_mean_distance/<norm>                mean over features of |running mean - batch mean| / batch std
        running_std_distance/<norm>                 mean over features of |running std - batch std| / batch std

    The running statistics are those that this batch has not yet moved, and the batch's deviation is the unbiased one,
    as they are (but for `batch_renorm`, whose running deviation is the biased one). Features that do not vary in the
    batch have no distance and are left out of the mean. A variance is that of a feature over the whole batch where
    there are running statistics, also with ghost batches, else that of an example (ln), of its groups (gn), channels
    (in) or positions (ln_c).
    """

    watches = True

    def __init__(self, schedule: ProbeSchedule) -> None:
        super().__init__(schedule)
        self._recorder = Recorder(inputs=True)
        self._running: dict[str, dict[str, Tensor]] = {}

    def before(self, look: Look) -> None:
        """Watch what comes into the norms, and keep their running statistics."""
        placed = look.subject.placed
        norms = {
            name: module
            for name, module in look.subject.items.items()
            if name in placed and placed[name].item.kind.role == "norm"
        }
        self._recorder.start(norms)
        self._running = {name: running_moments(module) for name, module in norms.items()}

    def after_backward(self, look: Look) -> Reading:
        """Measure parameters and statistics."""
        scalars: dict[str, Tensor] = {}
        for name, x in self._recorder.stop().items():
            item, module = look.subject.placed[name].item, look.subject.items[name]
            figures = {**_of_parameters(module), **_of_statistics(item, module, x.float(), self._running[name])}
            scalars |= {f"{quantity}/{name}": value for quantity, value in figures.items()}
        return Reading(scalars)


def _of_parameters(module: nn.Module) -> dict[str, Tensor]:
    figures: dict[str, Tensor] = {}
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
    if not item.kind.batch_statistics:
        return _below_eps(module, example_variances(item, x))
    mean, var = moments(x, over_batch(x))
    count = x.numel() // len(mean)
    std = (var * count / (count - 1)).sqrt()
    varies = std > ROUNDING * mean.abs()
    figures = _below_eps(module, var)
    for name, batch in (("mean", mean), ("std", std)):
        if name in running:
            distances = torch.where(varies, (running[name] - batch).abs() / std, 0)
            figures[f"running_{name}_distance"] = distances.sum() / varies.sum()
    return figures


def _below_eps(module: nn.Module, variances: Tensor | None) -> dict[str, Tensor]:
    eps = getattr(module, "eps", None)
    return {} if variances is None or eps is None else {"eps_dominates": (variances < eps).float().mean()}
