"""Plots of what probes measured, held against a plain reading of metrics.jsonl."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.over_seeds import value_axis
from bnexp.analysis.probe_figures import heat_map, input_of_last_activation, landscape, percentiles
from bnexp.document.plots import Axis
from bnexp.errors import ConfigError
from bnexp.runs.run import Run, read_run

STEPS = (1, 10, 100)


def looked(seed: int, norm: str, step: int) -> dict[str, Any]:
    """Return a row as the probes write it, of a network linear -> norm -> relu."""
    size = (seed + 1) * step
    items = ["block1.linear", *([f"block1.{norm}"] if norm != "none" else []), "block1.relu", "head"]
    row: dict[str, Any] = {"step": step, "epoch": step / 10, "gradient_norm/total": 9.0}
    row |= {f"gradient_norm/{item}": float(size * place) for place, item in enumerate(items, 1) if "relu" not in item}
    row |= {f"gradient_to_weight/{item}": 1.0 for item in items if item.endswith(("linear", "head"))}
    row |= {f"activation_p{p}/{item}": (p - 50) * size / 10 for item in items for p in (15, 50, 85)}
    edges = {"landscape_loss": 1.0, "gradient_distance_relative": 0.5}
    row |= {f"{name}_min/path": value / size for name, value in edges.items()}
    row |= {f"{name}_max/path": value * size for name, value in edges.items()}
    return row | {"effective_smoothness/path": float(size)}


@pytest.fixture
def runs(tmp_path: Path, write_run: Callable[..., Path]) -> list[Run]:
    """Return two seeds of bn, and of none one that measured and one that did not."""
    folders = []
    for name, seed in (("bn", 0), ("bn", 1), ("none", 0), ("none", 1)):
        config = {"name": name, "seed": seed, "model.norm": name, "model.block": "linear -> norm -> relu"}
        folder = write_run(tmp_path / name / f"seed{seed}", config=config)
        rows = [] if (name, seed) == ("none", 1) else [looked(seed, name, step) for step in STEPS]
        with (folder / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(folder)
    return [read_run(folder) for folder in folders]


def test_a_heat_map_has_the_mean_of_each_layer_and_step(runs: list[Run]) -> None:
    plot = heat_map(runs)
    bn, none = plot.grids
    assert (bn.title, list(bn.columns), list(bn.rows)) == ("bn", list(STEPS), ["block1.linear", "head"])
    written = [[json.loads(line) for line in run.metrics_path.read_text().splitlines()] for run in runs[:2]]
    for row, layer in zip(bn.values, bn.rows, strict=True):
        of = [[r[f"gradient_norm/{layer}"] for r in rows if f"gradient_norm/{layer}" in r] for rows in written]
        assert row == [(one + other) / 2 for one, other in zip(*of, strict=True)]
    assert none.values[0] == [1.0, 10.0, 100.0]
    assert plot.value == Axis("gradient norm", log=True)
    assert "the mean of 1 to 2 seeds" in plot.caption
    assert heat_map(runs, "gradient_to_weight").grids[0].values == [[1.0] * 3] * 2


def test_a_heat_map_of_many_looks_has_sixty_columns(runs: list[Run]) -> None:
    with runs[2].metrics_path.open("a") as file:
        file.write("".join(json.dumps(looked(0, "none", step)) + "\n" for step in range(101, 1000)))
    (grid,) = heat_map(runs[2:]).grids
    assert 50 <= len(grid.columns) <= 61
    assert (grid.columns[0], grid.columns[-1]) == (1, 999)
    assert grid.values[0] == [float(step) for step in grid.columns]


def test_percentiles_are_of_what_the_last_activation_takes_in(runs: list[Run]) -> None:
    plot = percentiles(runs)
    bn, none = (panel.series[panel.title] for panel in plot.panels)
    # seed 0 has (p - 50) step / 10 and seed 1 twice that: 1.5 times on average
    assert bn.low == pytest.approx([-35 / 10 * 1.5 * step for step in STEPS])
    assert bn.y == [0, 0, 0]
    assert bn.high == pytest.approx([35 / 10 * 1.5 * step for step in STEPS])
    assert none.high == pytest.approx([3.5 * step for step in STEPS])
    assert "(block1.bn, block1.linear)" in plot.caption
    chosen = percentiles(runs, "activation_p50/block1.bn")
    assert [panel.title for panel in chosen.panels] == ["bn"]
    assert "none: 2 of 2 runs logged no percentiles of block1.bn" in chosen.notes


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["block1.linear", "block1.bn", "block1.sigmoid", "head"], "block1.bn"),
        (["block1.linear", "block1.relu", "block1.bn", "head"], "block1.linear"),
        (["block1.conv", "block1.relu", "block1.conv2", "block1.relu2", "head"], "block1.conv2"),
        (["block1.linear", "head"], "block1.linear"),
        ([], None),
    ],
)
def test_the_input_of_the_last_activation(items: list[str], expected: str | None) -> None:
    assert input_of_last_activation(items) == expected


def test_an_activation_that_bnexp_does_not_have_is_one_where_it_was_recorded() -> None:
    items = ["block1.linear", "block1.mish", "head"]
    assert input_of_last_activation(items) == "block1.mish"
    assert input_of_last_activation(items, {"mish"}) == "block1.linear"


def test_landscapes_are_ranges_along_the_gradient(runs: list[Run]) -> None:
    plot = landscape(runs)
    loss, distance, smoothness = plot.panels
    assert loss.series["none"].low == [1 / step for step in STEPS]
    assert loss.series["none"].high == list(map(float, STEPS))
    assert loss.series["bn"].high == pytest.approx([1.5 * step for step in STEPS])
    assert distance.series["bn"].low == pytest.approx([0.375 / step for step in STEPS])
    assert smoothness.series["bn"].y == pytest.approx([1.5 * step for step in STEPS])
    assert [panel.form for panel in plot.panels] == ["range", "range", "line"]
    assert loss.y.log


@pytest.mark.parametrize("make", [heat_map, percentiles, landscape])
def test_a_probe_that_did_not_look_is_named_with_its_line(make: Callable[..., object], runs: list[Run]) -> None:
    with pytest.raises(ConfigError) as found:
        make(runs[3:])
    assert "train with --set probes." in str(found.value)


def test_an_unknown_item_is_refused(runs: list[Run]) -> None:
    with pytest.raises(ConfigError, match=r'block1.b: no such item. Did you mean "block1.bn"\?'):
        percentiles(runs, "block1.b")
    with pytest.raises(ConfigError, match="a heat map shows every item, not head alone; expected gradient_norm"):
        heat_map(runs, "gradient_norm/head")


def test_an_axis_ends_before_values_that_would_press_the_others_flat() -> None:
    usual = [float(value) for value in range(1, 21)]
    axis, notes = value_axis(Axis("loss"), [*usual, 1e20])
    assert (axis.ends, axis.log) == ((1.0, 20.0), False)
    assert notes == ["loss: 1 value far from the rest, up to 1e+20: beyond the end of the axis"]
    assert value_axis(Axis("loss"), [*usual, 30.0, math.nan]) == (Axis("loss"), [])
    assert value_axis(Axis("loss"), [1e-3, 0.1, 5.0])[0].log
    assert not value_axis(Axis("accuracy", percent=True), [1e-3, 0.1, 1.0])[0].log
    assert not value_axis(Axis("mean"), [-1e-3, 0.1, 1.0])[0].log
