"""The shortcuts of residual blocks meet the branch at `add`, whatever stands before and after it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.items import NORM_NAMES
from bnexp.config.layout import layout_of
from bnexp.config.schema import Config
from bnexp.models.build import build_model
from bnexp.models.network import PadShortcut

MakeConfig = Callable[..., Config]

BLOCKS = [
    "conv -> bn -> add -> relu -> conv(stride=2)",
    "conv -> bn -> relu -> conv -> bn -> add -> relu -> conv -> relu",
    "conv(stride=2) -> add -> relu",
    "conv(stride=2) -> relu -> conv(stride=3) -> add -> conv -> relu",
    "bn -> relu -> conv -> add -> conv(stride=2)",
]


def resnet(make_config: MakeConfig, block: str, **options: Any) -> Any:
    model = {"arch": "resnet", "stages": [1, 2], "width": 4, "block": block, **options}
    config = make_config(model={"hidden": None, "norm": None, "activation": None, **model})
    return build_model(layout_of(config.model, (3, 33, 40), 10), config.init, seed=0)


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("block", BLOCKS)
def test_the_shortcut_has_the_shape_that_the_branch_has_at_the_sum(
    make_config: MakeConfig, block: str, shortcut: str
) -> None:
    network = resnet(make_config, block, shortcut=shortcut)
    met: list[list[torch.Size]] = []
    for name, module in network.named_modules():
        if name.endswith(".add"):
            module.register_forward_hook(lambda module, inputs, output: met.append([x.shape for x in inputs]))
    assert network(images(2, 3, 33, 40)).shape == (2, 10)
    assert len(met) == 3
    assert all(branch == skipped for branch, skipped in met)


def test_padding_takes_every_so_many_pixels_and_adds_channels_of_zeros() -> None:
    x = images(2, 3, 7, 8)
    y = PadShortcut(channels=5, stride=3)(x)
    assert y.shape == (2, 5, 3, 3)
    for row in range(3):
        for column in range(3):
            assert torch.equal(y[:, :3, row, column], x[:, :, 3 * row, 3 * column])
    assert not y[:, 3:].any()


def test_where_the_shape_stays_the_shortcut_is_its_input(make_config: MakeConfig) -> None:
    network = resnet(make_config, "conv -> bn -> add -> relu -> conv(stride=2)", shortcut="projection")
    assert isinstance(network.stage1.block1.shortcut, nn.Identity)
    assert [name for name, _ in network.stage2.block1.shortcut.named_children()] == ["conv", "bn"]


@pytest.mark.parametrize("name", NORM_NAMES)
@pytest.mark.parametrize("dropout", ["", " -> dropout(p=0.1)"])
def test_a_gamma_of_zero_makes_the_block_its_shortcut_and_has_a_gradient(
    make_config: MakeConfig, name: str, dropout: str
) -> None:
    norm = f"{name}(groups=2)" if name in ("gn", "evonorm_s0") else name
    block = resnet(make_config, f"conv -> {norm}{dropout} -> add", zero_gamma=True).stage1.block1
    x = images(4, 4, 33, 40)
    torch.testing.assert_close(block.eval()(x), x)
    block.train()(x).square().sum().backward()
    assert block.get_parameter(f"{name}.weight").grad.abs().max() > 0
