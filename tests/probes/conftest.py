"""A look at a network of one's own, as the loop gives it to a probe."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.probes.probe import Look, Subject


@pytest.fixture
def look_at() -> Callable[..., Look]:
    """Return a maker of looks at the leaves of a network; what a test does not name is None and must not be needed."""

    def make(network: nn.Module, x: Tensor | None = None, y: Tensor | None = None, **subject: Any) -> Look:
        items = {name: module for name, module in network.named_modules() if not any(module.children())}
        unnamed = dict.fromkeys(("config", "plan", "layout", "dataset"))
        given = {"items": items, "precision": contextlib.nullcontext(), **unnamed, **subject}
        x = torch.zeros(0) if x is None else x
        y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
        return Look(Subject(network=network, **given), 1, 0.1, x, y)

    return make
