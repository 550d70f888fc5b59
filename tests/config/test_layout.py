"""Layouts: shapes, strides, biases and inputs that are too small, worked out without torch."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.config.layout import layout_of
from bnexp.config.loading import check_values
from bnexp.errors import ConfigError

POST = "conv -> bn -> relu -> conv -> bn -> add -> relu"
PRE = "bn -> relu -> conv -> bn -> relu -> conv -> add"


def model_of(**model):
    values = {"data": {"dataset": "mnist5k"}, "optimizer": {"name": "sgd"}, "training": {"epochs": 1}}
    return check_values({"name": "x", "model": model, **values}, {}, "test").model


def layout(shape=(3, 32, 32), **model):
    return layout_of(model_of(**model), shape, 10)


def biases(found):
    return {f"{block.place}.{item.name}": item.bias for block in found.blocks for item in block.items}


def test_a_resnet_doubles_the_channels_and_halves_the_size_at_each_stage():
    blocks = {block.place: block for block in layout(arch="resnet", depth=20, block=POST).blocks}
    assert list(blocks) == ["stem", *(f"stage{stage}.block{number}" for stage in (1, 2, 3) for number in (1, 2, 3))]
    assert [blocks[f"stage{stage}.block3"].shape_out for stage in (1, 2, 3)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert [blocks[f"stage{stage}.block1"].stride for stage in (1, 2, 3)] == [1, 2, 2]


def test_a_pre_activation_resnet_ends_with_what_its_blocks_begin_with():
    blocks = layout(arch="resnet", depth=8, block=PRE).blocks
    assert [item.name for item in blocks[0].items] == ["conv"]
    assert [item.name for item in blocks[-1].items] == ["bn", "relu"]


def test_a_bias_that_the_shortcut_carries_on_is_kept():
    found = biases(layout(arch="resnet", depth=8, block=PRE))
    assert found["stem.conv"]  # the next norm stands inside the branch only
    assert not found["stage1.block1.conv1"]
    assert found["stage1.block1.conv2"]  # right before the sum


def test_a_bias_before_a_pooling_is_kept():
    found = biases(layout(arch="cnn", stages=[[4], [4]], block="bn -> relu -> conv"))
    assert found["stage1.block1.conv"]


@pytest.mark.parametrize(
    ("block", "transition", "biased"), [(POST, ["conv", "bn", "relu"], False), (PRE, ["bn", "relu", "conv"], True)]
)
def test_with_pooling_a_stage_begins_with_a_convolution_and_its_blocks_keep_the_shape(block, transition, biased):
    found = layout(arch="resnet", stages=[1, 0, 2], width=4, pool="max", block=block)
    stages = ["stage1.block1", "stage2.transition", "stage2.pool"]
    stages += [f"stage3.{part}" for part in ("transition", "pool", "block1", "block2")]
    parts = {part.place: part for part in found.parts}
    assert list(parts) == ["stem", *stages, *(["final"] if block == PRE else [])]
    assert [parts[place].shape_out for place in stages[1:5]] == [(8, 32, 32), (8, 16, 16), (16, 16, 16), (16, 8, 8)]
    assert all(one.stride == 1 and one.shape_in == one.shape_out for one in found.blocks if one.residual)
    assert [item.name for item in parts["stage2.transition"].items] == transition
    assert biases(found)["stage2.transition.conv"] is biased


def test_a_projection_has_the_norm_that_stands_right_before_the_sum():
    def projection(block):
        found = layout(arch="resnet", depth=8, shortcut="projection", block=block).blocks
        (changed,) = [other for other in found if other.place == "stage2.block1"]
        return [(item.name, item.kernel, item.stride, item.bias) for item in changed.shortcut if item.name == "conv"], [
            item.name for item in changed.shortcut
        ]

    assert projection(POST) == ([("conv", 1, 2, False)], ["conv", "bn"])
    assert projection(PRE) == ([("conv", 1, 2, True)], ["conv"])
    assert projection("conv -> relu -> conv -> add -> relu") == ([("conv", 1, 2, True)], ["conv"])


def activations_before(**model):
    """Return the activation that the input of each convolution comes from, block by block."""
    blocks = layout(**model).blocks
    placed = [item for block in blocks for item in (*block.items, *block.shortcut)]
    return [item.after and item.after.name for item in placed if item.item.kind.role == "layer"]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("conv -> relu", [None, "relu", "relu"]),
        ("conv -> relu -> bn", [None, None, None]),
        ("conv -> bn -> tanh -> dropout", [None, "tanh", "tanh"]),
        ("conv -> conv -> gelu", [None, None, "gelu", None, "gelu", None]),
        ("relu -> conv", ["relu", "relu", "relu"]),
    ],
)
def test_an_input_comes_from_the_activation_before_it_across_blocks_dropout_and_poolings(block, expected):
    assert activations_before(arch="cnn", stages=[[4], [4, 4]], block=block) == expected


def test_in_a_resnet_the_sum_comes_from_no_activation_and_the_shortcut_starts_where_the_branch_does():
    family = {"arch": "resnet", "stages": [1, 1], "shortcut": "projection"}
    assert activations_before(**family, block=POST) == [None, "relu", "relu", "relu", "relu", "relu"]
    assert activations_before(**family, block=PRE) == [None, "relu", "relu", "relu", "relu", None]
    assert activations_before(**family, block="conv -> relu -> conv -> relu -> add") == [
        *(None, "relu", "relu"),
        *(None, "relu", None),
    ]


@pytest.mark.parametrize("block", [POST, PRE, "conv -> ln -> add"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_bias_of_a_projection_is_forced_as_any_other(block, bias):
    blocks = layout(arch="resnet", depth=8, shortcut="projection", block=block, bias=bias).blocks
    layers = [item for found in blocks for item in (*found.items, *found.shortcut) if item.item.name == "conv"]
    assert len(layers) == sum(len(found.shortcut) > 0 for found in blocks) + 1 + 3 * block.count("conv")
    assert all(layer.bias is bias for layer in layers)


@pytest.mark.parametrize(
    ("shape", "model"),
    [
        ((3, 2, 2), {"arch": "cnn", "stages": [4, 4], "block": "conv"}),
        ((1, 28, 1), {"arch": "cnn", "stages": [4], "block": "conv"}),
        ((3, 1, 1), {"arch": "resnet", "depth": 8, "block": "conv -> add"}),
    ],
)
def test_images_that_are_too_small_are_refused_with_the_numbers(shape, model):
    with pytest.raises(ConfigError, match=rf"image is {shape[1]} x|image is 1 x 1"):
        layout(shape, **model)


@pytest.mark.parametrize("stages", [2, 3, 4, 5])
@pytest.mark.parametrize("pool", ["max", "avg", "stride", "resnet", "resnet, max"])
def test_the_least_size_that_is_named_is_the_least_that_fits(stages, pool):
    family = {"arch": "cnn", "stages": [2] * stages, "block": "conv", "pool": pool}
    if pool.startswith("resnet"):
        family = {"arch": "resnet", "stages": [1] * stages, "width": 2, "block": "conv -> add"}
        family |= {"pool": "max"} if pool.endswith("max") else {}
    expect_least_size(**family)


def expect_least_size(**family):
    """Hold that the size named for an image of 1 pixel fits, and that one pixel less does not."""
    with pytest.raises(ConfigError) as refused:
        layout((1, 1, 1), **family)
    least = int(re.search(r"at least (\d+) x", str(refused.value))[1])
    layout((1, least, least), **family)
    with pytest.raises(ConfigError, match=f"at least {least} x {least}"):
        layout((1, least - 1, least - 1), **family)
    return least


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("stages", [2, 3])
def test_the_least_size_counts_the_strides_of_the_block(stages, stride):
    # Backward from the end: a pooling of 1 pixel has 2 before it, a stride of s at least s (n - 1) + 1 before n pixels.
    before_pooling = before_strides = 1
    for stage in range(stages, 0, -1):
        before_pooling = stride * (2 * before_pooling - 1) + 1
        before_strides = max(2 if stage > 1 else 1, stride * (2 if stage > 1 else 1) * (before_strides - 1) + 1)
    family = {"arch": "cnn", "stages": [2] * stages, "block": f"conv(stride={stride})"}
    assert expect_least_size(**family) == before_pooling
    assert expect_least_size(**family, pool="stride") == before_strides


@pytest.mark.parametrize("block", ["conv(stride=3) -> add", "conv -> add -> relu -> conv(stride=4)"])
def test_the_least_size_of_a_resnet_counts_the_strides_of_stem_and_blocks(block):
    expect_least_size(arch="resnet", stages=[1, 2, 1], width=2, block=block)


@given(st.data())
def test_the_least_side_is_the_least_that_fits(data):
    stride, stages = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    families = [
        {"arch": "cnn", "stages": [[4] * data.draw(st.integers(1, 2))] * stages, "block": f"conv(stride={stride})"},
        {"arch": "resnet", "stages": [1] * stages, "block": f"conv(stride={stride}) -> bn -> conv -> add -> relu"},
        {"arch": "resnet", "stages": [0] * stages + [1], "pool": "avg", "block": f"conv(stride={stride}) -> add"},
    ]
    model = model_of(**data.draw(st.sampled_from(families)))
    if model.arch == "cnn":
        model = model.model_copy(update={"pool": data.draw(st.sampled_from(["max", "stride"]))})

    def least_beyond(side):
        try:
            layout_of(model, (3, side, side), 10)
        except ConfigError as error:
            return int(re.search(r"at least (\d+) x", str(error))[1])

    least = least_beyond(1)
    if least is not None:
        assert least_beyond(least) is None
        assert least_beyond(least - 1) == least
