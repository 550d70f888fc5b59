from pathlib import Path

import pytest

from bnexp.config.block import parse_item
from bnexp.config.degenerate import Placed, refuse_degenerate_items
from bnexp.config.items import ITEMS
from bnexp.config.lint import SMALL_BATCH, refuse_degenerate, warnings_of
from bnexp.config.loading import load_config
from bnexp.config.plan import make_plan
from bnexp.errors import ConfigError
from bnexp.sources.info import dataset_info


def info_of(config):
    return dataset_info(config.data, Path("unused"))


def refuse(config):
    refuse_degenerate(config, info_of(config))


def warnings_in(config):
    return warnings_of(config, make_plan(config, info_of(config)))


def warnings(path, *overrides):
    config = load_config(path, overrides)
    return warnings_in(config)


SMALL_CNN = ["model={arch: cnn, hidden: null, stages: [[8]], block: conv -> bn -> relu}"]
MLP_PCA = "data.preprocess=pca_whiten"

# Each warning with the smallest change that calls for it, and the nearest change that does not.
CASES = [
    (
        "the momentum is PyTorch's",
        ["model.block=linear -> bn(momentum=0.9) -> relu"],
        ["model.block=linear -> bn(momentum=0.5) -> relu"],
    ),
    (
        "the bias of linear before bn has no effect",
        ["model.bias=true"],
        ["model.bias=true", "model.block=linear -> relu -> bn"],
    ),
    (
        "two normalizations in a row",
        ["model.block=linear -> ln -> bn -> relu"],
        ["model.block=linear -> ln -> relu -> bn"],
    ),
    (
        "dropout before",
        ["model.block=linear -> dropout(p=0.1) -> bn -> relu"],
        ["model.block=linear -> dropout(p=0.1) -> ln -> relu"],
    ),
    ("no nonlinearity", ["model.block=linear -> bn -> identity"], ["model.block=linear -> bn -> tanh"]),
    ("no nonlinearity", ["model.block=linear -> gn"], ["model.block=linear -> evonorm_s0"]),
    ("no nonlinearity", ["model.block=linear -> vn"], ["model.block=linear -> evonorm_b0"]),
    ("no nonlinearity", ["model.block=linear -> rms"], ["model.block=linear -> dyt"]),
    (
        "evonorm_b0 -> relu: evonorm_b0 contains its nonlinearity",
        ["model.block=linear -> evonorm_b0 -> relu"],
        ["model.block=linear -> evonorm_b0 -> identity"],
    ),
    ("makes up; found relu", ["model.block=linear -> frn -> relu"], ["model.block=linear -> frn -> tlu"]),
    (
        "makes up; found nothing",
        ["model.block=relu -> linear -> frn", "model.hidden=[8]"],
        ["model.block=linear -> frn -> tlu"],
    ),
    ("tlu without frn", ["model.block=linear -> ln -> tlu"], ["model.block=linear -> frn -> tlu"]),
    ("tlu without frn", ["model.block=tlu -> linear"], ["model.block=frn -> tlu -> linear"]),
    (
        "noisy_bn undoes the length",
        ["model.block=linear(weight_norm=true) -> noisy_bn -> relu"],
        ["model.block=linear(weight_std=true) -> noisy_bn -> relu"],
    ),
    (
        "dropout before the vn",
        ["model.block=linear -> dropout(p=0.1) -> vn -> relu"],
        ["model.block=linear -> dropout(p=0.1) -> rms -> relu"],
    ),
    (
        "vn(momentum=0.9): the momentum is PyTorch's",
        ["model.block=linear -> vn(momentum=0.9) -> relu"],
        ["model.block=linear -> vn -> relu"],
    ),
    (
        "ghost_bn(size=4): batch statistics of so few",
        ["model.block=linear -> ghost_bn(size=4) -> relu"],
        ["model.block=linear -> ghost_bn(size=8) -> relu"],
    ),
    (
        "ghost_bn(size=64): the ghost batch is the whole batch",
        ["model.block=linear -> ghost_bn(size=64) -> relu"],
        ["model.block=linear -> ghost_bn(size=32) -> relu"],
    ),
    (
        "all 114 steps are warm-up",
        ["model.block=linear -> batch_renorm(warmup_steps=114, momentum=0.1) -> relu"],
        ["model.block=linear -> batch_renorm(warmup_steps=113, momentum=0.1) -> relu"],
    ),
    (
        "114 steps of evonorm_b0(momentum=0.005): at the end the running statistics still hold 56%",
        ["model.block=linear -> evonorm_b0(momentum=0.005)"],
        ["model.block=linear -> evonorm_b0(momentum=0.05)"],
    ),
    ("data.batch_size 6 with bn", ["data.batch_size=6"], ["data.batch_size=8"]),
    (
        "the last batch of each epoch holds 6 examples",
        ["data.batch_size=599", "training.epochs=20"],
        ["data.batch_size=599", "training.epochs=20", "data.drop_last=true"],
    ),
    (
        "10 steps of bn(momentum=0.1): at the end the running statistics still hold 35%",
        ["training={epochs: null, steps: 10}"],
        ["training={epochs: null, steps: 30}"],
    ),
    (
        "gamma, beta and biases are decayed",
        ["optimizer={weight_decay: 1e-4, decay_norm_and_bias: true}"],
        ["optimizer={weight_decay: 1e-4}"],
    ),
    (
        "schedule.warmup_epochs covers all",
        ["schedule={name: cosine, warmup_epochs: 2}"],
        ["schedule={name: cosine, warmup_epochs: 1.9}"],
    ),
    (
        "schedule.milestones [2.0, 3.0] lie at or after",
        ["schedule={name: step, milestones: [1, 2, 3]}"],
        ["schedule={name: step, milestones: [1, 1.9]}"],
    ),
    (
        "data.preprocess pca_whiten before convolutions",
        [*SMALL_CNN, "data.preprocess=pca_whiten"],
        [*SMALL_CNN, "data.preprocess=zca_whiten"],
    ),
    ("data.preprocess pca_whiten before convolutions", [*SMALL_CNN, "data.preprocess=pca_whiten"], [MLP_PCA]),
    ("40 validation examples: one of them is 2.5%", ["data.val_fraction=0.01"], ["data.val_fraction=0.025"]),
]


def test_the_clean_config_is_clean(clean_file):
    assert warnings(clean_file) == []


@pytest.mark.parametrize(("said", "overrides", "_clean"), CASES)
def test_a_known_mistake_is_warned_of(clean_file, said, overrides, _clean):
    (warning,) = warnings(clean_file, *overrides)
    assert said in warning
    assert warning.endswith(".")


@pytest.mark.parametrize(("said", "_overrides", "clean"), CASES)
def test_its_neighbour_is_not(clean_file, said, _overrides, clean):
    assert not [warning for warning in warnings(clean_file, *clean) if said in warning]


@pytest.mark.parametrize("norm", ["ln", "none"])
def test_batches_are_nobodys_business_without_batch_statistics(clean_file, norm):
    block = ["model.block=linear -> norm -> relu", f"model.norm={norm}"]
    assert warnings(clean_file, *block, f"data.batch_size={SMALL_BATCH - 1}") == []


def test_a_placeholder_is_seen_through(clean_file):
    (warning,) = warnings(clean_file, "model.block=linear -> norm -> relu", "model.norm=bn(momentum=0.99)")
    assert "bn(momentum=0.99)" in warning
    assert "Keras' 0.99 is 0.01 here" in warning


def test_mirrored_digits_are_warned_of_and_mirrored_photos_are_not(make_config):
    def said(dataset, augment):
        config = make_config(data={"dataset": dataset, "augment": augment, "synthetic": None})
        return [warning for warning in warnings_in(config) if "mirror" in warning]

    assert len(said("kmnist", "crop_flip")) == 1
    assert said("kmnist", "shift") == said("cifar10", "crop_flip") == []


def test_mistakes_are_all_told(clean_file):
    found = warnings(clean_file, "model.bias=true", "data.val_fraction=0.01")
    assert len(found) == 2


def test_layer_norm_over_one_feature_is_refused(clean_file):
    narrow = ["model.hidden=[64, 1]"]
    refuse(load_config(clean_file, narrow))
    for block in (["model.block=linear -> ln -> relu"], ["model.block=linear -> norm -> relu", "model.norm=ln"]):
        refuse(load_config(clean_file, block))
        with pytest.raises(ConfigError, match=r"model.hidden \[64, 1\].*width of at least 2"):
            refuse(load_config(clean_file, [*narrow, *block]))


# Where one block meets the next


def test_dropout_at_the_end_of_a_block_stands_before_the_next_layers_norm(make_config):
    def said(*hidden):
        config = make_config(
            model={"block": "linear -> bn -> relu -> dropout(p=0.1)", **NO_FILLING, "hidden": list(hidden)}
        )
        return [warning for warning in warnings_in(config) if "dropout" in warning]

    assert "of the next layer" in said(8, 8)[0]
    assert said(8) == []


def test_a_forced_bias_meets_the_norm_of_the_next_layer(make_config):
    def said(*hidden):
        model = {"block": "bn -> relu -> linear", **NO_FILLING, "hidden": list(hidden), "bias": True}
        config = make_config(model=model)
        return [warning for warning in warnings_in(config) if "has no effect" in warning]

    assert len(said(8, 8)) == 1
    assert said(8) == []


NO_FILLING = {"norm": None, "activation": None}


def test_ln_before_a_layer_of_width_1_sees_the_wider_one(make_config):
    def config_of(*hidden):
        return make_config(model={"block": "ln -> linear -> relu", **NO_FILLING, "hidden": list(hidden)})

    refuse(config_of(8, 1))
    with pytest.raises(ConfigError, match="block 3 would see 1 feature"):
        refuse(config_of(8, 1, 8))


def test_a_forced_bias_has_an_effect_exactly_where_it_is_not_cancelled(clean_file):
    for name, kind in ITEMS.items():
        if kind.role == "norm":
            said = warnings(clean_file, f"model.block=linear -> {name} -> tanh", "model.bias=true")
            assert any("has no effect" in warning for warning in said) is kind.cancels_bias, name


# What does not fit, or would be taken of a single value


@pytest.mark.parametrize(
    ("item", "shape", "said"),
    [
        ("gn(groups=8)", (12,), "have 8 groups, which do not divide 12 channels; expected groups=1, 2, 3, 4 or 6"),
        ("gn(groups=12)", (12,), "see 1 value in each of its 12 groups and give beta"),
        ("gn(groups=24)", (12,), "have 24 groups, which do not divide 12 channels"),
        ("gn(groups=1)", (1,), "see 1 value in each of its 1 groups and give beta, .*expected more than one value"),
        ("gn(groups=6)", (6, 1, 1), "see 1 value in each"),
        ("gn(groups=4)", (6, 3, 3), "do not divide 6 channels; expected groups=1, 2, 3 or 6$"),
        ("evonorm_s0(groups=7)", (7,), "divide by the root of eps alone; expected groups=1$"),
        ("evonorm_s0(groups=3)", (8, 2, 2), "do not divide 8 channels"),
        ("in", (12,), "see 1 value per channel"),
        ("in", (12, 1, 1), "see 1 value per channel"),
        ("ln", (1, 1, 1), "see 1 feature and give beta"),
        ("ln_c", (1, 8, 8), "see 1 feature and give beta"),
        ("rms", (1,), "see 1 feature and give gamma times its sign"),
        ("linear(weight_std=true)", (1,), "standardize 1 weight per unit"),
    ],
)
def test_an_item_that_does_not_fit_is_refused_with_the_numbers(item, shape, said):
    placed = Placed("stage 1", parse_item(item), shape)
    with pytest.raises(ConfigError, match=rf"^model.stages \[7\]: the \w+ of stage 1 would .*{said}"):
        refuse_degenerate_items("model.stages [7]", [placed])


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
        ("linear(weight_norm=true)", (1,)),
        *((name, (1,)) for name in ("bn", "ghost_bn", "batch_renorm", "noisy_bn", "vn", "frn", "evonorm_b0", "dyt")),
    ],
)
def test_its_neighbour_fits(item, shape):
    refuse_degenerate_items("model.hidden [7]", [Placed("block 1", parse_item(item), shape)])


def test_every_block_of_an_mlp_is_looked_at(make_config):
    def config_of(*hidden):
        return make_config(model={"block": "linear -> gn(groups=4) -> relu", **NO_FILLING, "hidden": list(hidden)})

    refuse(config_of(8, 12))
    with pytest.raises(ConfigError, match=r"model.hidden \[8, 10\]: the gn of block 2 would have 4 groups"):
        refuse(config_of(8, 10))
