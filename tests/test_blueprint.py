"""A blueprint holds what follows from a config, and can be handed to another process."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.blueprint import draw
from bnexp.config.layout import layout_of
from bnexp.config.lint import warnings_of
from bnexp.config.plan import make_plan
from bnexp.config.schema import Config
from bnexp.data.sources.facts import dataset_info
from bnexp.errors import ConfigError

NOWHERE = Path("nowhere")
MakeConfig = Callable[..., Config]


def test_a_blueprint_holds_the_facts_the_plan_the_layout_and_the_warnings(make_config: MakeConfig) -> None:
    config = make_config(model={"norm": "bn(momentum=0.9)"})
    blueprint = draw(config, NOWHERE)
    info = dataset_info(config.data, NOWHERE)
    plan = make_plan(config, info)
    assert (blueprint.config, blueprint.info, blueprint.plan) == (config, info, plan)
    assert blueprint.layout == layout_of(config.model, info.shape, info.classes)
    assert blueprint.warnings == (*info.warnings, *warnings_of(config, plan, blueprint.layout))
    assert "bn(momentum=0.9)" in blueprint.warnings[0]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"batch_size": 1000}}, "data.batch_size 1000 is larger than the training set"),
        ({"model": {"norm": "gn(groups=5)"}}, "5 groups, which do not divide 12 channels"),
        ({"model": {"hidden": [10**5] * 30}}, "the weights of this network would take"),
        ({"data": {"dataset": "npz", "path": "own.npz", "synthetic": None}}, "own.npz"),
    ],
)
def test_what_cannot_be_is_refused_while_drawing(
    make_config: MakeConfig, sections: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(make_config(**sections), NOWHERE)


def test_another_process_can_take_a_blueprint(make_config: MakeConfig) -> None:
    blueprint = draw(make_config(model={"block": "linear -> norm -> act -> dropout(p=0.1)"}), NOWHERE)
    assert pickle.loads(pickle.dumps(blueprint)) == blueprint  # noqa: S301  our own
