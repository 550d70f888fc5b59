"""Builds and initializes the network of a config."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from bnexp.config.schema import InitConfig, ModelConfig
from bnexp.models.init import initialize
from bnexp.models.mlp import build_mlp

ArchName = Literal["mlp"]

ARCHS: dict[ArchName, Callable[[ModelConfig, tuple[int, int, int], int, int], nn.Module]] = {"mlp": build_mlp}


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
        network = ARCHS[model.arch](model, shape, classes, seed)
    initialize(network, init, seed)
    return network


def leaves(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold no others, by name and in order: the items of the blocks, and the head."""
    return {name: module for name, module in network.named_modules() if not any(module.children())}
