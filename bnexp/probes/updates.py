"""Probe `updates`: how far the optimizer's step moves the weights."""

import torch
from torch import Tensor

from bnexp.config.items import LayerOptions
from bnexp.config.layout import Layout, Placed
from bnexp.config.probes_section import ProbeSchedule
from bnexp.probes.probe import Look, Probe, Reading


class Updates(Probe):
    """The step of each layer's weight W, measured against the weight.

        update_ratio/<layer>    log10(|step| / |W|): about -3 is a common rule of thumb; -inf where nothing moved
        weight_norm/<layer>     |W|, the Euclidean norm before the step
        effective_lr/<layer>    lr / |W|^2, where the function does not depend on the length of W

    Right before a norm that forgets the scale of its input, only the direction of W counts: its gradient shrinks as
    1 / |W|, and the direction turns as it would for |W| = 1 at the rate lr / |W|^2 (van Laarhoven 2017,
    https://arxiv.org/abs/1706.05350). Weight decay then is a schedule of the learning rate.
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
        invariant = scale_invariant_layers(look.subject.layout)
        scalars: dict[str, Tensor] = {}
        for name, layer in look.subject.layers.items():
            before = self._before[name]
            length = torch.linalg.vector_norm(before)
            step = torch.linalg.vector_norm(layer.weight.detach() - before)
            scalars[f"update_ratio/{name}"] = torch.log10(step / length)
            scalars[f"weight_norm/{name}"] = length
            if name in invariant:
                scalars[f"effective_lr/{name}"] = look.lr / length.square()
        self._before = {}
        return Reading(scalars)


def scale_invariant_layers(layout: Layout) -> set[str]:
    """Return the names of the layers whose weights can be multiplied by a positive number without any effect.

    A layer right before a norm that is scale-invariant, unless a bias that counts comes between them; and a layer whose
    weights are normalized themselves.
    """
    found: set[str] = set()
    for block in layout.blocks:
        for place, items in ((block.place, block.items), (f"{block.place}.shortcut", block.shortcut)):
            for layer, following in zip(items, [*items[1:], None], strict=False):
                if _forgets_scale(layer, following):
                    found.add(f"{place}.{layer.name}")
    return found


def _forgets_scale(layer: Placed, following: Placed | None) -> bool:
    options = layer.item.options
    if isinstance(options, LayerOptions) and (options.weight_norm or options.weight_std):
        return True
    if layer.item.kind.role != "layer" or following is None or not following.item.kind.scale_invariant:
        return False
    return not layer.bias or following.item.kind.cancels_bias
