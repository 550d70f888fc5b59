"""The network as built: each item with its output shape and parameters."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from bnexp.measure.evaluation import inference_mode_of
from bnexp.measure.recorder import outputs_of
from bnexp.models.build import leaves


@dataclass(frozen=True)
class OutlineRow:
    """One item of the network."""

    name: str  # its place, such as `block1.linear`
    shape: tuple[int, ...]  # of its output, without the batch
    parameters: int
    note: str  # why its bias was left out, where it was


def outline(network: nn.Module, shape: tuple[int, int, int], bias: bool | Literal["auto"] = "auto") -> list[OutlineRow]:
    """Return a row per item, in the order of computation, for images of `shape` (C, H, W) and `model.bias`.

    The network may be without numbers.
    """
    items = leaves(network)
    with inference_mode_of(network), torch.no_grad(), next(network.parameters()).device:
        outputs = outputs_of(items, lambda: network(torch.zeros(1, *shape)))
    following = dict(pairwise(outputs))
    rows = []
    for name, output in outputs.items():
        parameters = sum(parameter.numel() for parameter in items[name].parameters() if parameter.requires_grad)
        note = why_no_bias(items[name], following.get(name, ""), bias)
        rows.append(OutlineRow(name, tuple(output.shape[1:]), parameters, note))
    return rows


def why_no_bias(module: nn.Module, following: str, bias: bool | Literal["auto"]) -> str:
    """Say why a layer has no bias: the config says so, or the item that follows cancels it. Empty for any other."""
    if not isinstance(module, nn.Linear | nn.Conv2d) or module.bias is not None:
        return ""
    if bias is False:
        return "no bias: model.bias is false"
    return f"no bias: {following.rsplit('.', 1)[-1]} subtracts the mean of each feature, a bias cancels"
