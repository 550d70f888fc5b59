"""Say of a config whether its seeds can be trained as one vectorized network, and whether that was measured to pay."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.blueprint import Blueprint
from bnexp.config.layout import Layout
from bnexp.models.build import build_model, leaves
from bnexp.norms.shapes import widened
from bnexp.training.device import autocast, choose_device
from bnexp.training.stacked import pass_all, whole

PAYS_UP_TO = 2e6
"""Multiply-adds of a step of one seed up to which stacking pays on a CPU: docs/sweeps.md has the measurements.

Of 4 seeds and up to 2 million, a stack took 1 / 1.3 to 1 / 1.6 of the time of separate runs, of 16 seeds 1 / 2.6 to
1 / 4.4. From 4 million on 4 seeds gain nothing, and convolutions lose: 18 million take 1 / 0.6 of the time.
"""
_CONVOLUTIONS_LOSE, _LARGE_MLP = 18e6, 43e6
"""Multiply-adds of a step of one seed from which on stacked convolutions lose, and an MLP counts as large."""
_LEAST_SEEDS, _LEAST_OF_LARGE = 4, 8
"""Seeds below which stacking an MLP, and a large one, loses; between the measured sizes nothing is known."""
_TRIED, _EXAMPLES = 2, 8
_ROUNDING = 1e-3
"""Relative distance up to which the gradients of a stacked network count as those of the network by itself."""


def why_not_worth(blueprint: Blueprint, device: str) -> str | None:
    """Say why stacking the seeds of a config is not known to pay on a device; None where it was measured to."""
    if (kind := choose_device(device).type) != "cpu":
        return f"stacked seeds were not measured on {kind}; --stack K asks for them"
    work = blueprint.plan.batch_size * multiply_adds(blueprint.layout)
    if work > PAYS_UP_TO:
        return (
            f"a step of one seed has {work / 1e6:,.0f} million multiply-adds, and on a CPU stacking pays up to about "
            f"{PAYS_UP_TO / 1e6:.0f}"
        )
    return None


def why_unpaid(blueprint: Blueprint, device: str, seeds: int) -> str | None:
    """Say why stacking `seeds` of a config does not pay on a device, by measurements; None where none say so."""
    if choose_device(device).type != "cpu":
        return None
    work = blueprint.plan.batch_size * multiply_adds(blueprint.layout)
    sized = f"a step of one seed has {work / 1e6:,.0f} million multiply-adds, and"
    if blueprint.config.model.arch != "mlp":
        large = f"{_CONVOLUTIONS_LOSE / 1e6:.0f} million and more"
        found = f"{sized} stacked seeds of convolutional networks of {large} took 1.3 to 2.5"
        loses = work >= _CONVOLUTIONS_LOSE
    elif work >= _LARGE_MLP:
        found = f"{sized} 2 and 4 stacked seeds of an MLP of {_LARGE_MLP / 1e6:.0f} million took 1.1 to 1.3"
        loses = seeds < _LEAST_OF_LARGE
    else:
        found, loses = "2 stacked seeds of MLPs took 1.2 to 1.3", seeds < _LEAST_SEEDS
    return f"{found} times as long as one by one on a CPU (docs/sweeps.md)" if loses else None


def multiply_adds(layout: Layout) -> int:
    """Return the multiplications of a forward pass of one example, in linear and convolutional layers."""
    total = layout.features * layout.classes
    for placed in layout.placed.values():
        if placed.item.kind.role == "layer":
            pixels = math.prod(placed.shape_out[1:])
            total += placed.shape_in[0] * placed.shape_out[0] * placed.kernel**2 * pixels
    return total


def why_not_stacked(blueprint: Blueprint) -> str | None:
    """Say why the seeds of a config cannot be stacked; None where they can.

    Its network is tried with two seeds on random examples: the gradients and running statistics of each must be those
    of the network by itself.
    """
    training = blueprint.config.training
    drawing = sorted({placed.item.name for placed in blueprint.layout.placed.values() if placed.item.kind.draws})
    if drawing:
        return f"{' and '.join(drawing)} draws from a random stream of its own for each seed, which vmap cannot"
    if training.compile:
        return "training.compile was not tried with stacked seeds; expected training.compile: false"
    if training.precision == "fp16":
        return "training.precision fp16 scales the loss of each seed by a number of its own; expected fp32 or bf16"
    return _why_not_vectorized(blueprint)


def _why_not_vectorized(blueprint: Blueprint) -> str | None:
    """Try the network of a config, and name the item that torch's vmap does not take, if there is one."""
    networks = [build_model(blueprint.layout, blueprint.config.init, seed).train() for seed in range(_TRIED)]
    generator, size = torch.Generator().manual_seed(0), blueprint.plan.batch_size
    ghosts = any(placed.item.options.ghost_size for placed in blueprint.layout.placed.values())
    count = size if ghosts else min(size, _EXAMPLES)  # a ghost batch of one example has no variance
    x = torch.randn(_TRIED, count, *blueprint.info.shape, generator=generator)
    y = torch.randint(blueprint.layout.classes, (_TRIED, count), generator=generator)
    come_to = ["the network"]
    for name, item in leaves(networks[0]).items():
        item.register_forward_pre_hook(lambda *_, name=name: come_to.append(name))
    try:
        with autocast(blueprint.config.training, torch.device("cpu")):
            _of_stack(networks, x, y)
        stacked = _of_stack(networks, x, y)  # bf16 would hide a difference behind its rounding
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"{come_to[-1]} cannot be vectorized in {blueprint.config.training.precision}: {reason[:200]}"
    for ours, *single in zip(stacked, networks, x, y, strict=True):
        for quantity, our, own in zip(("gradients", "running statistics"), ours, _of_one(*single), strict=True):
            distance = float((our - own).norm() / own.norm().clamp_min(1e-12))
            if not distance <= _ROUNDING:
                return f"vectorized, it gives other {quantity} than by itself, by {distance:.2g} of their size"
    idle = next((name for name, one in networks[0].named_parameters() if one.requires_grad and one.grad is None), None)
    return idle and f"the loss does not depend on {idle}, which an optimizer leaves alone; stacked, it would decay"


def _of_one(network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients and buffers of a network after a pass of x (B, C, H, W) with labels y (B,), as vectors."""
    functional.cross_entropy(widened(network(x)), y).backward()
    return _flat(one.grad for one in network.parameters()), _flat(network.buffers())


def _of_stack(networks: Sequence[nn.Module], x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return what `_of_one` does for each network, from one vectorized pass of x (K, B, C, H, W) with y (K, B)."""
    parameters = whole([dict(network.named_parameters()) for network in networks])
    buffers = whole([dict(network.named_buffers()) for network in networks])
    logits = widened(pass_all(networks[0], {**parameters, **buffers}, x))  # (K, B, classes)
    losses = [functional.cross_entropy(*each) for each in zip(logits, y, strict=True)]
    torch.stack(losses).sum().backward()
    gradients = [one.grad for one in parameters.values() if one.grad is not None]
    of_each = range(len(networks))
    return [(_flat(one[k] for one in gradients), _flat(one[k] for one in buffers.values())) for k in of_each]


def _flat(tensors: Iterable[Tensor | None]) -> Tensor:
    """Return all values of some tensors as one vector, of those that are there."""
    return torch.cat([torch.zeros(1), *(one.detach().float().flatten() for one in tensors if one is not None)])
