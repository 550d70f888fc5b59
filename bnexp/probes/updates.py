"""Probe `updates`: how far the optimizer's step moves the weights."""

import torch
from torch import Tensor

from bnexp.config.block import Item
from bnexp.config.items import LayerOptions
from bnexp.config.layout import Placed, following_items
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import SgdConfig
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Probe, Reading


class Updates(Probe):
    """The step of each layer's weight W, measured against the weight.

        update_ratio/<layer>    log10(|step| / |W|): about -3 is a common rule of thumb; -inf where nothing moved
        weight_norm/<layer>     |W|, the Euclidean norm before the step
        effective_lr/<layer>    lr / |W|^2, with adam and adamw lr / |W|, where the length of W has no effect

    Right before a norm that forgets the scale of its input, only the direction of W counts: its gradient shrinks as
    1 / |W|, and the direction turns as it would for |W| = 1 at the rate lr / |W|^2 (van Laarhoven 2017,
    https://arxiv.org/abs/1706.05350); where the optimizer divides the length of the gradient away, at lr / |W|. What
    momentum adds is not in it. Weight decay then is a schedule of the learning rate.
    """

    needs_step = True

    def __init__(self, schedule: ProbeSchedule) -> None:
        super().__init__(schedule)
        self._before: dict[str, Tensor] = {}

    def before(self, look: Look) -> None:
        """Keep the weights as they are before the step."""
        self._before = {name: layer.weight.detach().clone() for name, layer in look.subject.layers.items()}

    def after_step(self, look: Look) -> Reading:
        """Measure how far each weight has moved."""
        invariant = scale_invariant_layers(look.subject)
        power = 2 if isinstance(look.subject.config.optimizer, SgdConfig) else 1
        scalars: dict[str, Tensor] = {}
        for name, layer in look.subject.layers.items():
            before = self._before[name]
            length = torch.linalg.vector_norm(before)
            step = torch.linalg.vector_norm(layer.weight.detach() - before)
            scalars[f"update_ratio/{name}"] = torch.log10(step / length)
            scalars[f"weight_norm/{name}"] = length
            if name in invariant:
                scalars[f"effective_lr/{name}"] = look.lr / length**power
        self._before = {}
        return Reading(scalars)


def scale_invariant_layers(subject: Subject) -> set[str]:
    """Return the names of the layers whose weights can be multiplied by a positive number without any effect.

    A layer right before a norm that is scale-invariant, unless a bias that counts comes between them; and a layer whose
    weights are normalized themselves.
    """
    following = following_items(subject.layout.parts)
    return {name for name, placed in subject.placed.items() if _forgets_scale(placed, following[name])}


def _forgets_scale(layer: Placed, following: Item | None) -> bool:
    options = layer.item.options
    if isinstance(options, LayerOptions) and (options.weight_norm or options.weight_std):
        return True
    if layer.item.kind.role != "layer" or following is None or not following.kind.scale_invariant:
        return False
    return not layer.bias or following.kind.cancels_bias
