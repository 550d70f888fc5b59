"""Keeping a network's weights aside and putting them back.

Parameters and buffers only: unlike a state dict this leaves out where dropout's random streams stand, which belong to
the training and must not be turned back.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def copy_of_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer by name; later steps do not change it."""
    return {name: tensor.clone() for name, tensor in weights_of(network).items()}


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer by name, which later steps change."""
    return {name: tensor.detach() for name, tensor in _tensors(network)}


@torch.no_grad()
def put_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the network the weights that `copy_of_weights` kept.

    Raises:
        ValueError: they are not of this network; the first that differs is named.
    """
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in _tensors(network)}
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name}: found {found.get(name, 'none')}, expected {expected.get(name, 'none')}")
    for name, tensor in _tensors(network):
        tensor.copy_(weights[name])


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
