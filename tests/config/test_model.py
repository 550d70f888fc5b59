"""Networks that cannot be: what the section `model` refuses by itself, before any image is known."""

import pytest

from bnexp.config.items import ITEMS, NORM_NAMES
from bnexp.config.loading import check_values
from bnexp.errors import ConfigError

POST = "conv -> bn -> relu -> conv -> bn -> add -> relu"
PRE = "bn -> relu -> conv -> bn -> relu -> conv -> add"


def model_of(**model):
    values = {"data": {"dataset": "mnist5k"}, "optimizer": {"name": "sgd"}, "training": {"epochs": 1}}
    return check_values({"name": "x", "model": model, **values}, {}, "test").model


def resnet(block, **options):
    return model_of(arch="resnet", depth=8, block=block, **options)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"arch": "resnet", "depth": 21, "block": "conv -> add"}, "expected 6n"),
        ({"arch": "resnet", "block": "conv -> add"}, "needs model.depth or model.stages"),
        ({"arch": "resnet", "depth": 8, "stages": [1], "block": "conv -> add"}, "needs model.depth or model.stages"),
        ({"arch": "resnet", "stages": [0, 1], "block": "conv -> add"}, "a stage without any block.*or model.pool: max"),
        ({"arch": "resnet", "stages": [0, 0], "pool": "max", "block": "conv -> add"}, "no block in any stage"),
        ({"arch": "resnet", "depth": 8, "pool": "max", "block": "conv -> add"}, "model.depth beside model.pool"),
        ({"arch": "resnet", "depth": 8, "block": "conv -> relu"}, "needs one `add`"),
        ({"arch": "resnet", "depth": 8, "block": "conv -> add", "zero_gamma": True}, "zero_gamma needs a norm"),
        (
            {"arch": "resnet", "depth": 8, "block": "conv -> bn -> add", "zero_gamma": True, "skip_gain": True},
            "neither could leave 0",
        ),
        ({"arch": "cnn", "stages": [4], "block": "conv -> add"}, "belongs to arch resnet"),
        ({"arch": "cnn", "stages": [4], "block": "linear"}, "needs a layer with weights, conv"),
        ({"arch": "cnn", "stages": [[]], "block": "conv"}, "without any block"),
        ({"arch": "mlp", "hidden": [4], "block": "linear -> conv"}, "made of linear, not conv"),
        ({"arch": "cnn", "stages": [4], "block": "conv(kernel=2)"}, "odd kernel"),
    ],
)
def test_networks_that_cannot_be_are_refused(model, said):
    with pytest.raises(ConfigError, match=said):
        model_of(**model)


@pytest.mark.parametrize("block", ["add -> conv -> relu", "bn -> add -> conv -> relu", "dropout -> add -> conv"])
def test_a_branch_without_a_layer_is_refused(block):
    with pytest.raises(ConfigError, match=f"needs a conv before `add`.*found: {block}"):
        resnet(block)


# A gamma that starts at 0


@pytest.mark.parametrize(
    ("block", "last"), [(PRE, "conv"), ("conv -> bn -> relu -> add", "relu"), ("conv -> bn -> conv -> add", "conv")]
)
def test_a_gamma_of_zero_that_could_not_grow_is_refused(block, last):
    assert resnet(block, skip_gain=True).skip_gain
    said = f"model.zero_gamma needs a norm right before `add`.*not {last}:.*found: {block}; model.skip_gain"
    with pytest.raises(ConfigError, match=said):
        resnet(block, zero_gamma=True)


@pytest.mark.parametrize("block", [POST, "conv -> bn -> dropout -> add", "bn(affine=false) -> conv -> bn -> add"])
def test_a_gamma_of_zero_right_before_the_sum_is_taken(block):
    assert resnet(block, zero_gamma=True).zero_gamma


def test_a_frozen_gamma_cannot_start_at_zero():
    assert resnet("conv -> bn(frozen=statistics) -> add", zero_gamma=True).zero_gamma
    with pytest.raises(ConfigError, match=r"gamma of the bn before `add` at 0, and there it is frozen.*skip_gain"):
        resnet("conv -> bn(frozen=affine) -> add", zero_gamma=True)


@pytest.mark.parametrize("name", [name for name in NORM_NAMES if "affine" in ITEMS[name].options.model_fields])
def test_a_norm_without_gamma_has_none_to_start_at_zero(name):
    block = f"conv -> {name}(affine=false) -> add"
    assert resnet(block).block == block
    assert resnet(f"conv -> {name} -> add", zero_gamma=True).zero_gamma
    with pytest.raises(ConfigError, match=rf"gamma of the {name} before .*{name}\(affine=false\) has none.*skip_gain"):
        resnet(block, zero_gamma=True)
