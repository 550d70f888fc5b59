"""Probe `gradients`: how large the gradient is, in the whole and layer by layer."""

from typing import ClassVar

import torch
from torch import Tensor

from bnexp.measure.samples import length, total_length
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Charts, Figure, Probe, Reading

CLIPPING_EPS = 1e-6
"""Added by torch's `clip_grad_norm_` to the norm that it divides by."""
_LAYER = r"(.*\.)?(linear|conv|head)"
"""A layer by its name, such as block1.linear, stage2.block1.conv2 or head."""


class Gradients(Probe):
    """Measures how large the gradient is: in the whole, item by item, and against the weights.

    Norms are Euclidean. They are taken without loss scaling, and before clipping unless the figure says otherwise.
    """

    figures = (
        Figure("gradient_norm/<item>", "norm over all parameters of the item: weight and bias, or gamma and beta"),
        Figure("gradient_norm/total", "norm over all parameters of the network"),
        Figure("gradient_norm_clipped/total", "the same after clipping, where `training.grad_clip` is set"),
        Figure(
            "gradient_to_weight/<layer>", "norm of the gradient of the layer's weight, divided by that of the weight"
        ),
        Figure(
            "gradient_ratio/first_to_last",
            "norm of the gradient of the first layer's weight, divided by that of the head's: far below 1 the gradient "
            "vanishes on its way down, far above 1 it explodes",
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

    def after_backward(self, look: Look) -> Reading:
        """Measure the gradients that the backward pass left."""
        norms = dict[str, Tensor]()
        for name, module in look.subject.items.items():
            gradients = [parameter.grad for parameter in module.parameters(recurse=False) if parameter.grad is not None]
            if gradients:
                norms[f"gradient_norm/{name}"] = total_length(gradients)
        if not norms:
            return Reading()
        total = length(torch.stack(list(norms.values())))
        scalars, limit = {"gradient_norm/total": total}, look.subject.config.training.grad_clip
        if limit is not None:
            scalars["gradient_norm_clipped/total"] = total * (limit / (total + CLIPPING_EPS)).clamp(max=1)
        return Reading({**scalars, **norms, **_of_layers(look.subject)})


def _of_layers(subject: Subject) -> dict[str, Tensor]:
    """Return the norms of the layers' weight gradients, divided by the weights' norms and the first by the last."""
    norms, ratios = dict[str, Tensor](), dict[str, Tensor]()
    for name, layer in subject.layers.items():
        if layer.weight.grad is not None:
            norms[name] = length(layer.weight.grad)
            ratios[f"gradient_to_weight/{name}"] = norms[name] / length(layer.weight.detach())
    if len(norms) < 2:
        return ratios
    first, *_, last = norms.values()
    return {**ratios, "gradient_ratio/first_to_last": first / last}
