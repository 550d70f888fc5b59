"""Probe `gradients`: how large the gradient is, in the whole and layer by layer."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from bnexp.measure.samples import length, total_length
from bnexp.measure.subject import Look, Subject
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
        """Measure the gradients that the backward pass left."""
        norms, of_weights = dict[str, Tensor](), dict[str, Tensor]()
        for name, module in look.subject.items.items():
            own = dict(module.named_parameters(recurse=False)).items()
            lengths = {key: length(parameter.grad) for key, parameter in own if parameter.grad is not None}
            if lengths:
                norms[f"gradient_norm/{name}"] = total_length(lengths.values())
            if name in look.subject.layers and "weight" in lengths:
                of_weights[name] = lengths["weight"]
        if not norms:
            return Reading()
        total = total_length(norms.values())
        scalars, limit = {"gradient_norm/total": total}, look.subject.config.training.grad_clip
        if limit is not None:
            scalars["gradient_norm_clipped/total"] = total * (limit / (total + CLIPPING_EPS)).clamp(max=1)
        return Reading({**scalars, **norms, **_of_layers(look.subject, of_weights)})


def _of_layers(subject: Subject, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the norms of the layers' weight gradients, divided by the weights' norms and the first by the last."""
    layers = subject.layers
    ratios = {f"gradient_to_weight/{name}": norm / length(layers[name].weight.detach()) for name, norm in norms.items()}
    if len(norms) < 2:
        return ratios
    first, *_, last = norms.values()
    return {**ratios, "gradient_ratio/first_to_last": first / last}
