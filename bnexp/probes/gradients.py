"""Probe `gradients`: how large the gradient is, in the whole and layer by layer."""

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bnexp.probes.probe import Look, Probe, Reading


class Gradients(Probe):
    """The Euclidean norm of the gradient, before clipping and without loss scaling.

    gradient_norm/<item>    over all parameters of the item (weight and bias, or gamma and beta)
    gradient_norm/total     over all parameters
    """

    def after_backward(self, look: Look) -> Reading:
        """Measure the gradients that the backward pass left."""
        norms: dict[str, Tensor] = {}
        for name, module in look.subject.items.items():
            gradients = [parameter.grad for parameter in module.parameters(recurse=False) if parameter.grad is not None]
            if gradients:
                norms[f"gradient_norm/{name}"] = get_total_norm(gradients)
        if not norms:
            return Reading()
        total = torch.linalg.vector_norm(torch.stack(list(norms.values())))
        return Reading({"gradient_norm/total": total, **norms})
