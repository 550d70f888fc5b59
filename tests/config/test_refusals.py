"""Refusals: items that do not fit their input or would throw it away, and sizes that no memory holds."""

import re
from pathlib import Path

import pytest

from bnexp.blueprint import draw
from bnexp.config.block import parse_item
from bnexp.config.layout import layout_of, place_block
from bnexp.config.loading import check_values, load_config
from bnexp.config.refusals import count_weights, problem_of
from bnexp.errors import ConfigError

NO_FILLING = {"norm": None, "activation": None}


def refuse(config):
    draw(config, Path("unused"))


def problem(item, shape):
    """Return what is wrong with one item for inputs of `shape`."""
    return problem_of(place_block([parse_item(item)], "block1", shape, width=7).items[0])


def test_frozen_statistics_take_a_batch_of_one(values):
    values["data"]["batch_size"] = 1
    with pytest.raises(ConfigError, match=r"data\.batch_size 1 with bn"):
        refuse(check_values(values, {}, "made"))
    values["model"]["block"] = "linear -> bn(frozen=statistics) -> relu"
    refuse(check_values(values, {}, "made"))


@pytest.mark.parametrize(
    ("item", "shape", "said"),
    [
        ("gn(groups=8)", (12,), "have 8 groups, which do not divide 12 channels; expected groups=1, 2, 3 or 4"),
        ("gn(groups=12)", (12,), "see 1 value in each of its 12 groups and give beta"),
        ("gn(groups=24)", (12,), "have 24 groups, which do not divide 12 channels"),
        ("gn(groups=1)", (1,), "see 1 value in each of its 1 groups and give beta, .*expected at least 3 values"),
        ("gn(groups=6)", (6, 1, 1), "see 1 value in each"),
        ("gn(groups=4)", (6, 3, 3), "do not divide 6 channels; expected groups=1, 2, 3 or 6$"),
        ("evonorm_s0(groups=7)", (7,), "divide by the root of eps alone; expected groups=1$"),
        ("evonorm_s0(groups=3)", (8, 2, 2), "do not divide 8 channels"),
        ("in", (12,), "see 1 value per channel"),
        ("in", (12, 1, 1), "see 1 value per channel"),
        ("ln", (1, 1, 1), "see 1 feature and give beta"),
        ("ln_c", (1, 8, 8), "see 1 feature and give beta"),
        ("rms", (1,), "see 1 feature and give gamma times its sign; expected a width of at least 2"),
        ("linear(weight_std=true)", (1,), "standardize 1 weight per unit.*at least 2 features$"),
        ("conv(kernel=1, weight_std=true)", (1, 8, 8), "standardize 1 weight per unit.*2 channels or a larger kernel$"),
    ],
)
def test_an_item_that_does_not_fit_is_refused_with_the_numbers(item, shape, said):
    assert re.search(said, problem(item, shape))


@pytest.mark.parametrize(
    ("item", "shape"),
    [
        ("gn(groups=6)", (12,)),
        ("gn(groups=6)", (6, 1, 2)),
        ("gn(groups=1)", (2,)),
        ("evonorm_s0(groups=4)", (8,)),
        ("in", (1, 1, 2)),
        ("ln", (1, 1, 2)),
        ("ln_c", (2, 1, 1)),
        ("rms", (2,)),
        ("linear(weight_std=true)", (2,)),
        ("conv(weight_std=true)", (1, 8, 8)),
        ("conv(kernel=1, weight_std=true)", (2, 8, 8)),
        ("linear(weight_norm=true)", (1,)),
        *((name, (1,)) for name in ("bn", "ghost_bn", "batch_renorm", "noisy_bn", "vn", "frn", "evonorm_b0", "dyt")),
    ],
)
def test_its_neighbour_fits(item, shape):
    assert problem(item, shape) is None


def test_layer_norm_over_one_feature_is_refused(clean_file):
    narrow = ["model.hidden=[64, 1]"]
    refuse(load_config(clean_file, narrow))
    for block in (["model.block=linear -> ln -> relu"], ["model.block=linear -> norm -> relu", "model.norm=ln"]):
        refuse(load_config(clean_file, block))
        with pytest.raises(ConfigError, match=r"model.hidden \[64, 1\].*width of at least 3"):
            refuse(load_config(clean_file, [*narrow, *block]))


def test_ln_before_a_layer_of_width_1_sees_the_wider_one(make_config):
    def config_of(*hidden):
        return make_config(model={"block": "ln -> linear -> relu", **NO_FILLING, "hidden": list(hidden)})

    refuse(config_of(8, 1))
    with pytest.raises(ConfigError, match="block 3 would see 1 feature"):
        refuse(config_of(8, 1, 8))


def test_every_block_of_an_mlp_is_looked_at(make_config):
    def config_of(*hidden):
        return make_config(model={"block": "linear -> gn(groups=4) -> relu", **NO_FILLING, "hidden": list(hidden)})

    refuse(config_of(8, 12))
    with pytest.raises(ConfigError, match=r"model.hidden \[8, 10\]: the gn of block 2 would have 4 groups"):
        refuse(config_of(8, 10))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"arch": "cnn", "stages": [[8], [12, 6]]}, r"model.stages \[\[8\], \[12, 6\]\]: the gn of stage2.block2"),
        ({"arch": "resnet", "depth": 8, "width": 6}, r"model.width 6: the gn of stem would have 4 groups"),
    ],
)
def test_the_place_and_the_key_of_the_widths_are_named(make_config, model, said):
    add = " -> add" if model["arch"] == "resnet" else ""
    block = {"block": f"conv -> gn(groups=4){add}", **NO_FILLING, "hidden": None}
    with pytest.raises(ConfigError, match=f"^{said}"):
        refuse(make_config(model={**model, **block}))


def test_the_projection_of_one_channel_has_one_weight_per_unit(make_config):
    model = {"arch": "resnet", "depth": 8, "block": "conv(weight_std=true) -> add", "shortcut": "projection"}

    def config_of(width):
        return make_config(model={**model, **NO_FILLING, "hidden": None, "width": width})

    refuse(config_of(2))
    with pytest.raises(ConfigError, match=r"model.width 1: the conv of stage2.block1 would standardize 1 weight"):
        refuse(config_of(1))


def weights(shape, **model):
    rest = {"data": {"dataset": "mnist5k"}, "optimizer": {"name": "sgd"}, "training": {"epochs": 1}}
    return count_weights(layout_of(check_values({"name": "x", "model": model, **rest}, {}, "test").model, shape, 10))


def test_the_weights_of_an_mlp_are_products_of_neighbouring_widths():
    assert weights((1, 28, 28), arch="mlp", hidden=[5, 7], block="linear -> bn -> relu") == 784 * 5 + 5 * 7 + 7 * 10


def test_the_weights_of_a_convolution_are_those_of_its_kernel_for_each_pair_of_channels():
    found = weights((3, 8, 8), arch="cnn", stages=[[4], [6]], block="conv(kernel=5) -> relu", head="flatten")
    assert found == 25 * (3 * 4 + 4 * 6) + 6 * 2 * 2 * 10


def test_a_projection_has_weights_of_its_own():
    block = "conv -> bn -> add -> relu"
    options = {"arch": "resnet", "stages": [1, 1], "width": 4, "block": block}
    projected = weights((3, 8, 8), shortcut="projection", **options)
    assert projected - weights((3, 8, 8), **options) == 4 * 8
