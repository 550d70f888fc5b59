"""Propagation of signal and gradient through an untrained network: one batch forward and backward."""

from dataclasses import dataclass

from bnexp.config.probes_section import ProbeSchedule
from bnexp.inspection.stored import probe_once
from bnexp.measure.samples import length
from bnexp.measure.subject import Look
from bnexp.probes.activations import Activations
from bnexp.probes.probe import Probe, Reading
from bnexp.training.build import TrainingRun


@dataclass(frozen=True)
class LayerPropagation:
    """The outputs of a layer and the items after it, and the gradient that reaches the layer.

    Attributes:
        layer: its name; the items up to the next layer count as part of it.
        std: standard deviation of what the last of them gives out.
        effective_rank: in how many directions the examples differ there, between 1 and one less than their number.
        dead_fraction: units of its ReLU that are 0 for the whole batch; None without a ReLU.
        gradient_norm: Euclidean norm of the gradient of the layer's weight.
    """

    layer: str
    std: float
    effective_rank: float
    dead_fraction: float | None
    gradient_norm: float


@dataclass(frozen=True)
class Growth:
    """A figure of the last hidden layer as a multiple of the first one's.

    Attributes:
        total: the whole factor.
        per_layer: the factor from a layer to the next, if it were the same everywhere.
    """

    total: float
    per_layer: float


class WeightGradients(Probe):
    """`weight_gradient_norm/<layer>`: the Euclidean norm of the gradient of each layer's weight, without its bias."""

    def after_backward(self, look: Look) -> Reading:
        """Measure the gradients that the backward pass left."""
        gradients = {name: layer.weight.grad for name, layer in look.subject.layers.items()}
        return Reading(
            {
                f"weight_gradient_norm/{name}": length(gradient)
                for name, gradient in gradients.items()
                if gradient is not None
            }
        )


def measure_propagation(run: TrainingRun) -> list[LayerPropagation]:
    """Push the first training batch through the network of a run, in training mode; nothing is changed.

    Returns:
        A row per layer in the order of computation, the head last.
    """
    at_once = ProbeSchedule(at=(1,))
    figures = probe_once(run, [Activations(at_once), WeightGradients(at_once)], 0)
    names, layers = list(run.items), run.subject.layers
    starts = [index for index, name in enumerate(names) if name in layers]
    groups = [names[start:end] for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]
    return [_row(group, figures) for group in groups]


def growth(values: list[float]) -> Growth:
    """Return how a positive figure grows from the first of several layers to the last."""
    total = values[-1] / values[0]
    return Growth(total, total ** (1 / (len(values) - 1)))


def _row(group: list[str], figures: dict[str, float]) -> LayerPropagation:
    """Put the figures of a layer and the items up to the next one together."""
    dead = [figures[f"dead_fraction/{name}"] for name in group if f"dead_fraction/{name}" in figures]
    return LayerPropagation(
        layer=group[0],
        std=figures[f"activation_std/{group[-1]}"],
        effective_rank=figures[f"effective_rank/{group[-1]}"],
        dead_fraction=dead[-1] if dead else None,
        gradient_norm=figures[f"weight_gradient_norm/{group[0]}"],
    )
