"""Each family against a network written by hand in plain torch: the same weights, one training step, float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bnexp.config.layout import layout_of
from bnexp.config.schema import Config
from bnexp.models.build import build_model

POST = "conv -> bn -> relu -> conv -> bn -> add -> relu"
PRE = "bn -> relu -> conv -> bn -> relu -> conv -> add"


def pad_shortcut(x: Tensor, channels: int) -> Tensor:
    """Option A: every second pixel, zeros for the new channels."""
    if x.shape[1] == channels:
        return x
    half = x[:, :, ::2, ::2]
    zeros = half.new_zeros(half.shape[0], channels - half.shape[1], *half.shape[2:])
    return torch.cat([half, zeros], dim=1)


class PlainPostBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, projection: bool) -> None:
        super().__init__()
        stride = 1 if channels_in == channels else 2
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.projected = None
        if projection and stride == 2:
            self.projected = nn.Sequential(nn.Conv2d(channels_in, channels, 1, 2, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut = self.projected(x) if self.projected is not None else pad_shortcut(x, branch.shape[1])
        return functional.relu(branch + shortcut)


class PlainPreBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, projection: bool) -> None:
        super().__init__()
        stride = 1 if channels_in == channels else 2
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.projected = nn.Conv2d(channels_in, channels, 1, 2) if projection and stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(functional.relu(self.bn2(self.conv1(functional.relu(self.bn1(x))))))
        shortcut = self.projected(x) if self.projected is not None else pad_shortcut(x, branch.shape[1])
        return branch + shortcut


class PlainResnet(nn.Module):
    def __init__(self, pre: bool, blocks: list[int], width: int, projection: bool) -> None:
        super().__init__()
        kind = PlainPreBlock if pre else PlainPostBlock
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=pre)
        self.stem_bn = None if pre else nn.BatchNorm2d(width)
        widths = [width * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
        pairs = zip([width, *widths], widths, strict=False)
        self.blocks = nn.Sequential(*(kind(before, after, projection) for before, after in pairs))
        self.final = nn.BatchNorm2d(widths[-1]) if pre else None
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.stem_bn is not None:
            x = functional.relu(self.stem_bn(x))
        x = self.blocks(x)
        if self.final is not None:
            x = functional.relu(self.final(x))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def plain_vgg11() -> nn.Module:
    layers: list[nn.Module] = []
    channels_in = 3
    for entry in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if isinstance(entry, int):
            layers += [nn.Conv2d(channels_in, entry, 3, padding=1, bias=False), nn.BatchNorm2d(entry), nn.ReLU()]
            channels_in = entry
        else:
            layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def plain_mlp(after: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for width_in in (3 * 32 * 32, 20):
        norm, act = nn.BatchNorm1d(20), nn.ReLU()
        layers += [nn.Linear(width_in, 20, bias=after), *((act, norm) if after else (norm, act))]
    return nn.Sequential(*layers, nn.Linear(20, 10))


class PlainResnet9(nn.Module):
    """The network of https://github.com/davidcpage/cifar10-fast, its head the mean over all positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.prep = self.conv(3, width)
        self.layer1, self.residual1 = self.conv(width, 2 * width), self.pair(2 * width)
        self.layer2 = self.conv(2 * width, 4 * width)
        self.layer3, self.residual3 = self.conv(4 * width, 8 * width), self.pair(8 * width)
        self.linear = nn.Linear(8 * width, 10)

    def conv(self, before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    def pair(self, width: int) -> nn.Sequential:
        return nn.Sequential(self.conv(width, width), self.conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.layer1(self.prep(x)), 2)
        x = functional.max_pool2d(self.layer2(x + self.residual1(x)), 2)
        x = functional.max_pool2d(self.layer3(x), 2)
        return self.linear((x + self.residual3(x)).mean(dim=(2, 3)))


RESNET9 = {
    **{"arch": "resnet", "stages": [0, 1, 0, 1], "pool": "max"},
    "block": "conv -> bn -> relu -> conv -> bn -> relu -> add",
}
VGG11 = [[64], [128], [256, 256], [512, 512], [512, 512]]

CASES: dict[str, tuple[dict[str, Any], Callable[[], nn.Module]]] = {
    "ResNet-20, post-activation": (
        {"arch": "resnet", "depth": 20, "block": POST},
        lambda: PlainResnet(False, [3, 3, 3], 16, False),
    ),
    "ResNet-20, pre-activation": (
        {"arch": "resnet", "depth": 20, "block": PRE},
        lambda: PlainResnet(True, [3, 3, 3], 16, False),
    ),
    "ResNet-8, projections": (
        {"arch": "resnet", "depth": 8, "block": POST, "shortcut": "projection"},
        lambda: PlainResnet(False, [1, 1, 1], 16, True),
    ),
    "ResNet-8, pre-activation with projections": (
        {"arch": "resnet", "depth": 8, "block": PRE, "shortcut": "projection"},
        lambda: PlainResnet(True, [1, 1, 1], 16, True),
    ),
    "ResNet-9": ({**RESNET9, "width": 8}, lambda: PlainResnet9(8)),
    "VGG-11": ({"arch": "cnn", "stages": VGG11, "block": "conv -> bn -> relu"}, plain_vgg11),
    "MLP, norm before": (
        {"arch": "mlp", "hidden": [20, 20], "block": "linear -> bn -> relu"},
        lambda: plain_mlp(False),
    ),
    "MLP, norm after": ({"arch": "mlp", "hidden": [20, 20], "block": "linear -> relu -> bn"}, lambda: plain_mlp(True)),
}


@pytest.mark.parametrize("case", CASES)
def test_one_training_step_is_that_of_the_plain_network(make_config: Callable[..., Config], case: str) -> None:
    model, make_plain = CASES[case]
    config = make_config(model={"norm": None, "activation": None, "hidden": None, **model})
    ours = build_model(layout_of(config.model, (3, 32, 32), 10), config.init, seed=1).double()
    plain = make_plain().double()
    assert [p.shape for p in ours.parameters()] == [p.shape for p in plain.parameters()]
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        theirs.data.copy_(mine)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=generator)
    y = torch.randint(10, (4,), generator=generator)
    losses = []
    for network in (ours, plain):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        loss = functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
    for mine, theirs in zip(ours.eval().buffers(), plain.eval().buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-9, atol=1e-11)


PUBLISHED = {
    "ResNet-20 (He et al. 2015: 0.27 M)": ({"arch": "resnet", "depth": 20, "block": POST}, 0.27e6),
    "ResNet-56 (0.85 M)": ({"arch": "resnet", "depth": 56, "block": POST}, 0.85e6),
    "ResNet-110 (1.7 M)": ({"arch": "resnet", "depth": 110, "block": POST}, 1.7e6),
    "ResNet-18 for CIFAR (11.17 M)": (
        {"arch": "resnet", "depth": 18, "shortcut": "projection", "block": POST},
        11.17e6,
    ),
    "ResNet-9 of cifar10-fast (6.57 M)": (RESNET9, 6.57e6),
    "VGG-16 for CIFAR (14.7 M)": (
        {
            "arch": "cnn",
            "stages": [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3],
            "block": "conv -> bn -> relu",
        },
        14.7e6,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_of_parameters_is_the_published_one(make_config: Callable[..., Config], name: str) -> None:
    model, expected = PUBLISHED[name]
    config = make_config(model={"norm": None, "activation": None, "hidden": None, **model})
    network = build_model(layout_of(config.model, (3, 32, 32), 10), config.init, seed=1)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(expected, rel=0.02)
