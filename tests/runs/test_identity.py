"""Which keys of a config count for a run, for an arm and for its figures."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional

from bnexp.config.layout import Layout, layout_of
from bnexp.config.model import ModelConfig
from bnexp.config.schema import Config, PlainInit
from bnexp.models.build import build_model
from bnexp.runs.identity import Question, first_difference, identity_of, network_of

MakeConfig = Callable[..., Config]


def test_when_checkpoints_are_written_is_no_difference(make_config: MakeConfig) -> None:
    assert first_difference(make_config(), make_config()) is None
    assert first_difference(make_config(), make_config(checkpoints={"every_epochs": 5})) is None


@pytest.mark.parametrize("question", ["figures", "arm", "run"])
def test_how_a_gpu_is_asked_for_a_step_is_no_difference(make_config: MakeConfig, question: Question) -> None:
    """Nor for a run of before, whose config says nothing of it."""
    before = {"training.accumulate": 2, "optimizer.lr": 0.1}
    assert identity_of({"training.graph": "on", **before}, question) == identity_of(before, question)
    assert before.items() <= identity_of(before, question).items()
    assert first_difference(make_config(), make_config(training={"graph": "off"})) is None


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


MAPS = {"arch": "cnn", "block": "conv -> norm -> act", "norm": "bn", "activation": "relu", "stages": [4, 8]}
VECTORS = {"arch": "mlp", "block": "linear -> norm -> act", "norm": "bn", "activation": "relu", "hidden": [6, 6]}
RESIDUAL = {"arch": "resnet", "block": "conv -> norm -> act -> conv -> norm -> add -> act", "shortcut": "projection"}
MAPS_AND_VECTORS = {"maps": MAPS, "vectors": VECTORS}
SHAPE, CLASSES, BATCH = (1, 8, 8), 3, 16

SAME_FUNCTIONS = [
    ("vectors", "bn", "ghost_bn(size=16)"),
    ("maps", "bn(momentum=0.3)", "ghost_bn(size=16, momentum=0.3)"),
    ("maps", "bn", "sync_bn"),
    ("maps", "gn(groups=1)", "ln(affine=channel)"),
    ("maps", "gn(groups=1, affine=false)", "ln(affine=false)"),
    ("vectors", "ln", "gn(groups=1)"),
    ("vectors", "ln", "ln(affine=channel)"),
    ("vectors", "ln", "ln_c"),
]
OTHER_FUNCTIONS = [
    ("vectors", "bn", "ghost_bn(size=8)"),
    ("maps", "bn", "bn(momentum=0.2)"),
    ("maps", "bn", "bn(eps=0.001)"),
    ("maps", "bn", "bn(affine=false)"),
    ("maps", "bn", "bn(frozen=affine)"),
    ("maps", "bn", "batch_renorm"),
    ("maps", "bn", "noisy_bn"),
    ("maps", "bn", "vn"),
    ("maps", "ln", "ln(affine=channel)"),
    ("maps", "ln(affine=channel)", "ln_c"),
    ("maps", "gn(groups=1)", "gn(groups=2)"),
    ("maps", "gn(groups=4)", "in"),
    ("vectors", "ln", "rms"),
]


def layout(model: dict[str, Any]) -> Layout:
    return layout_of(TypeAdapter(ModelConfig).validate_python(model), SHAPE, CLASSES)


def digests(model: dict[str, Any]) -> dict[str, str]:
    return network_of(layout(model), BATCH)


@pytest.mark.parametrize(("family", "norm", "other"), SAME_FUNCTIONS)
def test_norms_with_two_names_are_one_function(family: str, norm: str, other: str) -> None:
    model = MAPS_AND_VECTORS[family]
    one, two = (digests({**model, "norm": name}) for name in (norm, other))
    assert one["function"] == two["function"]
    assert one["layout"] != two["layout"]
    for found, expected in zip(*(trained({**model, "norm": name}) for name in (norm, other)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_a_group_per_channel_is_in_whose_bias_cancels() -> None:
    models = [{**MAPS, "stages": [8, 8], "norm": norm} for norm in ("in", "gn(groups=8)")]
    one, two = (digests(model) for model in models)
    assert one["function"] == two["function"]
    for found, expected in zip(*(trained(model)[:2] for model in models), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("family", "norm", "other"), OTHER_FUNCTIONS)
def test_norms_that_differ_stay_apart(family: str, norm: str, other: str) -> None:
    model = MAPS_AND_VECTORS[family]
    one, two = (digests({**model, "norm": name}) for name in (norm, other))
    assert one["function"] != two["function"]
    assert one["layout"] != two["layout"]


@pytest.mark.parametrize(
    "change",
    [
        {"bias": False},
        {"norm": "bn(momentum=0.1)"},
        {"block": "conv -> bn -> act", "norm": None},
        {"block": "conv -> bn -> relu", "norm": None, "activation": None},
        {"stages": [[4], [8]]},
    ],
)
def test_a_network_written_in_another_way_is_the_same(change: dict[str, Any]) -> None:
    assert digests({**MAPS, **change}) == digests(MAPS)


@pytest.mark.parametrize(
    "change", [{"bias": True}, {"stages": [4, 4]}, {"pool": "avg"}, {"head": "flatten"}, {"activation": "gelu"}]
)
def test_another_network_is_another_function(change: dict[str, Any]) -> None:
    one, two = digests({**MAPS, **change}), digests(MAPS)
    assert not set(one.values()) & set(two.values())


@pytest.mark.parametrize("change", [{"shortcut": "pad"}, {"zero_gamma": True}, {"skip_gain": True}, {"width": 8}])
def test_another_shortcut_or_start_is_another_function(change: dict[str, Any]) -> None:
    model = {**RESIDUAL, "norm": "bn", "activation": "relu", "stages": [1, 1], "width": 4}
    one, two = digests({**model, **change}), digests(model)
    assert not set(one.values()) & set(two.values())


def trained(model: dict[str, Any]) -> list[torch.Tensor]:
    """Return logits in evaluation and in training after three steps in float64."""
    network = build_model(layout(model), PlainInit(scheme="torch"), 0).double()
    x = torch.randn(BATCH, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.arange(BATCH) % CLASSES
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return [network.eval()(x), network.train()(x)]


@pytest.mark.parametrize("question", ["figures", "arm", "run"])
def test_a_key_that_came_later_is_its_default_where_it_is_absent(question: Question) -> None:
    """Stored configs leave out what is null, and those of 0.1.0 know neither `accumulate` nor `ema`."""
    old = {"training.epochs": 4, "optimizer.lr": 0.1}
    later = {"training.accumulate": 1, "training.deterministic": True, "training.memory_format": "auto"}
    later["training.label_smoothing"] = 0.0
    now = {**old, **later, "training.ema": None, "training.grad_clip": None}
    assert identity_of(old, question) == identity_of(now, question)
    changes = {"ema": 0.9, "deterministic": False, "grad_clip": 1.0, "label_smoothing": 0.1}
    for change in ({f"training.{key}": value} for key, value in changes.items()):
        assert identity_of(old, question) != identity_of({**now, **change}, question)


def test_what_moves_no_compared_figure_makes_no_other_arm() -> None:
    plain = {"training.epochs": 2, "training.accumulate": 1, "training.deterministic": True}
    plain["training.label_smoothing"] = 0.0
    unseen = {"data.eval_batch_size": 64, "data.download": False, "training.log_every": 2}
    unseen["training.memory_format"] = "contiguous"
    assert identity_of({**plain, **unseen}, "arm") == plain
    figures = identity_of({**plain, **unseen}, "figures")
    assert set(figures) == {*plain, *unseen} - {"data.download"}


@pytest.mark.parametrize(("steps", "steps_per_epoch", "epochs"), [(12, 6, 2), (13, 6, None), (12, None, None)])
def test_steps_of_whole_epochs_are_epochs(steps: int, steps_per_epoch: int | None, epochs: int | None) -> None:
    counted = identity_of({"training.steps": steps}, "arm", steps_per_epoch)
    assert counted.get("training.epochs") == epochs
    assert counted.get("training.steps") == (None if epochs else steps)
