"""Strided 1 x 1 convolutions of few channels: the plain convolution's values, without its writes past a buffer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bnexp.config.block import parse_item
from bnexp.norms.weights import build_conv

ROOT = Path(__file__).parents[2]
MALLOC_CHECK = "libc_malloc_debug.so.0"
OPTIONS = ["conv", "conv(weight_norm=true)", "conv(weight_std=true)"]

SHAPES = """
import torch
from bnexp.config.block import parse_item
from bnexp.norms.weights import build_conv
torch.set_num_threads(1)
for text in {options}:
    for channels in range(1, 17):
        for batch, side, stride in [(16, 8, 2), (2, 16, 2), (3, 7, 2), (4, 16, 4)]:
            print(text, channels, batch, side, stride, flush=True)  # the last line says where the process died
            layer = build_conv(parse_item(text).options, channels, 8, 1, stride, bias=False)
            layer.to(memory_format=torch.channels_last)
            x = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
            layer(x.requires_grad_()).sum().backward()
"""

NETWORK = """
import torch
from bnexp.config.layout import layout_of
from bnexp.config.model import ResnetConfig
from bnexp.config.schema import PlainInit
from bnexp.models.build import build_model
torch.set_num_threads(1)
block = "conv -> bn -> relu -> conv -> bn -> add -> relu"
model = ResnetConfig(arch="resnet", stages=(1, 1, 1), width=3, shortcut="projection", block=block)
network = build_model(layout_of(model, (3, 16, 16), 4), PlainInit(), seed=0).to(memory_format=torch.channels_last)
for step in range(5):
    print("resnet, step", step, flush=True)
    x = torch.randn(16, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    network.zero_grad()
    torch.nn.functional.cross_entropy(network(x), torch.arange(16) % 4).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.1 * parameter.grad
"""


def run_checked(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python where glibc looks at the edges of every block of memory that is freed, and aborts if one was torn."""
    environment = {**os.environ, "LD_PRELOAD": MALLOC_CHECK, "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=120)


@pytest.fixture(scope="module")
def malloc_check() -> None:
    """Skip where glibc does not offer its check: other systems, and Linux without the debugging library."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only glibc has this check")
    done = subprocess.run(
        [sys.executable, "-c", ""],
        capture_output=True,
        text=True,
        env={**os.environ, "LD_PRELOAD": MALLOC_CHECK},
        check=False,
        timeout=60,
    )
    if done.returncode or MALLOC_CHECK in done.stderr:  # ld.so warns and goes on without
        pytest.skip(f"{MALLOC_CHECK} is not here: {done.stderr.strip()}")


@pytest.mark.usefixtures("malloc_check")
def test_memory_stays_whole() -> None:
    done = run_checked(SHAPES.format(options=OPTIONS) + NETWORK)
    assert done.returncode == 0, f"{done.returncode} {done.stderr}, at {done.stdout.splitlines()[-1:]}"


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "contiguous"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "side", "stride"), [(1, 8, 2), (3, 7, 2), (4, 8, 2), (7, 9, 4), (15, 6, 3)])
def test_values_and_gradients_are_those_of_the_plain_convolution(
    channels: int, side: int, stride: int, bias: bool, last: bool
) -> None:
    draws = torch.Generator().manual_seed(0)
    layer = build_conv(parse_item("conv").options, channels, 6, 1, stride, bias=bias).double()
    x = torch.randn(5, channels, side, side, dtype=torch.float64, generator=draws)
    if last:
        layer, x = layer.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    assert isinstance(layer, nn.Conv2d)
    plain = nn.Conv2d(channels, 6, 1, stride, bias=bias).double()  # contiguous: the form that is sound
    plain.load_state_dict(layer.state_dict())
    inputs = [x.clone().requires_grad_(), x.contiguous().clone(memory_format=torch.contiguous_format).requires_grad_()]
    outputs = [module(value) for module, value in zip((layer, plain), inputs, strict=True)]
    direction = torch.randn(outputs[1].shape, dtype=torch.float64, generator=draws)
    for output in outputs:
        (output * direction).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-13)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=0, atol=1e-13)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(layer.get_parameter(name).grad, parameter.grad, rtol=1e-12, atol=1e-12)
    if last and channels > 1:
        assert outputs[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("option", ["weight_norm", "weight_std"])
def test_normalized_weights_are_convolved_alike(option: str) -> None:
    draws = torch.Generator().manual_seed(0)
    layer = build_conv(parse_item(f"conv({option}=true)").options, 4, 6, 1, 2, bias=True).double()
    x = torch.randn(5, 4, 8, 8, dtype=torch.float64, generator=draws)
    expected = nn.functional.conv2d(x, layer.rule.effective(layer.weight, layer.gain), layer.bias, 2)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), expected, rtol=0, atol=1e-13)


def test_other_convolutions_are_torchs_own() -> None:
    for channels, kernel, stride in [(16, 1, 2), (4, 3, 2), (4, 1, 1)]:
        assert type(build_conv(parse_item("conv").options, channels, 8, kernel, stride, bias=False)) is nn.Conv2d
