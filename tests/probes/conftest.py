"""A look at a network of one's own, as the loop gives it to a probe."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.schema import Config
from bnexp.probes.probe import Look, Subject
from bnexp.store.writers import Writers
from bnexp.training.build import Experiment, build
from bnexp.training.display import SilentDisplay
from bnexp.training.loop import train
from bnexp.training.progress import Progress


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


@pytest.fixture
def trained(make_config: Callable[..., Config]) -> Callable[..., Experiment]:
    """Return a maker of experiments after their few steps: gamma and beta have moved, running statistics lag behind."""

    def make(**sections: Any) -> Experiment:
        run = build(make_config(**sections), data_dir=Path("unused"), device="cpu")
        train(run, Progress.start(run, Writers([])), SilentDisplay())
        return run

    return make
