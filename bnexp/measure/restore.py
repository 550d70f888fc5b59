"""Keep the values of a network's tensors, and put them back: after a measurement, a skipped step, a change of weights.

Weights are parameters and buffers only: unlike a state dict they leave out where dropout's random streams stand, which
belong to the training and must not be turned back.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from bnexp.norms.random_stream import RandomStream


def copies_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the values that the tensors have now; later steps do not change them."""
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def put(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give the tensors these values, bit for bit."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


@contextlib.contextmanager
def restored(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Hand out copies of the tensors, and give them these values again when the context ends."""
    changed = list(tensors)
    copies = copies_of(changed)
    try:
        yield copies
    finally:
        put(changed, copies)


@contextlib.contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Put back, when the context ends, what a forward pass changes: buffers and random streams.

    Buffers are running statistics and counters. The streams are those of the modules (dropout, noise) and torch's own,
    on the CPU and on the network's device. Parameters, gradients and modes are the caller's to leave alone.
    """
    streams = {stream: stream.get_state() for stream in streams_of(network).values()}
    devices = {parameter.device for parameter in network.parameters() if parameter.device.type in ("cuda", "mps")}
    device_type = next((device.type for device in devices), None)
    with torch.random.fork_rng(devices=devices, device_type=device_type), restored(network.buffers()):
        try:
            yield
        finally:
            for stream, state in streams.items():
                stream.set_state(state)


def streams_of(network: nn.Module) -> dict[str, RandomStream]:
    """Return the random streams of the modules (dropout, noise) by the module's name."""
    streams = {name: getattr(module, "stream", None) for name, module in network.named_modules()}
    return {name: stream for name, stream in streams.items() if isinstance(stream, RandomStream)}


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer by name, which later steps change."""
    return {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}


def copy_of_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer by name."""
    return {name: tensor.clone() for name, tensor in weights_of(network).items()}


def put_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the network these weights, such as those of `copy_of_weights`.

    Raises:
        ValueError: they are not of this network; the first that differs is named.
    """
    own = weights_of(network)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name}: found {found.get(name, 'none')}, expected {expected.get(name, 'none')}")
    put(list(own.values()), [weights[name] for name in own])
