"""The metrics that a run logs, by what stands before the slash, and the probe that measures each.

Names are declared here, so that a claim is checked before anything is trained, without torch.
"""

from bnexp.config.probes_section import ProbesConfig
from bnexp.errors import ConfigError, did_you_mean

_SCORES = ("loss", "accuracy", "balanced_accuracy")
_PARTS = ("train", "val", "test")
_OF_THE_LOOP = (
    *("learning_rate", "step_ms", "examples_per_s", "measuring_share", "loss_scale", "skipped_steps"),
    *_SCORES,
)
OF_PROBES: dict[str, tuple[str, ...]] = {
    "gradients": ("gradient_norm", "gradient_norm_clipped", "gradient_ratio", "gradient_to_weight"),
    "activations": (
        *("activation_max", "activation_mean", "activation_p15", "activation_p50", "activation_p85", "activation_std"),
        *("dead_channels", "dead_fraction", "effective_rank", "saturated_fraction", "uncentered_rank"),
    ),
    "updates": ("effective_lr", "update_ratio", "weight_norm"),
    "norm_state": (
        *("beta_max", "beta_mean", "beta_min", "eps_dominates", "gamma_max", "gamma_mean", "gamma_min"),
        *("gamma_near_zero", "running_mean_distance", "running_std_distance"),
    ),
    "histograms": (),
    "evaluation_modes": ("accuracy_by_mode", "loss_by_mode", "loss_gap"),
    "coupling": ("coupling_flip_rate", "coupling_relative", "coupling_spread"),
    "covariate_shift": (
        *("gradient_cosine", "gradient_shift", "gradient_shift_relative"),
        *("input_shift", "input_wasserstein_relative"),
    ),
    "landscape": (
        *("effective_smoothness", "gradient_distance_max", "gradient_distance_min", "landscape_loss_max"),
        *("gradient_distance_relative_max", "gradient_distance_relative_min", "landscape_loss_min"),
    ),
    "invariance": ("invariance_change", "invariance_gradient"),
    "cost": ("cost_ms", "cost_share", "peak_memory_mib"),
}
"""The scalars that each probe measures."""


def refuse_unlogged(metric: str, probes: ProbesConfig) -> None:
    """Refuse a metric that no run with these probes logs.

    Raises:
        ConfigError: there is no such metric, or its probe is off.
    """
    kind, _, place = metric.partition("/")
    measuring = next((probe for probe, kinds in OF_PROBES.items() if kind in kinds), None)
    if measuring is None and kind not in _OF_THE_LOOP:
        known = [*_OF_THE_LOOP, *(name for kinds in OF_PROBES.values() for name in kinds)]
        hint = did_you_mean(kind, known).replace('"?', f'/{place}"?')
        raise ConfigError(f"no run logs {metric}.{hint or ' docs/probes.md has what the probes measure'}")
    if kind in _SCORES and place.partition("_")[0] not in _PARTS:
        hint = did_you_mean(place, _PARTS).replace(' "', f' "{kind}/')
        raise ConfigError(f"no run logs {metric}.{hint or f' {kind} has the parts train, val and test'}")
    if measuring is not None and getattr(probes, measuring).off:
        switch = f"fixed: {{probes.{measuring}: {{every_epochs: 1}}}}"
        raise ConfigError(f"{metric} is measured by the probe {measuring}, which is off; expected such as {switch}")
