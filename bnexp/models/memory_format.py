"""The order in which the values of feature maps lie in memory: a matter of speed, not of what is computed."""

import torch

from bnexp.config.items import NormName
from bnexp.config.model import MlpConfig, ModelConfig
from bnexp.config.schema import TrainingConfig

CHANNELS_LAST_NORMS: frozenset[NormName] = frozenset({"bn", "ghost_bn", "sync_bn", "ln_c"})
"""The norms that lose nothing with the channels last, measured in ResNets on CPUs. The others take statistics over
whole examples or groups of channels, or are written in elementary operations, and are up to 2.7 times as slow."""


def memory_format_of(model: ModelConfig, training: TrainingConfig, device: torch.device) -> torch.memory_format:
    """Return the format that a network computes faster in: channels last, or contiguous.

    Convolutions are faster with the channels last: on CPUs always, on CUDA where tensor cores do the work (bf16, fp16).
    A norm that is slower that way costs more than the convolutions gain.
    """
    convolutions_gain = device.type == "cpu" or (device.type == "cuda" and training.precision != "fp32")
    norms = {item.name for item in model.items if item.kind.role == "norm"}
    if isinstance(model, MlpConfig) or not convolutions_gain or not norms <= CHANNELS_LAST_NORMS:
        return torch.contiguous_format
    return torch.channels_last
