"""Builds the optimizer of a config, with weight decay where it is meant."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from bnexp.config.schema import AdamConfig, OptimizerConfig, SgdConfig


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> Optimizer:
    """Return the optimizer over all parameters of the network."""
    groups = parameter_groups(network, config.weight_decay, config.decay_norm_and_bias)
    # One kernel for all parameters, where there is one: the same arithmetic in less time.
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    if isinstance(config, SgdConfig):
        return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=fused)
    kind = Adam if isinstance(config, AdamConfig) else AdamW
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


def parameter_groups(network: nn.Module, weight_decay: float, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Split the parameters into those that are decayed and those that are not.

    The weights of linear and convolutional layers are decayed. gamma, beta, biases and whatever else a norm or an
    activation learns are only if asked; the gamma of `ln` on feature maps has as many dimensions as a weight.
    """
    weights = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if decay_norm_and_bias or id(parameter) in weights]
    others = [parameter for parameter in parameters if not (decay_norm_and_bias or id(parameter) in weights)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def optimizer_state_like(optimizer: Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return an example of what an optimizer keeps of each parameter, by its number, once it has taken a step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if isinstance(optimizer, SGD):
        return {number: {"momentum_buffer": parameter} for number, parameter in enumerate(parameters)}
    moments = ("exp_avg", "exp_avg_sq")
    return {
        number: {"step": torch.zeros(())} | dict.fromkeys(moments, parameter)
        for number, parameter in enumerate(parameters)
    }


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Let the next step of every group be taken at this rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
