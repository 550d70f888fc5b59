"""Propagation of signal and gradient through an untrained network: one batch forward and backward."""

import math
from dataclasses import dataclass

import torch

from bnexp.blueprint import Blueprint
from bnexp.config.block import Item
from bnexp.config.model import MlpConfig
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import NormalInit
from bnexp.inspection.stored import probe_once
from bnexp.measure.passes import loss_of
from bnexp.measure.restore import undisturbed
from bnexp.measure.samples import length
from bnexp.measure.subject import Look
from bnexp.models.build import DEFAULT_STD
from bnexp.probes.activations import Activations
from bnexp.probes.probe import Probe, Reading
from bnexp.training.build import TrainingRun

SMALL_EPS = 1e-3
"""Up to here eps is nothing beside variances of about 1, as theory has it."""
LARGE_BATCH = 32
"""From here on the gradient grows under batch normalization as in a large batch, to within 2%."""


@dataclass(frozen=True)
class LayerPropagation:
    """What comes out behind a layer and the items up to the next one, and the gradient that reaches the layer.

    Attributes:
        output: the item whose output is measured, the last before the next layer.
        layer: the layer.
        std: standard deviation of that output over all values.
        effective_rank: in how many directions the examples differ there, between 1 and one less than their number.
        dead_fraction: units of the last ReLU up to there that are 0 for the whole batch (channels, where it has maps);
            None without a ReLU.
        saturated_fraction: values of the last tanh or sigmoid whose slope has nearly vanished; None without one.
        gradient_norm: Euclidean norm of the gradient of the layer's weight.
    """

    output: str
    layer: str
    std: float
    effective_rank: float
    dead_fraction: float | None
    saturated_fraction: float | None
    gradient_norm: float


@dataclass(frozen=True)
class Propagation:
    """A row per layer in the order of computation, the head last, and the loss of the batch in nats."""

    layers: list[LayerPropagation]
    loss: float


@dataclass(frozen=True)
class Growth:
    """A figure of the last of several layers as a multiple of the first one's.

    Attributes:
        total: the whole factor.
        per_layer: the factor from a layer to the next, if it were the same everywhere.
    """

    total: float
    per_layer: float  # from a layer to the next, if it were the same everywhere


class WeightGradients(Probe):
    """`weight_gradient_norm/<layer>`: the Euclidean norm of the gradient of each layer's weight, without its bias."""

    def after_backward(self, look: Look) -> Reading:
        """Measure the gradients that the backward pass left."""
        gradients = {name: layer.weight.grad for name, layer in look.subject.layers.items()}
        return Reading({f"weight_gradient_norm/{name}": length(g) for name, g in gradients.items() if g is not None})


def measure_propagation(run: TrainingRun) -> Propagation:
    """Push the first training batch through the network of a run, in training mode; nothing is changed."""
    at_once = ProbeSchedule(at=(1,))
    figures = probe_once(run, [Activations(at_once), WeightGradients(at_once)], 0)
    names, layers = list(run.items), run.subject.layers
    starts = [index for index, name in enumerate(names) if name in layers]
    groups = [names[start:end] for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]
    with undisturbed(run.network), torch.no_grad():
        _, loss = loss_of(run.network, run.precision, *run.batches.at(0))
    return Propagation([_row(group, figures) for group in groups], loss.item())


def growth(values: list[float]) -> Growth:
    """Return how a positive figure grows from the first of several layers to the last."""
    total = values[-1] / values[0]
    return Growth(total, total ** (1 / (len(values) - 1)))


def _row(group: list[str], figures: dict[str, float]) -> LayerPropagation:
    """Put the figures of a layer and the items up to the next one together."""

    def last_of(quantity: str) -> float | None:
        return next((figures[name] for item in reversed(group) if (name := f"{quantity}/{item}") in figures), None)

    return LayerPropagation(
        output=group[-1],
        layer=group[0],
        std=figures[f"activation_std/{group[-1]}"],
        effective_rank=figures[f"effective_rank/{group[-1]}"],
        dead_fraction=last_of("dead_fraction") if (channels := last_of("dead_channels")) is None else channels,
        saturated_fraction=last_of("saturated_fraction"),
        gradient_norm=figures[f"weight_gradient_norm/{group[0]}"],
    )


@dataclass(frozen=True)
class Theory:
    """What the theory of wide networks says of the growth from a layer to the next; None where it says nothing.

    Attributes:
        signal: factor of the output's root mean square, on the way up.
        gradient: factor of the norm of a weight's gradient, on the way down, to the second layer: the first one's input
            is the image, of another width and size than what layers put out.
        source: where it is derived, and what for.
    """

    signal: float | None
    gradient: float
    source: str


def theory_of(blueprint: Blueprint) -> Theory | None:
    """Return the growth that is known in closed form: of an mlp of one width, with or without batch statistics.

    - No norm, relu or nothing: the output grows by sqrt(width var / 2) or sqrt(width var), var being that of the
      weights (He et al. 2015, https://arxiv.org/abs/1502.01852). The gradient with respect to a layer's weight is
      the product of a signal that grows by this factor on its way up and one that grows by it on its way down, and the
      same in all layers but the first. That is of one example: the gradient of a batch is larger where those of its
      examples point the same way, which they come to do from layer to layer.
    - bn and relu, large batches: the square of the gradient's norm grows by pi / (pi - 1); bn alone, batches of B: by
      (B - 2) / (B - 3) (Yang et al. 2019, https://arxiv.org/abs/1902.08129).
    """
    model, items = blueprint.config.model, blueprint.config.model.items
    if not isinstance(model, MlpConfig) or len(set(model.hidden)) > 1 or items[0].name != "linear":
        return None
    if items[0].options != type(items[0].options)():
        return None
    norms = [item for item in items if item.kind.role == "norm"]
    others = [item.name for item in items[1:] if item.kind.role != "norm" and item.name != "identity"]
    if others not in ([], ["relu"]):
        return None
    if not norms:
        return _plain(blueprint, bends=bool(others))
    if len(norms) > 1 or items[1] != norms[0]:  # derived for one norm, right behind the layer
        return None
    return _under_batch_norm(norms[0], bool(others), blueprint.plan.batch_size)


def _under_batch_norm(norm: Item, bends: bool, batch_size: int) -> Theory | None:
    batch = norm.options.ghost_size or batch_size
    takes_batch = norm.name in ("bn", "sync_bn", "ghost_bn") and norm.kind.batch_statistics
    if not takes_batch or getattr(norm.options, "eps", 0) > SMALL_EPS or batch < (LARGE_BATCH if bends else 4):
        return None
    square = math.pi / (math.pi - 1) if bends else (batch - 2) / (batch - 3)
    return Theory(None, math.sqrt(square), "Yang et al. 2019")


def _plain(blueprint: Blueprint, bends: bool) -> Theory | None:
    init, width = blueprint.config.init, blueprint.layout.features
    if isinstance(init, NormalInit):
        var = (init.std or DEFAULT_STD) ** 2
    elif init.scheme in ("kaiming", "xavier", "orthogonal"):
        var = {"kaiming": 2 / width, "xavier": 1 / width, "orthogonal": 1 / width}[init.scheme]
    else:  # torch's own biases add to the signal, and zeros give none
        return None
    return Theory(init.gain * math.sqrt(width * var / (2 if bends else 1)), 1.0, "of one example, He et al. 2015")
