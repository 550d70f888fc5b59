"""Probe `norm_state`: what the norms have learned, and how well their running statistics fit the batch."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.subject import Look
from bnexp.norms.layer_norm import ChannelLayerNorm
from bnexp.probes.probe import Charts, Figure, Reading, WatchingProbe

NEAR_ZERO = 0.01
"""A gamma below this magnitude nearly switches its feature off."""
ROUNDING = 1e-5
"""A standard deviation below this multiple of the mean is the rounding error of equal values."""


class NormState(WatchingProbe):
    """Measures what each norm has learned, and how well its statistics fit the batch.

    Running statistics are compared as they were before this batch moved them. The standard deviation of the batch is
    the unbiased one, as the running one is (except with `batch_renorm`, whose running deviation is biased). Features
    that do not vary in the batch have no distance and are left out of its mean.

    Variances are those of a feature over the whole batch where there are running statistics, also with ghost batches;
    otherwise those of an example (`ln`), of its groups (`gn`), of its channels (`in`) or of its positions (`ln_c`).
    """

    figures = (
        Figure("gamma_mean/<norm>", "mean of the learned scale over the features"),
        Figure("gamma_min/<norm>", "smallest learned scale"),
        Figure("gamma_max/<norm>", "largest learned scale"),
        Figure("beta_mean/<norm>", "mean of the learned shift over the features"),
        Figure("beta_min/<norm>", "smallest learned shift"),
        Figure("beta_max/<norm>", "largest learned shift"),
        Figure("gamma_near_zero/<norm>", f"fraction of features with `|gamma|` below {NEAR_ZERO}", range="0 to 1"),
        Figure(
            "eps_dominates/<norm>",
            "fraction of variances below eps, which the norm no longer brings to 1",
            range="0 to 1",
        ),
        Figure(
            "running_mean_distance/<norm>",
            "distance of the running mean from that of the batch, mean over the features",
            formula="|running mean - batch mean| / batch std",
            range="in standard deviations of the batch",
        ),
        Figure(
            "running_std_distance/<norm>",
            "distance of the running standard deviation from that of the batch, mean over the features",
            formula="|running std - batch std| / batch std",
            range="in standard deviations of the batch",
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

    def __init__(self, schedule: ProbeSchedule) -> None:
        super().__init__(schedule, inputs=True)
        self._running: dict[str, dict[str, Tensor]] = {}

    def before(self, look: Look) -> None:
        """Watch what comes into the norms, and copy their running statistics."""
        placed = look.subject.placed
        norms = {
            name: module
            for name, module in look.subject.items.items()
            if name in placed and placed[name].item.kind.role == "norm"
        }
        self._recorder.start(norms)
        self._running = {name: _running_statistics(module) for name, module in norms.items()}

    def after_backward(self, look: Look) -> Reading:
        """Measure parameters and statistics."""
        scalars: dict[str, Tensor] = {}
        for name, x in self._recorder.stop().items():
            module = look.subject.items[name]
            figures = {**_of_parameters(module), **_of_statistics(module, x.float(), self._running[name])}
            scalars |= {f"{quantity}/{name}": value for quantity, value in figures.items()}
        return Reading(scalars)


def _running_statistics(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of running mean and standard deviation, those that the norm has."""
    kept = {name: buffer.clone() for name, buffer in module.named_buffers() if name.startswith("running_")}
    if "running_var" in kept:
        kept["running_std"] = kept.pop("running_var").sqrt()
    return kept


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


def _of_statistics(module: nn.Module, x: Tensor, running: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compare the statistics of the batch x (B, F) or (B, C, H, W) with the running ones and with eps."""
    if not running:
        return _of_variances(module, x)
    mean, var = moments(x, [0, *range(2, x.ndim)])
    count = x.numel() // len(mean)
    std = (var * count / (count - 1)).sqrt()
    varies = std > ROUNDING * mean.abs()

    def distance(running: Tensor, batch: Tensor) -> Tensor:
        return torch.where(varies, (running - batch).abs() / std, 0).sum() / varies.sum()

    figures = {"eps_dominates": (var < module.eps).float().mean()}  # type: ignore[operator]
    if "running_mean" in running:
        figures["running_mean_distance"] = distance(running["running_mean"], mean)
    return figures | {"running_std_distance": distance(running["running_std"], std)}


def _of_variances(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    for kind, variances_of in VARIANCES.items():
        if isinstance(module, kind):
            return {"eps_dominates": (variances_of(x, module) < module.eps).float().mean()}  # type: ignore[operator]
    return {}


def moments(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance over some dimensions, in the two passes of the definition."""
    mean = x.mean(dim=dims, keepdim=True)
    var = (x - mean).square().mean(dim=dims)
    return mean.flatten(), var.flatten()


VARIANCES: dict[type[nn.Module], Callable[[Tensor, Any], Tensor]] = {
    ChannelLayerNorm: lambda x, norm: moments(x.movedim(1, -1), [-1])[1],
    nn.LayerNorm: lambda x, norm: moments(x, list(range(-len(norm.normalized_shape), 0)))[1],
    nn.GroupNorm: lambda x, norm: moments(x.reshape(len(x), norm.num_groups, -1), [2])[1],
    nn.InstanceNorm2d: lambda x, norm: moments(x, [2, 3])[1],
}
"""How the norms without running statistics take their variances."""
