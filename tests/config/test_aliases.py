"""The names of other tools: read as ours where they mean one thing, never stored, never guessed."""

from typing import Any

import pytest

from bnexp.config import aliases
from bnexp.config.items import ACTIVATION_NAMES, ITEMS, NORM_NAMES
from bnexp.config.loading import check_values, dump_config
from bnexp.config.schema import Config
from bnexp.config.yaml_text import read_yaml
from bnexp.errors import ConfigError


def config(**sections: Any) -> Config:
    values: dict[str, Any] = {
        "name": "x",
        "data": {"dataset": "mnist5k"},
        "model": {"arch": "mlp", "hidden": [8], "block": "linear -> norm -> act", "norm": "bn", "activation": "relu"},
        "optimizer": {"name": "sgd"},
        "training": {"epochs": 1},
    }
    for section, changes in sections.items():
        values[section] = {**values.get(section, {}), **changes}
    return check_values(values, {}, "made")


def refusal(**sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(**sections)
    return str(caught.value)


NORMS = {
    "BatchNorm": "bn",
    "batch_norm": "bn",
    "BatchNorm1d": "bn",
    "batchnorm2d": "bn",
    "torch.nn.BatchNorm2d": "bn",
    "BatchNormalization": "bn",
    "Batch Normalisation": "bn",
    "BN": "bn",
    "batch_norm(epsilon=1e-3, affine=False)": "bn(eps=1e-3, affine=false)",
    "LayerNorm": "ln",
    "layer_norm": "ln",
    "LayerNorm(elementwise_affine=False)": "ln(affine=false)",
    "GroupNorm(num_groups=4)": "gn(groups=4)",
    "InstanceNorm2d": "in",
    "RMSNorm": "rms",
    "SyncBatchNorm": "sync_bn",
    "GhostBatchNorm(size=4)": "ghost_bn(size=4)",
    "batch-renorm": "batch_renorm",
    "FilterResponseNorm": "frn",
    "None": "none",
    "identity": "none",
    "no": "none",
    "Off": "none",
}


@pytest.mark.parametrize(("word", "ours"), NORMS.items())
def test_a_norm_goes_by_its_other_names(word: str, ours: str) -> None:
    assert config(model={"norm": word}) == config(model={"norm": ours})
    if ours != "none":
        in_block = config(model={"block": f"Linear -> {word} -> ReLU", "norm": None, "activation": None})
        assert in_block.model.block == f"linear -> {ours} -> relu"


def test_no_norm_may_be_false() -> None:
    assert config(model={"norm": False}).model.norm == "none"


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("ReLU", "relu"),
        ("LeakyReLU(negative_slope=0.2)", "leaky_relu(slope=0.2)"),
        ("nn.GELU", "gelu"),
        ("SiLU", "silu"),
        ("swish", "silu"),
        ("Tanh", "tanh"),
        ("None", "identity"),
        ("linear", "identity"),
    ],
)
def test_an_activation_goes_by_its_other_names(word: str, ours: str) -> None:
    assert config(model={"activation": word}).model.activation == ours


@pytest.mark.parametrize(
    ("section", "key", "word", "ours"),
    [
        ("optimizer", "name", "Adam", "adam"),
        ("optimizer", "name", "torch.optim.AdamW", "adamw"),
        ("optimizer", "name", "SGD", "sgd"),
        ("data", "dataset", "MNIST", "mnist"),
        ("data", "dataset", "Fashion-MNIST", "fashion_mnist"),
        ("data", "dataset", "CIFAR-10", "cifar10"),
        ("model", "arch", "MLP", "mlp"),
        ("schedule", "name", "CosineAnnealingLR", "cosine"),
        ("init", "scheme", "He", "kaiming"),
        ("init", "scheme", "Xavier", "xavier"),
    ],
)
def test_a_kind_goes_by_its_other_names(section: str, key: str, word: str, ours: str) -> None:
    assert getattr(getattr(config(**{section: {key: word}}), section), key) == ours


@pytest.mark.parametrize(
    "line",
    [
        "linear \u2192 norm \u2192 act",
        "linear => norm => act",
        "linear > norm > act",
        "linear --> norm \u2013> act",
        "Linear -> Norm -> Activation",
        "Dense->norm->act",
    ],
)
def test_arrows_as_keyboards_and_editors_make_them(line: str) -> None:
    read = config(model={"block": line}).model
    assert read.items == config().model.items
    assert set(read.block.replace(" ", "").split("->")) == {"linear", "norm", "act"}


def test_only_our_names_are_stored() -> None:
    read = config(
        model={"block": "Linear -> BatchNorm1d(epsilon=1e-3) \u2192 ReLU", "norm": None, "activation": None},
        optimizer={"name": "Adam"},
    )
    stored = dump_config(read)
    assert read_yaml(stored, "dump")[0]["model"]["block"] == "linear -> bn(eps=1e-3) -> relu"
    assert "name: adam" in stored


def test_a_block_in_our_names_stays_as_it_is_written() -> None:
    assert config(model={"block": "linear->norm  ->   act"}).model.block == "linear->norm  ->   act"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {"norm": "LocalResponseNorm"},
            'unknown norm "LocalResponseNorm". One of your own is registered by --plugin FILE.py. Known: none',
        ),
        ({"norm": "WeightNorm"}, "linear(weight_norm=true)"),
        ({"norm": "FrozenBatchNorm2d"}, "bn(frozen=both)"),
        ({"norm": None}, "model.norm: bn(eps=1e-3), or none for no norm"),
        (
            {"activation": "ELU"},
            'unknown activation "ELU". One of your own is registered by --plugin FILE.py. Known: relu',
        ),
        ({"block": "linear -> -> act"}, "item 2: nothing here, at an end or between two arrows"),
        ({"block": "linear, norm, act"}, "such as linear -> norm -> act"),
        ({"block": "linear | norm | act"}, "such as linear -> norm -> act"),
        ({"block": "linear - norm - act"}, "such as linear -> norm -> act"),
        ({"block": ["linear", "norm", "act"]}, 'expected one text, such as "linear -> norm -> act"'),
        ({"block": "linear -> norm -> Dropout(0.5)"}, "expected name=value, such as p=0.5"),
        ({"block": "Linear(784, 64) -> norm -> act"}, "its sizes follow from what is before it"),
        ({"block": "linear -> bn(momentum=0.1 -> act"}, "a parenthesis has no partner"),
        ({"block": "linear -> MaxPool2d -> norm"}, "Pooling is model.pool of a cnn or resnet"),
    ],
)
def test_what_is_no_name_of_ours_is_answered_with_its_cause(model: dict[str, Any], said: str) -> None:
    assert said in refusal(model=model)


def test_every_alias_leads_to_one_item_and_takes_no_name_of_another() -> None:
    others = {**aliases._NORMS, **aliases._OTHERS}
    assert set(aliases._NORMS) <= set(NORM_NAMES)
    assert set(others) <= {*ITEMS, "norm", "act"}
    spelled = [name for names in others.values() for name in names]
    assert len(spelled) == len(set(spelled))
    assert not set(spelled) & {aliases._plain(name) for name in (*ITEMS, *aliases._ABSENT)}
    for name in (*ITEMS, "norm", "act"):
        assert aliases.item_name(name) == name
        assert aliases.item_name(name.upper().replace("_", "-")) == name
    assert all(aliases.filling("activation", name) == name for name in ACTIVATION_NAMES)
