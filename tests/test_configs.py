"""The configs that come with bnexp."""

from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.loading import load_config

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml")) + sorted((ROOT / "configs" / "demo").glob("*.yaml"))


SHOWN = {
    "cnn_in_pooled": "sees beta and nothing of the image",
    "cnn_ln": "the arm differs in more than the norm",
    "resnet_ln": "the arm differs in more than the norm",  # in torch's form; resnet_ln_channel has the papers'
}
"""The configs that show a mistake or a difference, and the warning that says so."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_good_and_gives_no_warning(path: Path) -> None:
    config = load_config(path)
    found = list(draw(config, Path("unused")).warnings)
    if path.stem in SHOWN:
        assert SHOWN[path.stem] in found.pop()
    assert found == []
    assert config.name == path.stem
    assert path.read_text().startswith("# ")


NORM, PLACE = {"model.norm"}, {"model.block"}
ARMS: dict[str, dict[str, set[str]]] = {
    "mnist_mlp_bn": {"mnist_mlp_none": NORM, "mnist_mlp_ln": NORM, "mnist_mlp_bn_after": PLACE},
    "mnist_sigmoid_bn": {"mnist_sigmoid_none": NORM},
    "cnn_bn": {"cnn_none": NORM, "cnn_ln": NORM, "cnn_bn_after": PLACE},
    "vgg_bn": {"vgg_none": NORM},
    "demo/bn": {"demo/none": NORM, "demo/ln": NORM},
    "resnet_bn": {
        "resnet_gn": NORM,
        "resnet_ln": NORM,
        "resnet_preact_bn": PLACE,
        "resnet_peri_ln": {*NORM, *PLACE},
        "resnet_ln_channel": NORM,
        "resnet_none": {*NORM, "optimizer.lr"},  # at the lr of resnet_bn it diverges
        "resnet_nf": {*NORM, *PLACE, "model.skip_gain"},  # weights are normalized in the block; branches start at 0
    },
}
"""What the arms of a comparison change against the one with bn: normalization, but for the exceptions that say why."""


@pytest.mark.parametrize("base", ARMS)
def test_the_arms_of_a_comparison_differ_in_normalization_only(base: str) -> None:
    bn = flat(base)
    for name, expected in ARMS[base].items():
        arm = flat(name)
        assert {key for key in bn.keys() | arm.keys() if bn.get(key) != arm.get(key)} - {"name"} == expected, name


def test_every_config_with_a_base_is_an_arm() -> None:
    below = ROOT / "configs"
    with_base = {str(path.relative_to(below).with_suffix("")) for path in CONFIGS if "\nbase: " in path.read_text()}
    assert with_base - {"vgg_bn", "demo/bn"} == {name for arms in ARMS.values() for name in arms}  # another network


def flat(name: str) -> dict[str, Any]:
    """Return the values of a config by their full key, such as `model.norm`."""
    values: dict[str, Any] = {}
    for section, content in load_config(ROOT / "configs" / f"{name}.yaml").model_dump().items():
        keys = content if isinstance(content, dict) else {"": content}
        values |= {f"{section}.{key}".rstrip("."): value for key, value in keys.items()}
    return values
