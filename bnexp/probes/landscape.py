"""Probe `landscape`: loss and gradient on the way along the gradient."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bnexp.config.probes_section import LandscapeSchedule
from bnexp.measure.passes import distance, training_pass
from bnexp.measure.restore import put, restored
from bnexp.measure.subject import Look
from bnexp.probes.probe import Charts, Figure, Probe, Reading

_SAME_RATE = "yes, for the same learning rate at this step, and sgd, whose path it is: longer ways change more"
_NOT_ITSELF = "no: it grows with the gradient itself; take `gradient_distance_relative`"
_THIS_PATH = "the landscape in other directions, and at other weights"


class Landscape(Probe):
    """Measures loss and gradient on the way along the gradient, as in figure 4 of Santurkar et al. 2018.

    L is the loss of this step's batch, g its gradient at the weights w before the step, without weight decay, and g_eta
    the gradient at w - eta g. eta runs evenly from `smallest` to `largest` learning rates of this step, in `points`
    values, both ends among them; w itself is not on the path. All norms are Euclidean, over all parameters. Whatever
    the optimizer is, the path is that of the plain gradient. Masks and noise are the same at every point.

    Source: https://arxiv.org/abs/1805.11604
    """

    figures = (
        Figure(
            "landscape_loss_min/path",
            "smallest loss on the path: the lower edge of the band in figure 4 (a)",
            formula="min over eta of L(w - eta g)",
            range="0 and up, in nats",
            comparable=_SAME_RATE,
            silent_on=_THIS_PATH,
        ),
        Figure(
            "landscape_loss_max/path",
            "largest loss on the path: the upper edge of the band",
            formula="max over eta of L(w - eta g)",
            range="0 and up, in nats",
            comparable=_SAME_RATE,
            silent_on=_THIS_PATH,
        ),
        Figure(
            "gradient_distance_min/path",
            "smallest distance from the gradient at the start: gradient predictiveness, figure 4 (b)",
            formula="min over eta of |g - g_eta|",
            range="0 and up",
            comparable=_NOT_ITSELF,
            silent_on=_THIS_PATH,
        ),
        Figure(
            "gradient_distance_max/path",
            "largest distance from the gradient at the start",
            formula="max over eta of |g - g_eta|",
            range="0 and up",
            comparable=_NOT_ITSELF,
            silent_on=_THIS_PATH,
        ),
        *(
            Figure(
                f"gradient_distance_relative_{which}/path",
                f"{word} distance against the length of the gradient at the start",
                formula=f"{which} over eta of |g - g_eta| / |g|",
                range="0 and up; nan where g is 0",
                comparable=_SAME_RATE,
                silent_on=_THIS_PATH,
            )
            for which, word in (("min", "smallest"), ("max", "largest"))
        ),
        Figure(
            "effective_smoothness/path",
            "largest change of the gradient, divided by the length of the way: figure 4 (c)",
            formula="max over eta of |g - g_eta| / |eta g|",
            range="0 and up, in nats per squared length of w",
            comparable="no: lengths of weights that do not count in the function, before a norm, count in it; take "
            "`gradient_distance_relative_max`",
            silent_on=_THIS_PATH,
        ),
    )
    charts: ClassVar[Charts] = {
        "landscape along the gradient": {
            "loss, smallest and largest": r"landscape_loss_(min|max)/",
            "distance of the gradient, relative, smallest and largest": r"gradient_distance_relative_(min|max)/",
            "effective smoothness": r"effective_smoothness/",
        }
    }

    schedule: LandscapeSchedule

    def after_backward(self, look: Look) -> Reading:
        """Measure on the way along the gradient, from the weights before the step."""
        parameters, path = [p for p in look.subject.network.parameters() if p.requires_grad], self.schedule
        between = (path.largest - path.smallest) / (path.points - 1)
        lr = float(look.lr)
        etas = [(path.smallest + number * between) * lr for number in range(path.points)]
        return Reading(along_gradient(lambda: training_pass(look, parameters)[1:], parameters, etas))


def along_gradient(
    loss_and_gradients: Callable[[], tuple[Tensor, Sequence[Tensor]]], parameters: Sequence[Tensor], etas: list[float]
) -> dict[str, Tensor]:
    """Return the figures of the path w - eta g, for positive etas and w the parameters, which are put back.

    `loss_and_gradients` gives the loss () and its gradients at the current values of the parameters.
    """
    losses, distances = [], []
    with restored(parameters) as start:
        _, gradients = loss_and_gradients()
        for eta in etas:
            put(parameters, [w.sub(g, alpha=eta) for w, g in zip(start, gradients, strict=True)])
            loss, moved = loss_and_gradients()
            losses.append(loss)
            distances.append(distance(gradients, moved))
    loss_min, loss_max = torch.stack(losses).aminmax()
    distance_min, distance_max = torch.stack(distances).aminmax()
    norm = get_total_norm(gradients)
    slopes = torch.stack([change / (eta * norm) for change, eta in zip(distances, etas, strict=True)])
    return {
        "landscape_loss_min/path": loss_min,
        "landscape_loss_max/path": loss_max,
        "gradient_distance_min/path": distance_min,
        "gradient_distance_max/path": distance_max,
        "gradient_distance_relative_min/path": distance_min / norm,
        "gradient_distance_relative_max/path": distance_max / norm,
        "effective_smoothness/path": slopes.max(),
    }
