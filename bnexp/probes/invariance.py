"""Probe `invariance`: what a scaling of each layer's weights does to the function and to their gradient."""

from torch import Tensor
from torch.linalg import vector_norm

from bnexp.config.probes_section import InvarianceSchedule
from bnexp.measure.passes import training_pass
from bnexp.measure.restore import put, restored
from bnexp.measure.subject import Look
from bnexp.probes.probe import Probe, Reading


class Invariance(Probe):
    """Each layer's weights W, without its bias, are multiplied by c = `factor`, one layer at a time.

    For the batch of this step in training mode, with the weights after the step:

        invariance_change/<layer>       |logits(c W) - logits(W)| / |logits(W)|
        invariance_gradient/<layer>     c |gradient(c W)| / |gradient(W)|, of the layer's own weights

    Right before `bn`, and under `weight_norm`, the function does not see the scale of W but for eps: the change is 0,
    and the gradient scales by 1/c, which the second figure shows as 1. Without any norm, in a network of relu that has
    no biases, the logits scale by c: the change is |c - 1|.

    Source: Ioffe & Szegedy 2015, section 3.3, https://arxiv.org/abs/1502.03167
    """

    def __init__(self, schedule: InvarianceSchedule) -> None:
        super().__init__(schedule)
        self._factor = schedule.factor

    def after_step(self, look: Look) -> Reading:
        """Scale one layer after the other, and put each back."""
        weights: dict[str, Tensor] = {name: layer.weight for name, layer in look.subject.layers.items()}
        found = training_pass(look, list(weights.values()))
        scalars: dict[str, Tensor] = {}
        for (name, weight), gradient in zip(weights.items(), found.gradients, strict=True):
            with restored([weight]) as (copy,):
                put([weight], [self._factor * copy])
                scaled = training_pass(look, [weight])
            change = vector_norm(scaled.logits - found.logits) / vector_norm(found.logits)
            scalars[f"invariance_change/{name}"] = change
            ratio = vector_norm(scaled.gradients[0]) / vector_norm(gradient)
            scalars[f"invariance_gradient/{name}"] = self._factor * ratio
        return Reading(scalars)
