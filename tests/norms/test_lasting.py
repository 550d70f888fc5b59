"""Running statistics that are not finite stay so, whatever comes: who takes steps ahead looks at the end of them."""

import math

import pytest
import torch
from torch import nn

from bnexp.config.block import parse_item
from bnexp.norms.registry import NORMS, build_norm

TEXTS = [
    *("bn", "bn(momentum=1)", "ghost_bn(size=4)", "ghost_bn(size=4, momentum=1)"),
    *("batch_renorm", "batch_renorm(momentum=1)", "noisy_bn", "vn", "vn(momentum=1)"),
    *("evonorm_b0", "evonorm_b0(momentum=1)", "sync_bn"),
]


def floats_of(module: nn.Module) -> list[torch.Tensor]:
    return [buffer for buffer in module.buffers() if buffer.is_floating_point()]


def test_every_norm_with_running_statistics_is_tried() -> None:
    options = {"gn": "gn(groups=2)", "ghost_bn": "ghost_bn(size=4)", "evonorm_s0": "evonorm_s0(groups=2)"}
    built = {name: build_norm(parse_item(options.get(name, name)), (4, 3, 3)) for name in NORMS}
    assert {name for name, module in built.items() if floats_of(module)} <= {text.partition("(")[0] for text in TEXTS}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("text", TEXTS)
def test_statistics_that_are_not_finite_stay_so(text: str, value: float) -> None:
    for place in range(len(floats_of(build_norm(parse_item(text), (4, 3, 3))))):
        module = build_norm(parse_item(text), (4, 3, 3)).train()
        floats_of(module)[place].flatten()[:1].fill_(value)
        for seed in range(5):
            module(torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(seed)))
        assert not all(bool(buffer.isfinite().all()) for buffer in floats_of(module))
