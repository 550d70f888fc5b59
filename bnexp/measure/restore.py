"""Keep the values of a network's tensors, and put them back: after a measurement, a skipped step, a change of weights.

Weights are parameters and buffers only: unlike a state dict they leave out where dropout's random streams stand, which
belong to the training and must not be turned back.
"""

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
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
    if any(device.type == "cuda" for device in devices) and torch.cuda.is_current_stream_capturing():
        devices.clear()  # no state can be read while a graph is recorded; modules that draw do so from `streams`
    device_type = next((device.type for device in devices), "cuda")  # without devices, only the CPU's is kept
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


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of torch's generators (CPU and device), Python's and NumPy's, as tensors and plain values."""
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    keys = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        **torch_states(device),
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": keys}},
    }


def put_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Let the generators continue where `random_states` found them."""
    put_torch_states(states, device)
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = states["numpy"]
    keys = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": keys}})


def torch_states(device: torch.device) -> dict[str, Any]:
    """Return the states of torch's generators alone: that of NumPy takes 40 times as long to read."""
    return {"torch": torch.get_rng_state(), "device": _state_on(device)}


def put_torch_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Let torch's generators continue where `torch_states` found them."""
    torch.set_rng_state(states["torch"])
    if states["device"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)
    elif states["device"] is not None and device.type == "mps":
        torch.mps.set_rng_state(states["device"])


def _state_on(device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None
