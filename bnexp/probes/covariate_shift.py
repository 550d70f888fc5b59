"""Probe `covariate_shift`: how far the inputs of each layer drift, and what the layers below do to its gradient."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bnexp.config.probes_section import CovariateShiftSchedule
from bnexp.measure.passes import distance, inputs_of, training_pass
from bnexp.measure.restore import copies_of, put, restored, undisturbed
from bnexp.measure.samples import as_units, spread_units
from bnexp.measure.statistics_modes import without_a_batch_of_one
from bnexp.measure.subject import Items, Look, Subject, layers_of
from bnexp.probes.probe import Charts, Figure, Probe, Reading

_SAME_LOOKS = "yes, for looks at the same steps and the same learning rate: more and longer steps drift further"
_BOTH_LEARN = "yes, for the same learning rate and while both learn: where the layers below hardly move, nothing shifts"
_NO_HARM = "whether the drift hinders the layer: in the experiments of Santurkar et al. it did not"


class CovariateShift(Probe):
    """Measures internal covariate shift twice: as a drift of distributions, and as a change of gradients.

    The drift, of which Ioffe & Szegedy 2015 speak (https://arxiv.org/abs/1502.03167), is measured here in two ways that
    are not theirs: they compare the inputs x of a layer with those at the look before, in training mode, for the same
    `examples` of the training part and `units` of the input, without augmentation. The first look has nothing to
    compare with, and the inputs of the first layer never move. The standard deviation is the biased one; units that are
    the same for all examples have none and are left out. Dropout and `noisy_bn` draw anew at each look, which adds to
    the drift. The examples are one batch: for norms over the batch there are fewer of them, by those that would leave a
    ghost batch of one example.

    The change of gradients (Santurkar et al. 2018, definition 2.1, https://arxiv.org/abs/1805.11604) compares two
    gradients of the loss of this step's batch with respect to the parameters of a layer: G with all weights as before
    the step, and G' when the layers below have taken their step and the others have not. The first layer has none below
    it, and none of these figures. Here a layer is a linear one or a convolution, with the norm and whatever else has
    parameters up to the next layer (in a pre-activation block that is the norm of the next convolution); what comes
    before the first layer belongs to it. Below means earlier among the items of the network.
    """

    figures = (
        Figure(
            "input_shift/<layer>",
            "how far the mean of an input unit moved since the look before, mean over the units",
            formula="|mean(x) - mean(x_before)| / std(x_before)",
            range="0 and up, in standard deviations of the unit",
            comparable=_SAME_LOOKS,
            silent_on=_NO_HARM,
        ),
        Figure(
            "input_wasserstein_relative/<layer>",
            "Wasserstein-1 distance of an input unit's distribution from that at the look before, mean over the units",
            formula="mean over i of |x_(i) - x_before_(i)| / std(x_before), both in ascending order",
            range="0 and up, in standard deviations of the unit",
            comparable=_SAME_LOOKS,
            silent_on=_NO_HARM,
        ),
        Figure(
            "gradient_shift/<layer>",
            "distance of the two gradients, as figure 2 of the paper shows it",
            formula="|G - G'|",
            range="0 and up",
            comparable="no: it grows with the gradient, which before a norm goes with 1 / `|W|`; take "
            "`gradient_shift_relative`",
            silent_on="whether the gradient turns or only changes its length",
        ),
        Figure(
            "gradient_shift_relative/<layer>",
            "the same against the length of the gradient",
            formula="|G - G'| / |G|",
            range="0 and up; nan where G is 0",
            comparable=_BOTH_LEARN,
            silent_on="whether the gradient turns or only changes its length",
        ),
        Figure(
            "gradient_cosine/<layer>",
            "cosine of the angle between the two gradients",
            formula="<G, G'> / (|G| |G'|)",
            range="-1 to 1; nan where one of the gradients is 0",
            comparable=_BOTH_LEARN,
            silent_on="how much the length of the gradient changes",
        ),
    )
    charts: ClassVar[Charts] = {
        "covariate shift": {
            "shift of the inputs, in std": r"input_shift/",
            "Wasserstein distance of the inputs, in std": r"input_wasserstein_relative/",
            "shift of the gradient, relative": r"gradient_shift_relative/",
            "cosine of the gradients": r"gradient_cosine/",
        }
    }
    needs_step = True
    schedule: CovariateShiftSchedule
    _weights: list[Tensor]

    def after_backward(self, look: Look) -> Reading:
        """Copy the weights before the step."""
        self._weights = copies_of(_all(parameters_by_layer(look.subject.items)))
        return Reading()

    def after_step(self, look: Look) -> Reading:
        """Compare inputs with those kept from the look before, and gradients with those before the step."""
        inputs = sorted_inputs(look.subject, self.schedule.examples, self.schedule.units)
        scalars = dict[str, Tensor]()
        for name, before in self.kept.items():
            scalars[f"input_shift/{name}"] = input_shift(inputs[name], before)
            distances = (inputs[name] - before).abs().mean(dim=0)
            scalars[f"input_wasserstein_relative/{name}"] = in_standard_deviations(distances, before)
        scalars |= gradient_shifts(look, self._weights)
        self.kept, self._weights = inputs, []
        return Reading(scalars)


@torch.no_grad()
def sorted_inputs(subject: Subject, examples: int, units: int) -> dict[str, Tensor]:
    """Return the inputs of each layer for the first training examples: (examples, units), each unit in order.

    The examples are one batch, without those that would leave a batch or a ghost batch of one; empty where none remain.
    """
    wanted = min(examples, len(subject.dataset.train))
    count = without_a_batch_of_one(subject, wanted, batch_size=wanted)
    if count == 0:
        return {}

    def keep(inputs: Sequence[Tensor]) -> Tensor:
        return spread_units(as_units(inputs[0]), units).float().sort(dim=0).values

    x = subject.dataset.inputs(subject.dataset.train.images[:count])
    with undisturbed(subject.network), subject.precision:
        return inputs_of(layers_of(subject.items), lambda: subject.network(x), keep)


def input_shift(now: Tensor, before: Tensor) -> Tensor:
    """Return how far the means of the units move, in standard deviations before; both (examples, units) in order."""
    return in_standard_deviations((now.mean(dim=0) - before.mean(dim=0)).abs(), before)


def in_standard_deviations(distances: Tensor, before: Tensor) -> Tensor:
    """Return the mean of distances (units,) in standard deviations of `before`, over those units that vary there."""
    std = before.std(dim=0, correction=0).clamp_min(torch.finfo(before.dtype).tiny)
    varies = before[-1] > before[0]  # exactly, where the std of equal values may be a rounding error
    return torch.where(varies, distances / std, 0).sum() / varies.sum()


def parameters_by_layer(items: Items) -> dict[str, list[Tensor]]:
    """Return what each layer learns, with what the items up to the next one learn."""
    layers, by_layer, opening = layers_of(items), dict[str, list[Tensor]](), list[Tensor]()
    group = opening
    for name, module in items.items():
        if name in layers:
            group = by_layer[name] = [] if by_layer else opening
        group += [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
    return by_layer


def gradient_shifts(look: Look, weights: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the figures of the two gradients of each layer but the first, from the weights before the step."""
    layers = parameters_by_layer(look.subject.items)
    scalars = dict[str, Tensor]()
    with restored(_all(layers)) as stepped:
        put(_all(layers), weights)
        before = _by_layer(training_pass(look, _all(layers)).gradients, layers)
        after_step = _by_layer(stepped, layers)
        for number, (name, parameters) in enumerate(layers.items()):
            if number > 0:
                gradients = training_pass(look, parameters).gradients
                shift = distance(before[name], gradients)
                scalars[f"gradient_shift/{name}"] = shift
                scalars[f"gradient_shift_relative/{name}"] = shift / get_total_norm(before[name])
                scalars[f"gradient_cosine/{name}"] = cosine(before[name], gradients)
            put(parameters, after_step[name])
    return scalars


def cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the cosine of the angle between two lists of tensors, as if each were one vector; shape ()."""
    product = torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()
    return product / (get_total_norm(first) * get_total_norm(second))


def _all(layers: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    return [parameter for parameters in layers.values() for parameter in parameters]


def _by_layer(values: Iterable[Tensor], layers: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """Group values, one for each parameter, by layer."""
    rest = iter(values)
    return {name: list(islice(rest, len(parameters))) for name, parameters in layers.items()}
