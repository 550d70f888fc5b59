"""Networks from configs: built and initialized, and the memory format that they compute faster in."""

import torch
from torch import nn

from bnexp.config.layout import Layout
from bnexp.config.model import MlpConfig, ModelConfig
from bnexp.config.schema import InitConfig, TrainingConfig
from bnexp.models.init import initialize
from bnexp.models.network import Network


def memory_format_of(model: ModelConfig, training: TrainingConfig, device: torch.device) -> torch.memory_format:
    """Return the order of the values of feature maps in memory that a network computes faster in.

    Convolutions are faster with the channels last: on the x86 CPUs measured, and on CUDA where tensor cores do the work
    (bf16, fp16). A norm that is slower that way can cost more than the convolutions gain; `channels_last` in
    config/items.py marks those that do not.

    Time of a step over the one of contiguous channels, in fp32 (ResNet-8, batch 128, torch 2.13, two cores of an x86
    CPU): no norm 0.82, bn 0.83, ghost_bn 0.81, ln_c 0.94; vn 0.96, gn 0.97, frn and dyt 1.02, batch_renorm 1.04,
    evonorm 1.06 to 1.11, in 1.16, ln 1.27, rms 1.31. In bf16: ln 1.29, rms 1.41, gn 1.75.

    Returns:
        torch.channels_last or torch.contiguous_format.
    """
    convolutions_gain = device.type == "cpu" or (device.type == "cuda" and training.precision != "fp32")
    norms_allow = all(item.kind.channels_last for item in model.items if item.kind.role == "norm")
    if isinstance(model, MlpConfig) or not convolutions_gain or not norms_allow:
        return torch.contiguous_format
    return torch.channels_last


def build_model(layout: Layout, init: InitConfig, seed: int) -> nn.Module:
    """Return the initialized network on the CPU; every parameter draws from a stream of its own under the seed."""
    with torch.random.fork_rng(devices=[]):  # torch's constructors draw weights of their own; they are replaced below
        network = Network(layout, seed)
    initialize(network, init, seed)
    return network


def leaves(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold no others, by name and in order: the items of the blocks, and the head."""
    return {name: module for name, module in network.named_modules() if not any(module.children())}
