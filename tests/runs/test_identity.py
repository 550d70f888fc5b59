"""Which keys of a config count for a run, for an arm and for its figures."""

from collections.abc import Callable

import pytest

from bnexp.config.schema import Config
from bnexp.runs.identity import Question, first_difference, identity_of

MakeConfig = Callable[..., Config]


def test_when_checkpoints_are_written_is_no_difference(make_config: MakeConfig) -> None:
    assert first_difference(make_config(), make_config()) is None
    assert first_difference(make_config(), make_config(checkpoints={"every_epochs": 5})) is None


@pytest.mark.parametrize(
    ("change", "difference"), [({"seed": 3}, ("seed", 0, 3)), ({"name": "other"}, ("name", "small", "other"))]
)
def test_the_key_and_what_each_config_says_are_told(
    make_config: MakeConfig, change: dict[str, object], difference: tuple[str, object, object]
) -> None:
    assert first_difference(make_config(), make_config(**change)) == difference


def test_a_key_that_only_one_has_is_a_difference(make_config: MakeConfig) -> None:
    probed = make_config(probes={"gradients": {"every": 3}})
    difference = first_difference(make_config(), probed)
    assert difference is not None
    assert difference[0].startswith("probes.gradients")


@pytest.mark.parametrize(
    ("question", "counted"),
    [
        ("run", ["name", "seed", "optimizer.lr", "probes.cost.at", "checkpointing"]),
        ("arm", ["name", "optimizer.lr", "checkpointing"]),
        ("figures", ["seed", "optimizer.lr", "checkpointing"]),
    ],
)
def test_each_question_has_its_keys(question: Question, counted: list[str]) -> None:
    keys = ["name", "seed", "optimizer.lr", "probes.cost.at", "checkpoints.every_epochs", "checkpointing"]
    config = {key: f"value of {key}" for key in keys}
    assert identity_of(config, question) == {key: config[key] for key in counted}
    assert identity_of({"probes": None, "checkpoints": {}, "seed": 1}, "arm") == {}
