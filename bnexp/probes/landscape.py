"""Probe `landscape`: loss and gradient on the way along the gradient."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bnexp.config.probes_section import LandscapeSchedule
from bnexp.measure.passes import distance, training_pass
from bnexp.measure.restore import put, restored
from bnexp.measure.subject import Look
from bnexp.probes.probe import Probe, Reading


class Landscape(Probe):
    """How the loss L of this step's batch behaves around the weights w of this step, as in figure 4 of the paper.

    With g the gradient at w, without weight decay, and g_eta the gradient at w - eta g:

        landscape_loss_min/path, landscape_loss_max/path            range of L(w - eta g): the band of figure 4 (a)
        gradient_distance_min/path, gradient_distance_max/path      range of |g - g_eta|: figure 4 (b), predictiveness
        effective_smoothness/path                                   max over eta of |g - g_eta| / |eta g|: figure 4 (c)

    eta runs evenly from `smallest` to `largest` learning rates of this step, in `points` values, both ends among
    them; w itself is not on the path. All norms are Euclidean, over all parameters. Whatever the optimizer is, the
    path is that of the plain gradient. Masks and noise are the same at every point.

    Source: Santurkar et al. 2018, https://arxiv.org/abs/1805.11604
    """

    def __init__(self, schedule: LandscapeSchedule) -> None:
        super().__init__(schedule)
        between = (schedule.largest - schedule.smallest) / (schedule.points - 1)
        self._rates = [schedule.smallest + number * between for number in range(schedule.points)]

    def after_backward(self, look: Look) -> Reading:
        """Walk along the gradient of the weights before the step."""
        parameters = list(look.subject.network.parameters())

        def loss_and_gradients() -> tuple[Tensor, Sequence[Tensor]]:
            found = training_pass(look, parameters)
            return found.loss, found.gradients

        return Reading(along_gradient(loss_and_gradients, parameters, [rate * look.lr for rate in self._rates]))


def along_gradient(
    loss_and_gradients: Callable[[], tuple[Tensor, Sequence[Tensor]]],
    parameters: Sequence[Tensor],
    etas: Sequence[float],
) -> dict[str, Tensor]:
    """Return the figures of the path w - eta g; the parameters are put back.

    Args:
        loss_and_gradients: gives the loss () and its gradients at the values that the parameters then have.
        parameters: w.
        etas: positive lengths of the steps along the gradient.
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
        "effective_smoothness/path": slopes.max(),
    }
