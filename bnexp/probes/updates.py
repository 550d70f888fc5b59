"""Probe `updates`: how far the optimizer's step moves the weights."""

from typing import ClassVar

import torch
from torch import Tensor

from bnexp.config.block import Item
from bnexp.config.items import LayerOptions
from bnexp.config.layout import Placed, following_items
from bnexp.config.norm_lint import no_scale_left
from bnexp.config.schema import SgdConfig
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Charts, Figure, Probe, Reading


class Updates(Probe):
    """Measures how far the optimizer's step moves the weight W of each layer, against the length of W.

    Right before a norm that forgets the scale of its input, such as `bn`, only the direction of W counts: its gradient
    shrinks as 1 / `|W|`, and the direction turns as it would for a weight of length 1 at the rate lr / `|W|^2` (van
    Laarhoven 2017, https://arxiv.org/abs/1706.05350). With `adam` and `adamw`, which divide most of the length of the
    gradient away, that rate is about lr / `|W|`. What momentum adds is not in it. It is one rate for all of W, where
    before `bn` each row, the weights of a unit, has one of its own. Weight decay then acts on the learning rate: it
    shortens W until growth and decay balance.
    """

    figures = (
        Figure(
            "update_ratio/<layer>",
            "length of the step against that of the weight, as a power of ten: about -3 is a rule of thumb (Karpathy, "
            "CS231n) for weights whose length counts",
            formula="log10(|step| / |W|)",
            range="a power of ten; -inf where nothing moved, which is `null` in `metrics.jsonl`",
            comparable="yes: where only the direction of W counts, it is how far that turns",
            silent_on="whether the step helps, and how much of it is weight decay, which turns nothing",
        ),
        Figure(
            "weight_norm/<layer>",
            "Euclidean norm of the weight before the step",
            formula="|W|",
            range="0 and up",
            comparable="no: before a norm the length of W does not change the function, elsewhere it does",
            silent_on="how large the function is: norms and other layers may undo it",
        ),
        Figure(
            "effective_lr/<layer>",
            "learning rate of the direction of W, where the length of W has no effect",
            formula="lr / |W|^2; with adam and adamw lr / |W|",
            range="above 0; only for such layers",
            comparable="yes, for the same optimizer and momentum, where both have it: before `ln`, `gn` and `rms` a "
            "layer keeps its bias by default, and has none",
            silent_on="how far the direction turns, for which the gradient counts as well: see `update_ratio`",
        ),
    )
    charts: ClassVar[Charts] = {
        "updates": {
            "update ratio, log10": r"update_ratio/",
            "weight norm": r"weight_norm/",
            "effective learning rate": r"effective_lr/",
        }
    }

    needs_step = True
    recordable = True
    _before: list[Tensor]

    def before(self, look: Look) -> None:
        """Copy the weights as they are before the step."""
        weights = _weights_of(look.subject)
        self._before = [torch.empty_like(weight) for weight in weights]
        torch._foreach_copy_(self._before, weights)

    def after_step(self, look: Look) -> Reading:
        """Measure how far each weight has moved, all of them together."""
        before, self._before = self._before, []
        steps = torch._foreach_sub(_weights_of(look.subject), before)
        lengths, moved = torch.stack(torch._foreach_norm([*before, *steps])).unflatten(0, (2, -1))  # (L,) each
        # on CUDA the rate of a step taken ahead is a tensor: both are divided alike
        rate = look.lr if isinstance(look.lr, Tensor) else torch.full_like(lengths, look.lr)
        power = 2 if isinstance(look.subject.config.optimizer, SgdConfig) else 1
        figures = torch.log10(moved / lengths), lengths, rate / lengths**power
        invariant, scalars = scale_invariant_layers(look.subject), dict[str, Tensor]()
        for name, ratio, length, effective_lr in zip(look.subject.layers, *figures, strict=True):
            scalars[f"update_ratio/{name}"] = ratio
            scalars[f"weight_norm/{name}"] = length
            if name in invariant:
                scalars[f"effective_lr/{name}"] = effective_lr
        return Reading(scalars)


def _weights_of(subject: Subject) -> list[Tensor]:
    """Return the weight of each layer."""
    return [layer.weight.detach() for layer in subject.layers.values()]


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
    return (
        layer.item.kind.role == "layer"
        and following is not None
        and no_scale_left(layer, following, of_each_unit=False)
    )
