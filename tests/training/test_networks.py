"""Every family trains, is measured without a trace, and starts as others do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.probes.registry import PROBES
from bnexp.runs.rows import Writers
from bnexp.training.build import TrainingRun, build
from bnexp.training.loop import train
from bnexp.training.progress import Progress

IMAGES = {"batch_size": 20, "synthetic": {"classes": 3, "shape": [3, 8, 8], "size": 60}}
EVERY = {name: {"every": 1} for name in PROBES} | {
    "evaluation_modes": {"every": 1, "examples": 2, "recomputed_over": 20},
    "coupling": {"every": 1, "examples": 1, "draws": 2},
    "covariate_shift": {"every": 1, "examples": 8, "units": 4},
    "landscape": {"every": 1, "points": 2},
    "cost": {"every": 1, "repeats": 1},
}
NEVER = dict.fromkeys(PROBES, "off")
BF16 = {"precision": "bf16", "epochs": 1}
POST = "conv -> norm -> relu -> conv -> norm -> add -> relu"

NETWORKS: dict[str, dict[str, Any]] = {
    "cnn, max pooling": {"arch": "cnn", "stages": [[4, 4], [6]], "block": "conv -> norm -> relu"},
    "cnn, average pooling, flat head": {
        **{"arch": "cnn", "stages": [4, 6], "blocks": 2, "pool": "avg", "head": "flatten"},
        "block": "conv -> relu -> norm -> dropout(p=0.1)",
    },
    "cnn, strides": {
        "arch": "cnn",
        "stages": [[4], [6, 6]],
        "pool": "stride",
        "block": "norm -> relu -> conv(kernel=1)",
    },
    "resnet": {"arch": "resnet", "depth": 8, "width": 4, "block": POST},
    "resnet, projections": {"arch": "resnet", "stages": [1, 2], "width": 4, "shortcut": "projection", "block": POST},
    "resnet, pre-activation": {
        **{"arch": "resnet", "depth": 8, "width": 4},
        "block": "norm -> relu -> conv -> norm -> relu -> conv -> add",
    },
    "resnet, zero gamma": {"arch": "resnet", "depth": 8, "width": 4, "block": POST, "zero_gamma": True},
    "resnet, skip gain": {"arch": "resnet", "depth": 8, "width": 4, "block": POST, "skip_gain": True},
}


def built(make_config: Callable[..., Config], name: str, norm: str = "bn", **sections: Any) -> TrainingRun:
    model = {"hidden": None, "activation": None, "norm": norm, **NETWORKS[name]}
    return build(
        draw(make_config(data=IMAGES, model=model, **sections), Path("unused")), data_dir=Path("unused"), device="cpu"
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_probes_change_nothing(make_config: Callable[..., Config], name: str) -> None:
    runs = [built(make_config, name, probes=probes, training={"epochs": 1}) for probes in (EVERY, NEVER)]
    for run in runs:
        train(run, Progress.start(run, Writers([])))
    first, second = (run.network.state_dict() for run in runs)
    assert all(torch.equal(value, second[key]) for key, value in first.items() if torch.is_tensor(value))


def test_probes_change_nothing_in_bf16_with_the_channels_last(make_config: Callable[..., Config]) -> None:
    runs = [built(make_config, "resnet", probes=probes, training=BF16) for probes in (EVERY, NEVER)]
    for run in runs:
        assert run.memory_format == torch.channels_last
        progress = Progress.start(run, Writers([]))
        train(run, progress)
        assert progress.divergence is None
    first, second = (run.network.state_dict() for run in runs)
    assert all(torch.equal(value, second[key]) for key, value in first.items() if torch.is_tensor(value))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("norm", ["none", "ln", "gn(groups=1)"])
def test_arms_that_differ_in_normalization_are_paired(make_config: Callable[..., Config], name: str, norm: str) -> None:
    if NETWORKS[name].get("zero_gamma") and norm == "none":
        pytest.skip("zero_gamma is refused without a norm")
    one, other = built(make_config, name), built(make_config, name, norm)
    layers = [key for key in one.items if key.endswith(("conv", "conv1", "conv2", "head"))]
    assert layers
    for key in layers:
        assert torch.equal(one.items[key].weight, other.items[key].weight), key


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("resnet, zero gamma", lambda block: block.bn2.weight),
        ("resnet, skip gain", lambda block: block.skip_gain.gain),
    ],
)
def test_a_gain_of_zero_makes_a_block_its_shortcut_and_is_learned(
    make_config: Callable[..., Config], name: str, gain: Callable[[Any], torch.Tensor]
) -> None:
    run = built(make_config, name)
    block = run.network.stage1.block1
    x = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(block.eval()(x), x)
    assert gain(block).abs().max() == 0
    assert block.bn1.weight.abs().min() == 1
    train(run, Progress.start(run, Writers([])))
    assert gain(block).abs().max() > 0
