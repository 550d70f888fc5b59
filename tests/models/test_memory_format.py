"""The memory format changes the speed, not what is computed or drawn."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.block import parse_block
from bnexp.config.schema import Config
from bnexp.models.build import memory_format_of
from bnexp.models.dropout import Dropout
from bnexp.norms.registry import build_norm
from bnexp.training.build import build

MakeConfig = Callable[..., Config]
CNN = {"arch": "cnn", "stages": [[8], [8]], "hidden": None, "block": "conv -> norm -> act"}
LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format


def cnn_config(make_config: MakeConfig, norm: str, precision: str = "fp32") -> Config:
    model = {key: value for key, value in {**CNN, "norm": norm, "activation": "relu"}.items() if value is not None}
    config = make_config(training={"precision": precision})
    values = {**config.model_dump(mode="json", exclude_none=True), "model": model}
    return Config.model_validate(values)


@pytest.mark.parametrize(
    ("norm", "device", "precision", "expected"),
    [
        ("bn", "cpu", "fp32", LAST),
        ("none", "cpu", "bf16", LAST),
        ("ln_c", "cpu", "fp32", LAST),
        ("ln", "cpu", "fp32", CONTIGUOUS),
        ("gn(groups=2)", "cpu", "bf16", CONTIGUOUS),
        ("noisy_bn", "cpu", "fp32", CONTIGUOUS),
        ("bn", "cuda", "fp32", CONTIGUOUS),
        ("bn", "cuda", "bf16", LAST),
        ("bn", "mps", "fp32", CONTIGUOUS),
    ],
)
def test_the_format_is_the_faster_one(
    make_config: MakeConfig, norm: str, device: str, precision: str, expected: torch.memory_format
) -> None:
    config = cnn_config(make_config, norm, precision)
    assert memory_format_of(config.model, config.training, torch.device(device)) == expected


def test_an_mlp_has_no_channels_to_put_last(make_config: MakeConfig) -> None:
    config = make_config()
    assert memory_format_of(config.model, config.training, torch.device("cpu")) == CONTIGUOUS


def test_feature_maps_lie_as_the_format_says_and_logits_are_the_same(make_config: MakeConfig) -> None:
    run = build(draw(cnn_config(make_config, "bn"), Path("unused")), data_dir=Path("unused"), device="cpu")
    assert run.memory_format == LAST
    seen = []
    run.items["stage2.block1.conv"].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network, x = run.network.double(), run.batches.at(0)[0].double()
    logits = network(x)
    assert seen[0].is_contiguous(memory_format=LAST)
    torch.testing.assert_close(network.to(memory_format=CONTIGUOUS)(x), logits)


def test_what_is_drawn_does_not_depend_on_the_format() -> None:
    x = torch.randn(4, 8, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = parse_block("noisy_bn")[0]
    for build_module in (lambda: Dropout(0.5, seed=3), lambda: build_norm(noisy, (8, 5, 5)).double()):
        first, second = build_module(), build_module()
        torch.testing.assert_close(first(x), second(x.to(memory_format=LAST)), rtol=1e-12, atol=1e-12)
