"""Initial weights. Each parameter draws from its own stream, named by its place in the network.

So nothing depends on what was created before: with and without normalization, `block2.linear.weight` starts the same.
"""

import math

import torch
from torch import Tensor, nn

from bnexp.config.randomness import derive_seed
from bnexp.config.schema import InitConfig, NormalInit
from bnexp.norms.weights import NormalizedConv2d, NormalizedLinear

DEFAULT_STD = 0.01


def initialize(network: nn.Module, init: InitConfig, seed: int) -> None:
    """Give every layer of the network its initial weights.

    Norms keep gamma 1 and beta 0. Where weights are normalized, the weights underneath are drawn as in a plain layer;
    with `weight_norm` the layer starts as the plain one does.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _weight(module.weight, init, _stream(seed, f"{name}.weight"))
            if module.bias is not None:
                _bias(module.bias, module.weight, init, _stream(seed, f"{name}.bias"))
            if isinstance(module, NormalizedLinear | NormalizedConv2d):
                with torch.no_grad():
                    module.gain.copy_(module.rule.first_gain(module.weight, init.gain))


def _stream(seed: int, parameter: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "init", parameter))


@torch.no_grad()
def _weight(weight: Tensor, init: InitConfig, generator: torch.Generator) -> None:
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


@torch.no_grad()
def _bias(bias: Tensor, weight: Tensor, init: InitConfig, generator: torch.Generator) -> None:
    """Draw a bias (out,): zero, but for torch's own scheme."""
    if init.scheme != "torch":
        bias.zero_()
        return
    bound = 1 / math.sqrt(weight[0].numel())
    nn.init.uniform_(bias, -bound, bound, generator=generator)
