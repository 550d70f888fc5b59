"""The layout of the custom charts: which are shown, and what each of them draws."""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.probes.registry import PROBES
from bnexp.session.board import (
    CHARTS,
    TensorBoardWriter,
    charts_for,
    charts_summary,
    end_summary,
    hyperparameter_summary,
)
from bnexp.session.life import start
from bnexp.session.terms import Terms

_OF_LAYER = r"(.*\.)?(linear|conv|head)"

EXPECTED = {
    "training": {
        "loss": r"loss/(train|val)$",
        "accuracy": r"accuracy/(train|val)$",
        "learning rate": r"learning_rate/",
    },
    "gradients": {
        "gradient norm of each layer": r"gradient_norm/" + _OF_LAYER,
        "gradient norm, first layer / last": r"gradient_ratio/",
        "gradient norm / weight norm": r"gradient_to_weight/",
        "gradient norm of the network": r"gradient_norm(_clipped)?/total$",
        "gradient norm of norms and activations": r"gradient_norm/(?!total$)(?!" + _OF_LAYER + ")",
    },
    "activations": {
        "activation std": r"activation_std/",
        "dead or saturated fraction": r"(dead|saturated)_fraction/",
        "dead channels": r"dead_channels/",
        "effective rank": r"effective_rank/",
        "activation mean": r"activation_mean/",
    },
    "updates": {
        "update ratio, log10": r"update_ratio/",
        "weight norm": r"weight_norm/",
        "effective learning rate": r"effective_lr/",
    },
    "norms": {
        "gamma, mean": r"gamma_mean/",
        "beta, mean": r"beta_mean/",
        "fraction of variances below eps": r"eps_dominates/",
    },
    "running statistics": {
        "distance of the mean, in batch std": r"running_mean_distance/",
        "distance of the std, in batch std": r"running_std_distance/",
    },
    "evaluation modes": {
        "loss": r"loss_by_mode/",
        "accuracy": r"accuracy_by_mode/",
    },
    "coupling of examples": {
        "spread of the logits, in their std": r"coupling_relative/",
        "predictions that flip": r"coupling_flip_rate/",
    },
    "covariate shift": {
        "shift of the inputs, in std": r"input_shift/",
        "Wasserstein distance of the inputs, in std": r"input_wasserstein_relative/",
        "shift of the gradient, relative": r"gradient_shift_relative/",
        "cosine of the gradients": r"gradient_cosine/",
    },
    "landscape along the gradient": {
        "loss, smallest and largest": r"landscape_loss_(min|max)/",
        "distance of the gradient, relative, smallest and largest": r"gradient_distance_relative_(min|max)/",
        "effective smoothness": r"effective_smoothness/",
    },
    "scale invariance": {
        "change of the logits": r"invariance_change/",
        "gradient, scaled back": r"invariance_gradient/",
    },
    "cost": {
        "milliseconds": r"cost_ms/",
        "share": r"cost_share/",
    },
}


def shown(folder: Path) -> dict[str, list[str]]:
    """Return categories and charts as TensorBoard itself hands them to the page, merged over the runs in a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a copy of html5lib inside TensorBoard
        from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
    runs = EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    context = TBContext(data_provider=MultiplexerDataProvider(runs, str(folder)), multiplexer=runs)
    layout = json.loads(CustomScalarsPlugin(context).layout_impl(RequestContext(), "") or "{}")
    return {
        category["title"]: [chart["title"] for chart in category["chart"]] for category in layout.get("category", [])
    }


def drawn(tag: str) -> set[tuple[str, str]]:
    return {
        (category, title)
        for category, charts in CHARTS.items()
        for title, pattern in charts.items()
        if re.match(pattern, tag)
    }


@pytest.mark.parametrize(
    ("tag", "chart"),
    [
        ("loss/train", ("training", "loss")),
        ("loss/val", ("training", "loss")),
        ("gradient_norm/block1.linear", ("gradients", "gradient norm of each layer")),
        ("gradient_norm/stage2.block1.shortcut.conv", ("gradients", "gradient norm of each layer")),
        ("gradient_norm/head", ("gradients", "gradient norm of each layer")),
        ("gradient_norm/block1.bn2", ("gradients", "gradient norm of norms and activations")),
        ("gradient_norm/total", ("gradients", "gradient norm of the network")),
        ("gradient_norm_clipped/total", ("gradients", "gradient norm of the network")),
        ("dead_fraction/block1.relu", ("activations", "dead or saturated fraction")),
        ("saturated_fraction/block1.sigmoid", ("activations", "dead or saturated fraction")),
        ("loss_by_mode/single", ("evaluation modes", "loss")),
        ("landscape_loss_max/path", ("landscape along the gradient", "loss, smallest and largest")),
        ("coupling_flip_rate/others", ("coupling of examples", "predictions that flip")),
    ],
)
def test_a_tag_is_drawn_in_one_chart(tag: str, chart: tuple[str, str]) -> None:
    assert drawn(tag) == {chart}


def test_the_page_has_the_charts_of_training_and_of_all_probes_in_their_order() -> None:
    assert CHARTS == EXPECTED
    assert [list(charts) for charts in CHARTS.values()] == [list(charts) for charts in EXPECTED.values()]
    assert list(CHARTS) == list(EXPECTED)


def test_no_two_probes_share_a_category() -> None:
    categories = [category for probe in PROBES.values() for category in probe.charts]
    assert sorted(categories) == sorted({*CHARTS} - {"training"})


def test_scores_on_the_test_set_are_single_points_and_get_no_chart() -> None:
    assert not drawn("loss/test") | drawn("accuracy/test_best")


def test_only_charts_with_something_to_draw_are_shown_and_in_order() -> None:
    found = charts_for(["weight_norm/head", "loss/val", "epoch", "update_ratio/head", "no_such_quantity/head"])
    assert {category: list(charts) for category, charts in found.items()} == {
        "training": ["loss"],
        "updates": ["update ratio, log10", "weight norm"],
    }
    assert list(found) == ["training", "updates"]
    assert charts_for([]) == {}


def test_every_chart_has_something_to_draw_where_all_probes_look(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    cnn = {"arch": "cnn", "hidden": None, "stages": [[4]], "block": "conv -> norm -> act"}
    config = make_config(model=cnn, probes={name: {"every": 2} for name in PROBES})
    folder = start(draw(config, Path("data")), Terms(runs_dir=tmp_path, device="cpu")).folder
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert charts_for({tag for row in rows for tag in row}) == CHARTS
    assert shown(tmp_path) == {category: list(charts) for category, charts in CHARTS.items()}


def test_tensorboard_shows_a_chart_as_soon_as_its_tag_comes_up(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path / "run")
    writer.scalars(1, {"gradient_norm/total": 1.0})
    writer.scalars(2, {"gradient_norm/total": 1.0, "loss/train": 2.0})
    writer.scalars(3, {"loss/val": 2.0, "accuracy/val": 0.5})
    writer.close()
    assert shown(tmp_path) == {"training": ["loss", "accuracy"], "gradients": ["gradient norm of the network"]}


def test_the_layout_is_written_only_when_it_changes(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    for step in range(1, 30):
        writer.scalars(step, {"loss/train": 1.0, f"unknown/{step}": 1.0})
    writer.close()
    (events,) = tmp_path.iterdir()
    assert events.read_bytes().count(b"custom_scalars__config__") == 1


def test_a_writer_without_known_tags_has_no_layout(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path / "run")
    writer.scalars(1, {"unknown/a": 1.0})
    writer.close()
    assert shown(tmp_path) == {}


def test_the_page_of_charts_is_what_torch_writes() -> None:
    from torch.utils.tensorboard.summary import custom_scalars

    theirs = {
        category: {title: ("Multiline", [tag]) for title, tag in charts.items()} for category, charts in CHARTS.items()
    }
    assert charts_summary(CHARTS) == custom_scalars(theirs)


def test_the_messages_of_the_hparams_page_are_what_its_plugin_writes() -> None:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    started = hyperparameter_summary(
        {"optimizer.lr": 0.1, "model.norm": "bn", "a.b": True}, ["accuracy/val"], ["model.norm"]
    )
    values = [*started.value, *end_summary(diverged=True).value]
    tags = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)
    assert [value.tag for value in values] == list(tags)
    for value in values:
        content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
        assert value.metadata == metadata.create_summary_metadata(content)
        assert value.tensor == metadata.NULL_TENSOR
