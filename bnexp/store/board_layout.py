"""The page `Custom scalars` of TensorBoard: all layers of a quantity in one chart, and the charts in order."""

import re
from collections.abc import Iterable

Layout = dict[str, dict[str, str]]
"""Charts by category, each with the pattern of the tags that it draws, as TensorBoard matches it: from the start."""

_OF_LAYER = r"(.*\.)?(linear|conv|head)"
"""A layer by its name, such as block1.linear, stage2.block1.conv2 or head."""

LAYOUT: Layout = {
    "training": {
        "loss": r"loss/(train|val)$",
        "accuracy": r"accuracy/(train|val)$",
        "learning rate": r"learning_rate/",
    },
    "gradients": {
        "gradient norm of each layer": r"gradient_norm/" + _OF_LAYER,
        "gradient norm, first layer / last": r"gradient_ratio/",
        "gradient norm / weight norm": r"gradient_to_weight/",
        "gradient norm of the network": r"gradient_norm(_clipped)?/total$",
        "gradient norm of norms and activations": r"gradient_norm/(?!total$)(?!" + _OF_LAYER + ")",
    },
    "activations": {
        "activation std": r"activation_std/",
        "dead or saturated fraction": r"(dead|saturated)_fraction/",
        "effective rank": r"effective_rank/",
        "activation mean": r"activation_mean/",
    },
    "updates": {
        "update ratio, log10": r"update_ratio/",
        "weight norm": r"weight_norm/",
        "effective learning rate": r"effective_lr/",
    },
    "norms": {
        "gamma, mean": r"gamma_mean/",
        "beta, mean": r"beta_mean/",
        "fraction of variances below eps": r"eps_dominates/",
    },
    "running statistics": {
        "distance of the mean, in batch std": r"running_mean_distance/",
        "distance of the std, in batch std": r"running_std_distance/",
    },
    "evaluation modes": {
        "loss": r"loss_by_mode/",
        "accuracy": r"accuracy_by_mode/",
    },
    "coupling of examples": {
        "spread of the logits": r"coupling_spread/",
        "predictions that flip": r"coupling_flip_rate/",
    },
    "covariate shift": {
        "shift of the inputs, in std": r"input_shift/",
        "Wasserstein distance of the inputs": r"input_wasserstein/",
        "shift of the gradient": r"gradient_shift/",
        "cosine of the gradients": r"gradient_cosine/",
    },
    "landscape along the gradient": {
        "loss, smallest and largest": r"landscape_loss_(min|max)/",
        "distance of the gradient, smallest and largest": r"gradient_distance_(min|max)/",
        "effective smoothness": r"effective_smoothness/",
    },
    "scale invariance": {
        "change of the logits": r"invariance_change/",
        "gradient, scaled back": r"invariance_gradient/",
    },
    "cost": {
        "milliseconds": r"cost_ms/",
        "share": r"cost_share/",
    },
}
"""A category is what one probe measures. TensorBoard merges the layouts of all runs, and may lose a chart of a run
whose category another run shows without it."""


def layout_of(tags: Iterable[str]) -> Layout:
    """Return the categories and charts of `LAYOUT` that draw any of these tags."""
    known = list(tags)
    found = {category: _drawn(charts, known) for category, charts in LAYOUT.items()}
    return {category: charts for category, charts in found.items() if charts}


def _drawn(charts: dict[str, str], tags: list[str]) -> dict[str, str]:
    return {title: tag for title, tag in charts.items() if any(re.match(tag, name) for name in tags)}
