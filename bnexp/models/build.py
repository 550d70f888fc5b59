"""Networks from configs: built, initialized, and the memory format that they compute faster in.

Each parameter draws its initial values from its own stream, named by its place in the network. So nothing depends on
what was created before: with and without normalization, `block2.linear.weight` starts the same.
"""

import math

import torch
from torch import Tensor, nn

from bnexp.config.layout import Layout
from bnexp.config.model import MlpConfig, ModelConfig
from bnexp.config.randomness import derive_seed
from bnexp.config.schema import InitConfig, NormalInit, TrainingConfig
from bnexp.models.network import Network
from bnexp.norms.weights import NormalizedConv2d, NormalizedLinear

DEFAULT_STD = 0.01
_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def memory_format_of(model: ModelConfig, training: TrainingConfig, device: torch.device) -> torch.memory_format:
    """Return the memory format that a training asks for, or the one that its network computes faster in.

    Convolutions are faster with the channels last: on the x86 CPUs measured, and on CUDA where tensor cores do the work
    (bf16, fp16). A norm that is slower that way can cost more than the convolutions gain; `channels_last` in
    config/items.py marks those that do not.

    Time of a step over the one of contiguous channels, in fp32 (ResNet-8, batch 128, torch 2.13, two cores of an x86
    CPU): no norm 0.82, bn 0.83, ghost_bn 0.81, ln_c 0.94; vn 0.96, gn 0.97, frn and dyt 1.02, batch_renorm 1.04,
    evonorm 1.06 to 1.11, in 1.16, ln 1.27, rms 1.31. In bf16: ln 1.29, rms 1.41, gn 1.75. Those were of a CPU with
    AVX-512; of one with AVX2 alone: bn and dyt 0.87, frn 0.90, ln_c 1.00, none 1.03, gn 1.05, ln and in 1.15, rms 1.17.
    A moment's measurement at the start of a run could gain no more than that, and would choose by chance on a busy
    machine, so that two seeds would not compute alike: `bnexp check --speed` measures, and `memory_format` is set.
    """
    if training.memory_format != "auto":
        return _FORMATS[training.memory_format]
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


def without_numbers(layout: Layout) -> nn.Module:
    """Return the network with shapes alone, on torch's `meta` device: it takes neither memory nor time."""
    with torch.device("meta"):
        return Network(layout, seed=0)


@torch.no_grad()
def initialize(network: nn.Module, init: InitConfig, seed: int) -> None:
    """Give every layer of the network its initial weights.

    Norms keep gamma 1 and beta 0; biases are 0 but for torch's own scheme. Where weights are normalized, the weights
    underneath are drawn as in a plain layer; with `weight_norm` the layer starts as the plain one does.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _draw_weight(module.weight, init, _stream(seed, f"{name}.weight"))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel()) if init.scheme == "torch" else 0.0
                nn.init.uniform_(module.bias, -bound, bound, generator=_stream(seed, f"{name}.bias"))
            if isinstance(module, NormalizedLinear | NormalizedConv2d):
                module.gain.copy_(module.rule.first_gain(module.weight, init.gain))


def _stream(seed: int, parameter: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "init", parameter))


def _draw_weight(weight: Tensor, init: InitConfig, generator: torch.Generator) -> None:
    """Draw a weight (out, in) or (out, in, k, k) by the scheme; `init.gain` scales what it gives."""
    fan_in = weight[0].numel()
    if isinstance(init, NormalInit):
        nn.init.normal_(weight, std=init.std or DEFAULT_STD, generator=generator)
    elif init.scheme == "torch":
        # kaiming_uniform_(a=sqrt(5)), as torch's layers do, is the uniform distribution in +-1/sqrt(fan_in).
        nn.init.uniform_(weight, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
    elif init.scheme == "kaiming":
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    elif init.scheme == "xavier":
        nn.init.xavier_uniform_(weight, generator=generator)
    elif init.scheme == "zeros":
        nn.init.zeros_(weight)
    else:
        nn.init.orthogonal_(weight, generator=generator)
    weight.mul_(init.gain)


def leaves(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold no others, by name and in order: the items of the blocks, and the head.

    The module of a registered norm or activation is one item, whatever it holds.
    """
    found, inside = dict[str, nn.Module](), set[nn.Module]()
    for name, module in network.named_modules():
        if module not in inside and (hasattr(module, "is_item") or not any(module.children())):
            found[name] = module
            inside.update(module.modules())
    return found
