"""Probe `invariance`: what a scaling of each layer's weights does to the function and to their gradient."""

from typing import ClassVar

from torch import Tensor
from torch.linalg import vector_norm

from bnexp.config.probes_section import InvarianceSchedule
from bnexp.measure.passes import training_pass
from bnexp.measure.restore import put, restored
from bnexp.measure.subject import Look
from bnexp.probes.probe import Charts, Figure, Probe, Reading


class Invariance(Probe):
    """Measures how function and gradient change when the weight W of a layer is multiplied by c = `factor`.

    One layer is scaled at a time, without its bias, for the batch of this step in training mode, with the weights after
    the step. Right before a norm that divides by the size of its input, such as `bn`, and under `weight_norm`, the
    function does not depend on the scale of W, except for eps and for a bias between them: `invariance_change` is 0,
    and the gradient scales by 1/c, so that `invariance_gradient` is 1. For comparison: in a plain chain of layers and
    relus whose biases are all 0, the logits scale by c, and `invariance_change` is `|c - 1|`.

    Source: Ioffe & Szegedy 2015, section 3.3, https://arxiv.org/abs/1502.03167
    """

    figures = (
        Figure(
            "invariance_change/<layer>",
            "relative change of the logits",
            formula="|logits(c W) - logits(W)| / |logits(W)|",
            range="0 and up",
            comparable="yes, for the same `factor`",
            silent_on="whether the function is invariant at other factors: for small ones eps counts more",
        ),
        Figure(
            "invariance_gradient/<layer>",
            "c times the ratio of the gradient norms of W: 1 where the gradient shrinks as the weight grows",
            formula="c |gradient(c W)| / |gradient(W)|",
            range="0 and up",
            comparable="yes, for the same `factor`",
            silent_on="whether its direction stays the same",
        ),
    )
    charts: ClassVar[Charts] = {
        "scale invariance": {
            "change of the logits": r"invariance_change/",
            "gradient, scaled back": r"invariance_gradient/",
        }
    }

    schedule: InvarianceSchedule

    def after_step(self, look: Look) -> Reading:
        """Scale the weight of one layer after the other, and restore each."""
        factor, weights = self.schedule.factor, {name: layer.weight for name, layer in look.subject.layers.items()}
        unscaled = training_pass(look, list(weights.values()))
        scalars = dict[str, Tensor]()
        for (name, weight), gradient in zip(weights.items(), unscaled.gradients, strict=True):
            with restored([weight]) as (copy,):
                put([weight], [factor * copy])
                scaled = training_pass(look, [weight])
            change = vector_norm(scaled.logits - unscaled.logits) / vector_norm(unscaled.logits)
            scalars[f"invariance_change/{name}"] = change
            ratio = vector_norm(scaled.gradients[0]) / vector_norm(gradient)
            scalars[f"invariance_gradient/{name}"] = factor * ratio
        return Reading(scalars)
