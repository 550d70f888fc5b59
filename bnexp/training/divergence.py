"""Where a network first went non-finite."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.measure.evaluation import inference_mode_of
from bnexp.measure.recorder import Recorder
from bnexp.measure.undisturbed import undisturbed
from bnexp.training.build import Experiment


@dataclass(frozen=True)
class Divergence:
    """A training that left the finite numbers.

    Attributes:
        step: the step where it showed, counted from 1: that of the non-finite loss, which was not taken, or the one
            after which the validation part gave none.
        epoch: that step in epochs.
        layer: the first layer that was not finite, or `loss` where all outputs still were.
        quantity: what was found there, such as `output`, `weight` or `gradient`.
        poisoned: the buffers (running statistics) that the passes until then left without finite values.
    """

    step: int
    epoch: float
    layer: str
    quantity: str
    poisoned: tuple[str, ...] = ()


def find_divergence(run: Experiment, x: Tensor, step: int, *, inference: bool = False) -> Divergence:
    """Say where the network of a run first is not finite for the batch x, in training or in inference mode.

    Where all that it computes is, the gradients that it holds are searched, from the last layer back.
    """
    with run.precision:
        if inference:
            with inference_mode_of(run.network):
                layer, quantity = first_non_finite(run.network, run.items, x)
        else:
            layer, quantity = first_non_finite(run.network, run.items, x)
    if quantity == "value" and (begun := _last_non_finite_gradient(run.items)):
        layer, quantity = begun, "gradient"
    return Divergence(step, run.plan.epoch_at(step), layer, quantity, non_finite_buffers(run.network))


def first_non_finite(network: nn.Module, items: Mapping[str, nn.Module], x: Tensor) -> tuple[str, str]:
    """Find the first item, in the order of computation, that gives a value that is not finite for the batch x.

    The forward pass is done once more, in the mode the network is in, and leaves no trace.

    Returns:
        The item's name, and `weight` or `running statistics` when those are already not finite, else `output`.
        ("loss", "value") when every output is finite.
    """
    recorder = Recorder()
    recorder.start(items)
    try:
        with torch.no_grad(), undisturbed(network):
            network(x)
    finally:
        outputs = recorder.stop()
    for name, output in outputs.items():
        module = items[name]
        # In training the running statistics are not read, only written: there they are never the cause.
        if not module.training and not _all_finite(module.buffers(recurse=False)):
            return name, "running statistics"
        if not _all_finite([output]):
            return name, "output" if _all_finite(module.parameters(recurse=False)) else "weight"
    return "loss", "value"


def non_finite_buffers(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the buffers that hold a value that is not finite."""
    return tuple(name for name, buffer in network.named_buffers() if not _all_finite([buffer]))


def gradients_are_finite(network: nn.Module) -> bool:
    """Tell whether every gradient of the network is finite."""
    return _all_finite(parameter.grad for parameter in network.parameters() if parameter.grad is not None)


def buffers_are_finite(network: nn.Module) -> bool:
    """Tell whether every buffer (running statistics) of the network is finite."""
    return _all_finite(network.buffers())


def _last_non_finite_gradient(items: Mapping[str, nn.Module]) -> str | None:
    """Return the item nearest to the loss that has such a gradient: the backward pass comes from there."""
    return next((name for name in reversed(list(items)) if not gradients_are_finite(items[name])), None)


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    found = [torch.isfinite(tensor).all() for tensor in tensors]
    return not found or bool(torch.stack(found).all())
