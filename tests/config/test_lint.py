from pathlib import Path

import pytest
import torch

from bnexp.config.block import parse_item
from bnexp.config.items import ITEMS
from bnexp.config.layout import Placed, layout_of
from bnexp.config.lint import SMALL_BATCH, warnings_of
from bnexp.config.loading import load_config
from bnexp.config.norm_lint import leaves_signs, values_of_statistic
from bnexp.config.plan import make_plan
from bnexp.data.sources.facts import dataset_info
from bnexp.norms.registry import build_norm


def warnings_in(config):
    info = dataset_info(config.data, Path("unused"))
    return warnings_of(config, make_plan(config, info), layout_of(config.model, info.shape, info.classes))


def warnings(path, *overrides):
    config = load_config(path, overrides)
    return warnings_in(config)


NO_FILLING = {"norm": None, "activation": None}
SMALL_CNN = ["model={arch: cnn, hidden: null, stages: [[8]], block: conv -> bn -> relu}"]
RESNET = "model={arch: resnet, hidden: null, depth: 8, block: null}"
MLP_PCA = "data.preprocess=pca_whiten"

# Each warning with the smallest change that calls for it, and the nearest change that does not.
CASES = [
    (
        "accumulate 4 with bn: a step of the optimizer is of 256 examples, the statistics still of 64, and the running "
        "statistics move 4 times a step",
        ["training.accumulate=4"],
        ["training.accumulate=4", "model.block=linear -> ln -> relu"],
    ),
    (
        "data.synthetic: 9 examples to test on for 10 classes, of which 1 have none there; fewer classes, or size 50",
        ["data={dataset: synthetic, synthetic: {classes: 10, size: 49}, batch_size: 9}"],
        ["data={dataset: synthetic, synthetic: {classes: 10, size: 50}, batch_size: 9}"],
    ),
    (
        "data.synthetic: 40 examples to train and validate on for 60 classes, of which 20 have none there",
        ["data={dataset: synthetic, synthetic: {classes: 60, size: 40}, batch_size: 9}"],
        ["data={dataset: synthetic, synthetic: {classes: 40, size: 40}, batch_size: 9}"],
    ),
    (
        "the momentum is PyTorch's",
        ["model.block=linear -> bn(momentum=0.9) -> relu"],
        ["model.block=linear -> bn(momentum=0.5) -> relu"],
    ),
    (
        "bn(frozen=statistics): the running mean stays at 0 and the variance at 1, where a run starts",
        ["model.block=linear -> bn(frozen=statistics) -> relu"],
        ["model.block=linear -> bn(frozen=none) -> relu"],
    ),
    (
        "it gives x / sqrt(1 + eps), nearly the identity",
        ["model.block=linear -> bn(frozen=both) -> relu"],
        ["model.block=linear -> bn(frozen=statistics) -> relu"],
    ),
    (
        "bn(frozen=affine): gamma stays 1 and beta 0, the same function as bn(affine=false)",
        ["model.block=linear -> bn(frozen=affine) -> relu"],
        ["model.block=linear -> bn(affine=false) -> relu"],
    ),
    (
        "init.scheme zeros: the head passes no gradient back",
        ["init={scheme: zeros}"],
        ["init={scheme: normal, std: 0.001}"],
    ),
    (
        "the bias of linear before bn has no effect",
        ["model.bias=true"],
        ["model.bias=true", "model.block=linear -> relu -> bn"],
    ),
    (
        "the second normalizes anew, and undoes what gamma, but for its signs, and beta of the first do.",
        ["model.block=linear -> dyt -> bn -> relu"],
        ["model.block=linear -> dyt -> ln -> relu"],
    ),
    (
        "the second normalizes anew, and undoes a factor that all of gamma share.",
        ["model.block=linear -> bn -> ln -> relu"],
        ["model.block=linear -> bn -> batch_renorm -> relu"],
    ),
    (
        "two normalizations in a row",
        ["model.block=linear -> ln -> bn -> relu"],
        ["model.block=linear -> ln -> relu -> bn"],
    ),
    (
        "two normalizations in a row",
        ["model.block=bn -> relu -> linear -> identity -> dropout(p=0.1) -> bn", "model.hidden=[8, 8]"],
        ["model.block=relu -> linear -> identity -> bn", "model.hidden=[8, 8]"],
    ),
    (
        "linear(weight_std=true) -> bn: bn undoes the scale and the gain",
        ["model.block=linear(weight_std=true) -> bn -> relu"],
        ["model.block=linear(weight_std=true) -> ln -> relu"],
    ),
    (
        "linear(weight_norm=true) -> vn: vn undoes the length",
        ["model.block=linear(weight_norm=true) -> vn -> relu", "model.bias=false"],
        ["model.block=linear(weight_norm=true) -> vn -> relu"],
    ),
    (
        "bn(eps=10): eps is added to the variance, so that one of 1 comes out as 0.091",
        ["model.block=linear -> bn(eps=10) -> relu"],
        ["model.block=linear -> bn(eps=0.01) -> relu"],
    ),
    (
        "ln on images learns 12,544 numbers",  # gamma and beta for 8 x 28 x 28 values
        [*SMALL_CNN, "model.block=conv -> ln -> relu"],
        [*SMALL_CNN, "model.block=conv -> ln(affine=channel) -> relu"],
    ),
    (
        "rms on images learns 6,272 numbers, one for each value of (C, H, W), where one for each channel would be 8",
        [*SMALL_CNN, "model.block=conv -> rms -> relu"],
        [*SMALL_CNN, "model.block=conv -> rms(affine=false) -> relu"],
    ),
    (
        "block1.gn: gn(groups=4) normalizes 2 values at a time",
        ["model.block=linear -> gn(groups=4) -> relu", "model.hidden=[8]"],
        ["model.block=linear -> gn(groups=2) -> relu", "model.hidden=[8]"],
    ),
    (
        "block2.ln: ln normalizes 2 values at a time",
        ["model.block=linear -> ln -> relu", "model.hidden=[8, 2]"],
        ["model.block=linear -> ln -> relu", "model.hidden=[8, 3]"],
    ),
    (
        "block1.ghost_bn: ghost_bn(size=2) normalizes 2 examples at a time",
        ["model.block=linear -> ghost_bn(size=2) -> relu", "data.batch_size=4"],
        ["model.block=linear -> ghost_bn(size=3) -> relu", "data.batch_size=6"],
    ),
    (
        "sees beta and nothing of the image",
        [*SMALL_CNN, "model.pool=avg", "model.block=conv -> relu -> in"],
        [*SMALL_CNN, "model.pool=avg", "model.block=conv -> in -> relu"],
    ),
    (
        "global average pooling after gn sees beta",
        [*SMALL_CNN, "model.pool=stride", "model.block=conv -> relu -> gn -> dropout(p=0.1)"],
        [*SMALL_CNN, "model.pool=max", "model.block=conv -> relu -> gn -> dropout(p=0.1)"],
    ),
    (
        "dropout before",
        ["model.block=linear -> dropout(p=0.1) -> bn -> relu"],
        ["model.block=linear -> dropout(p=0.1) -> ln -> relu"],
    ),
    (
        "no nonlinearity: without one, all layers together are one linear map.",
        ["model.block=linear"],
        ["model.block=linear -> relu"],
    ),
    (
        "no nonlinearity: without one, all layers together are one linear map at inference, where the statistics of bn",
        ["model.block=linear -> bn -> identity"],
        ["model.block=linear -> bn -> tanh"],
    ),
    (
        "no nonlinearity but that gn divides each group of channels of each example by its own standard deviation",
        ["model.block=linear -> gn"],
        ["model.block=linear -> evonorm_s0"],
    ),
    ("no nonlinearity", ["model.block=linear -> vn"], ["model.block=linear -> evonorm_b0"]),
    (
        "no nonlinearity but that rms divides each example by its own root mean square",
        ["model.block=linear -> rms"],
        ["model.block=linear -> dyt"],
    ),
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
        "tlu without frn",
        [RESNET, "model.block=conv -> ln -> add -> tlu"],
        [RESNET, "model.block=conv -> frn -> add -> tlu"],
    ),
    (
        "makes up; found relu",
        [RESNET, "model.block=conv -> frn -> add -> relu"],
        [RESNET, "model.block=conv -> frn -> add -> tlu"],
    ),
    (
        "frn undoes the length",
        [RESNET, "model.block=conv(weight_norm=true) -> frn -> add -> tlu", "model.bias=false"],
        ["model.block=linear(weight_norm=true) -> frn -> tlu", "model.bias=false"],
    ),
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
        "the weight of the new ghost batch; the running statistics remember about 1.1 ghost batches",
        ["model.block=linear -> ghost_bn(momentum=0.9) -> relu"],
        ["model.block=linear -> ghost_bn(momentum=0.5) -> relu"],
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
    found = [warning for warning in warnings(clean_file, *overrides) if said in warning]
    assert len(found) == 1
    assert found[0].endswith(".")


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


def test_of_two_values_a_norm_leaves_the_sign_of_their_difference():
    """Held against the modules themselves: every norm that is warned of, and only those, gives 1 and -1 for any two."""
    x = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name, kind in ITEMS.items():
        if kind.role != "norm" or name in ("in", "frn"):  # no form for vectors; a sign made smooth by its learned eps
            continue
        item = parse_item(f"{name}(groups=1)" if "groups" in kind.options.model_fields else name)
        batch = x.T if kind.over == "batch" else x  # two examples, or two features
        if item.options.ghost_size:
            item = parse_item("ghost_bn(size=2)")
        norm = build_norm(item, (batch.shape[1],)).double()
        if hasattr(norm, "noisy"):
            norm.noisy = False
        if kind.corrects:
            norm.num_batches_tracked += 10**6
        placed = Placed("norm", item, (batch.shape[1],), (batch.shape[1],))
        signs = torch.allclose(norm(batch).abs(), torch.ones_like(batch), atol=1e-2)
        assert leaves_signs(item, values_of_statistic(placed, len(batch))) is signs, name


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


def test_a_forced_bias_has_an_effect_exactly_where_it_is_not_cancelled(clean_file):
    for name, kind in ITEMS.items():
        if kind.role == "norm":
            said = warnings(clean_file, f"model.block=linear -> {name} -> tanh", "model.bias=true")
            assert any("has no effect" in warning for warning in said) is kind.cancels_bias, name


def test_exactly_the_norms_with_statistics_of_each_example_divide_it():
    norms = {name: kind for name, kind in ITEMS.items() if kind.role == "norm" and not kind.nonlinear}
    assert {name for name, kind in norms.items() if kind.divided} == {"ln", "ln_c", "gn", "in", "rms", "frn"}
    assert all(kind.batch_statistics for kind in norms.values() if not kind.divided)


@pytest.mark.parametrize(("norm", "activation"), [("frn", "tlu"), ("ln_c", "relu"), ("bn", "relu")])
@pytest.mark.parametrize("block", ["conv -> norm -> act -> conv -> norm -> add -> act", "norm -> act -> conv -> add"])
def test_a_sum_between_a_norm_and_its_activation_is_looked_past(make_config, norm, activation, block):
    model = {"arch": "resnet", "hidden": None, "depth": 8, "block": block, "norm": norm, "activation": activation}
    assert warnings_in(make_config(model=model, data={"synthetic": {"size": 2_000}}, training={"epochs": 20})) == []


# Running statistics


@pytest.mark.parametrize(("size", "batch_size"), [(64, 128), (48, 128), (32, 128), (128, 128)])
def test_ghost_batches_each_move_the_running_statistics(make_config, size, batch_size):
    """What is left of the initial values after n updates is (1 - momentum)^n."""
    updates = 10 * len(range(0, batch_size, size))
    for left, told in ((0.2, True), (0.04, False)):
        momentum = 1 - left ** (1 / updates)
        config = make_config(
            model={"norm": f"ghost_bn(size={size}, momentum={momentum})"},
            data={"batch_size": batch_size, "synthetic": {"size": 2_000}},
            training={"steps": 10, "epochs": None},
        )
        said = [warning for warning in warnings_in(config) if "running statistics still hold" in warning]
        assert [f"hold {left:.0%} of" in warning for warning in said] == [True] * told
