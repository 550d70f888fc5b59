"""Probe `gradients`: how large the gradient is, in the whole and layer by layer."""

import torch
from torch import Tensor

from bnexp.measure.samples import length, total_length
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Probe, Reading

CLIPPING_EPS = 1e-6
"""What torch's `clip_grad_norm_` adds to the norm that it divides by."""


class Gradients(Probe):
    """Euclidean norms of the gradient, without loss scaling; before clipping, where nothing else is said.

    gradient_norm/<item>            over all parameters of the item (weight and bias, or gamma and beta)
    gradient_norm/total             over all parameters
    gradient_norm_clipped/total     after clipping to `training.grad_clip`, where it is set
    gradient_to_weight/<layer>      of a layer's weight, divided by the norm of the weight
    gradient_ratio/first_to_last    of the first layer's weight, divided by that of the head: far below 1 the gradient
                                    vanishes on its way down, far above 1 it explodes
    """

    def after_backward(self, look: Look) -> Reading:
        """Measure the gradients that the backward pass left."""
        norms: dict[str, Tensor] = {}
        for name, module in look.subject.items.items():
            gradients = [parameter.grad for parameter in module.parameters(recurse=False) if parameter.grad is not None]
            if gradients:
                norms[f"gradient_norm/{name}"] = total_length(gradients)
        if not norms:
            return Reading()
        total = length(torch.stack(list(norms.values())))
        return Reading({"gradient_norm/total": total, **_clipped(look, total), **norms, **_of_layers(look.subject)})


def _clipped(look: Look, total: Tensor) -> dict[str, Tensor]:
    limit = look.subject.config.training.grad_clip
    if limit is None:
        return {}
    return {"gradient_norm_clipped/total": total * (limit / (total + CLIPPING_EPS)).clamp(max=1)}


def _of_layers(subject: Subject) -> dict[str, Tensor]:
    """Return the ratios of the layers' weight gradients: to the weights, and of the first layer to the last."""
    layers, norms, ratios = subject.layers, dict[str, Tensor](), dict[str, Tensor]()
    for name, layer in layers.items():
        if layer.weight.grad is not None:
            norms[name] = length(layer.weight.grad)
            ratios[f"gradient_to_weight/{name}"] = norms[name] / length(layer.weight.detach())
    if len(norms) < 2:
        return ratios
    first, *_, last = norms.values()
    return {**ratios, "gradient_ratio/first_to_last": first / last}
