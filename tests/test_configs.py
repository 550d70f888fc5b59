"""The configs that come with bnexp."""

from pathlib import Path

import pytest

from bnexp.config.degenerate import refuse_degenerate
from bnexp.config.lint import warnings_of
from bnexp.config.loading import load_config
from bnexp.config.plan import make_plan
from bnexp.sources.info import dataset_info

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_good_and_gives_no_warning(path: Path) -> None:
    config = load_config(path)
    info = dataset_info(config.data, Path("unused"))
    refuse_degenerate(config, info)
    assert warnings_of(config, make_plan(config, info)) == []
    assert config.name == path.stem
    assert path.read_text().startswith("# ")


def test_the_arms_of_a_comparison_differ_in_normalization_only() -> None:
    bn = load_config(ROOT / "configs" / "mnist_mlp_bn.yaml").model_dump()
    for name in ("none", "ln", "bn_after"):
        other = load_config(ROOT / "configs" / f"mnist_mlp_{name}.yaml").model_dump()
        differing = {key for key in bn if bn[key] != other[key]} - {"name"}
        assert differing == {"model"}
        assert {key for key in bn["model"] if bn["model"][key] != other["model"][key]} <= {"norm", "block"}
