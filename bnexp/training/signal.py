"""How signal and gradient fare in a network that has learned nothing yet: one batch forward and backward."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bnexp.config.probes_section import ProbeSchedule
from bnexp.probes.activations import Activations
from bnexp.probes.probe import Look
from bnexp.probes.undisturbed import undisturbed
from bnexp.training.build import Experiment


@dataclass(frozen=True)
class LayerSignal:
    """What a layer and the items after it hand on, and the gradient that reaches the layer.

    Attributes:
        layer: its name; the items up to the next layer count as part of it.
        std: standard deviation of what the last of them gives out.
        effective_rank: of the batch's features there, between 1 and the size of the batch.
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


def measure_signal(run: Experiment) -> list[LayerSignal]:
    """Push the first training batch through the network of a run, in training mode; nothing is changed.

    Returns:
        A row per layer in the order of computation, the head last.
    """
    look = Look(run.subject, 1, run.config.optimizer.lr, *run.batches.at(0))
    watching = Activations(ProbeSchedule(at=(1,)))
    run.network.train()
    with undisturbed(run.network):
        watching.before(look)
        with run.precision:
            logits = run.network(look.x)
        functional.cross_entropy(logits.float(), look.y).backward()
        scalars = watching.after_backward(look).scalars
        for name, layer in run.subject.layers.items():
            scalars[f"gradient_norm/{name}"] = torch.linalg.vector_norm(layer.weight.grad)
    run.optimizer.zero_grad()
    return _by_layer(run, _to_python(scalars))


def growth(values: list[float]) -> Growth:
    """Return how a positive figure grows from the first of several layers to the last."""
    total = values[-1] / values[0]
    return Growth(total, total ** (1 / (len(values) - 1)))


def _to_python(scalars: dict[str, Tensor]) -> dict[str, float]:
    return dict(zip(scalars, torch.stack([value.float() for value in scalars.values()]).tolist(), strict=True))


def _by_layer(run: Experiment, figures: dict[str, float]) -> list[LayerSignal]:
    """Put the figures of all items under the layer that comes before them."""
    layers, rows = run.subject.layers, []
    starts = [index for index, name in enumerate(run.items) if name in layers]
    names = list(run.items)
    for start, end in zip(starts, [*starts[1:], len(names)], strict=True):
        group = names[start:end]
        dead = [figures[f"dead_fraction/{name}"] for name in group if f"dead_fraction/{name}" in figures]
        measured = [name for name in group if f"activation_std/{name}" in figures]
        rows.append(
            LayerSignal(
                group[0],
                figures[f"activation_std/{measured[-1]}"],
                figures[f"effective_rank/{measured[-1]}"],
                dead[-1] if dead else None,
                figures[f"gradient_norm/{group[0]}"],
            )
        )
    return rows
