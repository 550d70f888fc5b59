"""Extra passes through a network that leave no trace in it."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from bnexp.norms.random_stream import RandomStream


@contextlib.contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Put back, when the context ends, what a forward pass changes: buffers and random streams.

    Buffers are running statistics and counters. The streams are those of the modules (dropout, noise) and torch's own,
    on the CPU and on the network's device. Parameters, gradients and modes are the caller's to leave alone.
    """
    buffers = {buffer: buffer.clone() for buffer in network.buffers()}
    found = (getattr(module, "stream", None) for module in network.modules())
    streams = {stream: stream.state() for stream in found if isinstance(stream, RandomStream)}
    devices = {parameter.device for parameter in network.parameters() if parameter.device.type in ("cuda", "mps")}
    with torch.random.fork_rng(devices=devices, device_type=next((device.type for device in devices), None)):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers.items():
                    buffer.copy_(before)
            for stream, state in streams.items():
                stream.go_on_at(state)
