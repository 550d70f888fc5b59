"""Builds and initializes the network of a config."""

import torch
from torch import nn

from bnexp.config.layout import layout_of
from bnexp.config.model import ModelConfig
from bnexp.config.schema import InitConfig
from bnexp.models.init import initialize
from bnexp.models.network import Network


def build_model(
    model: ModelConfig, init: InitConfig, shape: tuple[int, int, int], classes: int, seed: int
) -> nn.Module:
    """Return the initialized network on the CPU.

    Args:
        model: the network.
        init: its initial weights.
        shape: (C, H, W) of an image.
        classes: width of the head.
        seed: the run's seed; every parameter draws from a stream of its own under it.
    """
    with torch.random.fork_rng(devices=[]):  # torch's constructors draw weights of their own; they are replaced below
        network = Network(layout_of(model, shape, classes), seed)
    initialize(network, init, seed)
    return network


def leaves(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold no others, by name and in order: the items of the blocks, and the head."""
    return {name: module for name, module in network.named_modules() if not any(module.children())}
