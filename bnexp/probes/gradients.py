"""Probe `gradients`: how large the gradient is, in the whole and layer by layer."""

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import ClassVar

import torch
from torch import Tensor

from bnexp.measure.samples import lengths, total_lengths
from bnexp.measure.subject import Items, Look
from bnexp.probes.probe import Charts, Figure, Probe, Reading

CLIPPING_EPS = 1e-6
"""Added by torch's `clip_grad_norm_` to the norm that it divides by."""
_NOT_ITSELF = (
    "no: before a norm the gradient goes with 1 / `|W|`, so that arms with other lengths of W differ without learning "
    "differently; take `gradient_to_weight`"
)
_LAYER = r"(.*\.)?(linear|conv|head)"
"""A layer by its name, such as block1.linear, stage2.block1.conv2 or head."""


class Gradients(Probe):
    """Measures how large the gradient is: in the whole, item by item, and against the weights.

    Norms are Euclidean. They are taken without loss scaling, and before clipping unless the figure says otherwise.
    """

    figures = (
        Figure(
            "gradient_norm/<item>",
            "norm over all parameters of the item: weight and bias, or gamma and beta",
            formula="|g|",
            range="0 and up",
            comparable=_NOT_ITSELF,
            silent_on="how fast the item learns: adam divides its size away, sgd multiplies it by the learning rate",
        ),
        Figure(
            "gradient_norm/total",
            "norm over all parameters of the network",
            formula="|g|",
            range="0 and up",
            comparable=_NOT_ITSELF,
            silent_on="which layers it comes from: the one with the largest gradient covers the others",
        ),
        Figure(
            "gradient_norm_clipped/total",
            "the same after clipping, where `training.grad_clip` is set",
            formula="min(|g|, grad_clip)",
            range="0 to `grad_clip`",
            comparable="no, as above; how often it lies at `grad_clip` tells how often an arm is clipped",
            silent_on="how much was cut off",
        ),
        Figure(
            "gradient_to_weight/<layer>",
            "norm of the gradient of the layer's weight, divided by that of the weight",
            formula="|g| / |W|",
            range="0 and up",
            comparable="yes with sgd: times the learning rate it is the relative step, without momentum; no with adam, "
            "whose step does not grow with the gradient",
            silent_on="whether it is signal or noise of the batch",
        ),
        Figure(
            "gradient_ratio/first_to_last",
            "norm of the gradient of the first layer's weight, divided by that of the head's: orders of magnitude "
            "below 1 hint at gradients that vanish on their way down, above 1 at gradients that explode",
            formula="|g of the first W| / |g of the head's W|",
            range="0 and up",
            comparable="yes at the first step, for the same widths and weights; later no: before a norm W grows, and "
            "its gradient shrinks with it",
            silent_on="whether the first layer learns: sizes of inputs and widths are in it, too",
        ),
    )
    charts: ClassVar[Charts] = {
        "gradients": {
            "gradient norm of each layer": r"gradient_norm/" + _LAYER,
            "gradient norm, first layer / last": r"gradient_ratio/",
            "gradient norm / weight norm": r"gradient_to_weight/",
            "gradient norm of the network": r"gradient_norm(_clipped)?/total$",
            "gradient norm of norms and activations": r"gradient_norm/(?!total$)(?!" + _LAYER + ")",
        }
    }

    recordable = True

    def after_backward(self, look: Look) -> Reading:
        """Measure the gradients that the backward pass left, all of them together."""
        found = _gradients_of(look.subject.items)
        if not found:
            return Reading()
        layers = {name: layer for name, layer in look.subject.layers.items() if (name, "weight") in found}
        norms = lengths([*found.values(), *(layer.weight.detach() for layer in layers.values())])
        number_of = {key: number for number, key in enumerate(found)}
        items = {name: tuple(number_of[key] for key in keys) for name, keys in groupby(number_of, itemgetter(0))}
        # The gradient of a layer's weight is a part by itself: so one index picks it, too.
        parts = *items.values(), *((number_of[name, "weight"],) for name in layers)
        of_items, of_layers = total_lengths(norms, parts).split([len(items), len(layers)])
        scalars = _of_all(torch.linalg.vector_norm(of_items), look.subject.config.training.grad_clip)
        scalars |= {f"gradient_norm/{name}": norm for name, norm in zip(items, of_items, strict=True)}
        scalars |= _of_layers(layers, of_layers, norms[len(found) :])
        rounded = torch.stack(list(scalars.values())).to(look.x.device, torch.float32)
        return Reading(dict(zip(scalars, rounded, strict=True)))


def _gradients_of(items: Items) -> dict[tuple[str, str], Tensor]:
    """Return the gradients of the parameters that have one, by (item, parameter), item after item."""
    return {
        (name, key): parameter.grad
        for name, module in items.items()
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.grad is not None
    }


def _of_all(norm: Tensor, limit: float | None) -> dict[str, Tensor]:
    """Return the norm () over all parameters, and, where gradients are clipped, what that leaves of it."""
    scalars = {"gradient_norm/total": norm}
    if limit is not None:
        scalars["gradient_norm_clipped/total"] = norm * (limit / (norm + CLIPPING_EPS)).clamp(max=1)
    return scalars


def _of_layers(names: Iterable[str], gradients: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Return norms (L,) of gradients of L layers' weights, divided by the weights' norms, and the first by the last."""
    ratios = gradients / weights
    scalars = {f"gradient_to_weight/{name}": ratio for name, ratio in zip(names, ratios, strict=True)}
    if len(scalars) > 1:
        scalars["gradient_ratio/first_to_last"] = gradients[0] / gradients[-1]
    return scalars
