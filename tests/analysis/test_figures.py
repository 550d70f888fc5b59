"""Plots of what arms came to, held against a plain reading of metrics.jsonl and summary.json."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from bnexp.analysis.axis_figure import axis
from bnexp.analysis.figures import curves, paired
from bnexp.document.drawing import to_bytes
from bnexp.document.plots import Axis, Curves
from bnexp.errors import ConfigError
from bnexp.runs.run import Run, read_run

T = {3: 0.95 * math.sqrt(2 / (1 - 0.95**2)), 4: 3.18244630528}
"""The 97.5 % quantile of Student's t for n values: of 3 in closed form, of 4 from a table."""
FELL = {"divergence": {"step": 12, "epoch": 1.2, "layer": "head"}, "test": None}


@pytest.fixture
def runs_of(tmp_path: Path, write_run: Callable[..., Path]) -> Callable[..., list[Run]]:
    """Return a maker of runs: of each its name, its seed, its accuracies, and changes to config, meta and summary."""

    def make(*runs: tuple[str, int, Sequence[float | None], dict[str, Any]]) -> list[Run]:
        folders = []
        for name, seed, accuracies, change in runs:
            config = {"name": name, "seed": seed, "model.norm": name.partition("-")[0], **change.get("config", {})}
            config["model.block"] = "linear -> norm -> relu"
            own = {"meta": change.get("meta"), "summary": change.get("summary"), "accuracies": tuple(accuracies)}
            folders.append(write_run(tmp_path / name / f"seed{seed}", config=config, **own))
        return [read_run(folder) for folder in folders]

    return make


def diverged(**config: Any) -> dict[str, Any]:
    return {"config": config, "meta": {"status": "diverged"}, "summary": FELL}


def rows(run: Run, metric: str) -> dict[int, float]:
    found = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return {row["step"]: row[metric] for row in found if row.get(metric) is not None}


def lines_of(plot: Curves) -> dict[str, Any]:
    (panel,) = plot.panels
    return dict(panel.series)


def test_a_curve_is_the_mean_with_the_t_interval_of_the_rows(runs_of: Callable[..., list[Run]]) -> None:
    accuracies = ((0.5, 0.8, 0.9), (0.6, 0.82, 0.88), (0.4, 0.84, 0.95))
    runs = runs_of(*(("bn", seed, values, {}) for seed, values in enumerate(accuracies)), ("none", 0, (0.3, 0.4), {}))
    plot = curves(runs)
    bn, none = lines_of(plot)["bn"], lines_of(plot)["none"]
    assert list(bn.x) == [10, 20, 30]
    for place, step in enumerate((10, 20, 30)):
        values = [rows(run, "accuracy/val")[step] for run in runs[:3]]
        half = T[3] * stdev(values) / math.sqrt(3)
        assert bn.y[place] == pytest.approx(mean(values), abs=1e-15)
        assert (bn.low[place], bn.high[place]) == pytest.approx((mean(values) - half, mean(values) + half), abs=1e-12)
    assert (list(none.x), none.y, none.has_band) == ([10, 20], [0.3, 0.4], False)
    assert plot.band == "95 % interval of the mean"
    assert "1 to 3 seeds with the 95 % interval of the mean" in plot.caption
    notes = "\n".join(plot.notes)
    assert "no band: none (1)" in notes
    assert "not equally long: last step of bn 30, none 20; --x epoch" in notes
    assert plot.panels[0].y == Axis("validation accuracy (%)", percent=True)


def test_two_seeds_have_a_range_and_a_curve_over_epochs_has_epochs(runs_of: Callable[..., list[Run]]) -> None:
    plot = curves(runs_of(("bn", 0, (0.5, 0.8), {}), ("bn", 1, (0.6, 0.7), {})), "accuracy/val", "epoch")
    (curve,) = lines_of(plot).values()
    assert (list(curve.x), curve.low, curve.high) == ([1.0, 2.0], [0.5, 0.7], [0.6, 0.8])
    assert plot.band == "least to greatest seed"


def test_a_place_counts_where_every_run_that_came_so_far_has_a_value(runs_of: Callable[..., list[Run]]) -> None:
    runs = runs_of(
        ("bn", 0, (0.5, 0.8, 0.9), {}),
        ("bn", 1, (0.7, None, 0.6), {}),
        ("bn", 2, (0.9,), {"meta": {"status": "interrupted"}}),
    )
    plot = curves(runs)
    (curve,) = lines_of(plot).values()
    assert list(curve.x) == [10, 30]
    assert list(curve.runs) == [3, 2]
    assert curve.y == pytest.approx([0.7, 0.75])
    assert "bn: seed 2 interrupted: drawn as far as it came" in plot.notes


def test_diverged_runs_are_marked_where_they_did(runs_of: Callable[..., list[Run]]) -> None:
    runs = runs_of(("bn", 0, (0.5, 0.8), {}), ("bn", 1, (0.4,), diverged()), ("none", 0, (None,), diverged()))
    plot = curves(runs)
    assert lines_of(plot)["bn"].diverged == [(12, 1, 2)]
    assert curves(runs, place="epoch").panels[0].series["bn"].diverged == [(1.2, 1, 2)]
    assert "Marks below: where a run diverged" in plot.caption
    none = lines_of(plot)["none"]
    assert (none.x, none.diverged) == ([], [(12, 1, 1)])
    assert "none: 1 of 1 run logged no accuracy/val" in plot.notes
    assert to_bytes(plot, "svg")


def test_what_is_not_known_of_a_run_is_said(runs_of: Callable[..., list[Run]]) -> None:
    unknown = {"meta": {"status": "diverged"}, "summary": {"divergence": None, "test": None}}
    without = {"config": {"optimizer.lr": 0.2}, "summary": {"test": None}}
    runs = runs_of(("bn-a", 0, (0.5,), unknown), ("bn-a", 1, (0.5,), {}), ("bn-b", 3, (0.5,), without))
    assert "bn-a: 1 run diverged at an unknown step, and not marked" in curves(runs).notes
    assert "bn-b: seed 3 without accuracy/test:last" in axis(runs, "accuracy/test").notes


def test_a_step_written_twice_counts_once_as_it_was_written_last(runs_of: Callable[..., list[Run]]) -> None:
    runs = runs_of(("bn", 0, (0.5, 0.8), {}))
    with runs[0].metrics_path.open("a") as file:
        file.write('{"step":20,"epoch":2.0,"accuracy/val":0.7}\n')
    assert lines_of(curves(runs))["bn"].y == [0.5, 0.7]


def test_an_axis_shows_finished_runs_and_counts_those_that_diverged(runs_of: Callable[..., list[Run]]) -> None:
    swept = [
        (f"{norm}-{lr}", seed, (0.5, score + seed / 100), {"config": {"optimizer.lr": lr}})
        for norm, lr, score in (("bn", 0.01, 0.7), ("bn", 0.1, 0.9), ("none", 0.01, 0.6))
        for seed in range(3)
    ]
    fallen = [("none-0.1", seed, (0.3,), diverged(**{"optimizer.lr": 0.1})) for seed in range(2)]
    alive = [("none-0.1", 2, (0.3, 0.4), {"config": {"optimizer.lr": 0.1}})]
    all_fell = [("none-1", 0, (0.2,), diverged(**{"optimizer.lr": 1.0}))]
    plot = axis(runs_of(*swept, *fallen, *alive, *all_fell))
    bn, none = lines_of(plot)["bn"], lines_of(plot)["none"]
    assert (list(bn.x), list(bn.runs)) == ([0.01, 0.1], [3, 3])
    assert bn.y == pytest.approx([0.71, 0.91])
    assert bn.high[0] - bn.y[0] == pytest.approx(T[3] * 0.01 / math.sqrt(3))
    assert none.y[:2] == pytest.approx([0.61, 0.4])
    assert math.isnan(none.y[2])
    assert none.diverged == [(0.1, 2, 3), (1.0, 1, 1)]
    x = plot.panels[0].x
    assert (x.name, x.log, list(x.ticks)) == ("learning rate", True, [0.01, 0.1, 1.0])
    assert "of the runs that finished" in plot.caption


def test_where_no_run_finished_an_axis_shows_what_diverged(runs_of: Callable[..., list[Run]]) -> None:
    fell = [(f"bn-{lr}", 0, (None,), diverged(**{"optimizer.lr": lr})) for lr in (1, 2)]
    runs = runs_of(*fell)
    plot = axis(runs)
    assert lines_of(plot)["bn"].diverged == [(1, 1, 1), (2, 1, 1)]
    assert "no run finished" in plot.caption
    assert "bn: all runs diverged" in plot.notes
    with pytest.raises(ConfigError, match="All diverged, one at step 12 in head"):
        curves(runs)


def test_an_axis_of_words_and_of_depths(runs_of: Callable[..., list[Run]]) -> None:
    hidden = [(f"bn-{n}", 0, (0.5, 0.5 + n / 100), {"config": {"model.hidden": [100] * n}}) for n in (2, 16, 4)]
    plot = axis(runs_of(*hidden), key="hidden")
    (line,) = lines_of(plot).values()
    assert plot.panels[0].x.labels == ["2 x 100", "4 x 100", "16 x 100"]
    assert line.y == pytest.approx([0.52, 0.54, 0.66])
    named = runs_of(("gn-b", 0, (0.5,), {}), ("ln-b", 0, (0.6,), {}))
    panel = axis(named, "accuracy/val:best", "norm").panels[0]
    assert panel.x.labels == ["gn", "ln"]
    assert panel.y.name == "validation accuracy, best (%)"
    reached = axis(named, "accuracy/val:to(0.55)", "norm")
    assert reached.panels[0].y == Axis("accuracy/val:to(0.55) (epochs)")
    assert any("1 of 1 never came there" in note for note in reached.notes)


def test_a_value_that_was_tuned_for_each_arm_makes_no_line_of_its_own(runs_of: Callable[..., list[Run]]) -> None:
    def tuned(size: int, lr: float) -> tuple[str, int, Sequence[float], dict[str, Any]]:
        chosen = {"chosen": {"values": {"optimizer.lr": lr}, "candidates": 3, "seeds": [10000]}}
        return f"bn-{size}-{lr}", 0, (0.5,), {"config": {"data.batch_size": size, "optimizer.lr": lr}, "meta": chosen}

    plot = axis(runs_of(tuned(4, 0.1), tuned(16, 0.3)), key="batch_size")
    assert list(lines_of(plot)) == ["bn"]
    assert plot.caption.endswith("Each arm has its own optimizer.lr, chosen on the validation part.")
    again = axis(runs_of(tuned(8, 0.1), tuned(8, 0.3)), key="optimizer.lr")
    assert list(lines_of(again)) == ["bn"]
    former = axis(runs_of(tuned(32, 0.1), tuned(64, 0.3), tuned(64, 0.2)), key="batch_size")
    assert list(lines_of(former)) == ["0.1", "0.3", "0.2"]


def test_paired_differences_are_those_of_the_seeds_in_common(runs_of: Callable[..., list[Run]]) -> None:
    bn = [("bn", seed, (0.5, value), {}) for seed, value in enumerate((0.9, 0.92, 0.95, 0.91))]
    none = [("none", seed, (0.5, value), {}) for seed, value in enumerate((0.8, 0.85, 0.82))]
    runs = runs_of(*bn, *none, ("none", 3, (0.4,), diverged()))
    plot = paired(runs, baseline="none")
    row = plot.rows["bn"]
    # the diverged run counts as the worst finished one, 0.8
    differences = [0.9 - 0.8, 0.92 - 0.85, 0.95 - 0.82, 0.91 - 0.8]
    half = T[4] * stdev(differences) / 2
    assert (row.seeds, list(row.diverged)) == ((0, 1, 2, 3), [False, False, False, True])
    assert row.differences == pytest.approx(differences)
    center = mean(differences)
    assert (row.mean, row.low, row.high) == pytest.approx((center, center - half, center + half))
    assert plot.better == "right"
    assert any("1 of 4 diverged" in note for note in plot.notes)
    assert paired(runs, "loss/val", "none").better == "left"
    assert plot.x.percent


def test_epochs_to_an_accuracy_are_no_percentage(runs_of: Callable[..., list[Run]]) -> None:
    accuracies = {"bn": (0.5, 0.9, 0.9), "none": (0.2, 0.3, 0.9), "ln": (0.2, 0.3, 0.4)}
    runs = runs_of(*((name, seed, own, {}) for name, own in accuracies.items() for seed in range(2)))
    plot = paired(runs, "accuracy/val:to(0.8)", "none")
    assert (plot.x.percent, plot.rows["bn"].differences) == (False, [-1, -1])
    over = axis(runs, "accuracy/val:to(0.8)")
    assert over.panels[0].y.percent is False
    assert sorted(y for curve in over.panels[0].series.values() for y in curve.y) == [2, 3, 3]
    assert any("ln: 2 of 2 never came there" in note for note in over.notes)


def test_diverged_seeds_are_left_out_where_no_side_is_worse(runs_of: Callable[..., list[Run]]) -> None:
    runs = runs_of(*(("bn", seed, (0.5,), {}) for seed in range(2)), ("none", 0, (0.5,), {}))
    plot = paired([*runs, *runs_of(("none", 1, (0.4,), diverged()))], "time/step_ms:max", "none")
    assert plot.rows["bn"].seeds == (0,)
    assert any("none: seed 1 diverged, and left out" in note for note in plot.notes)


def test_what_cannot_be_drawn_is_refused_by_name(runs_of: Callable[..., list[Run]]) -> None:
    runs = runs_of(("bn", 0, (0.5,), {}), ("none", 1, (0.4,), {}))
    refused = (
        (lambda: curves(runs, "accuracy/vall"), 'Did you mean "accuracy/val"?'),
        (lambda: curves(runs, "gradient_norm/total"), "--set probes.gradients.per_decade=10"),
        (lambda: curves(runs, "accuracy/val:best"), "curves show every value, not that at best; expected accuracy/val"),
        (lambda: curves(runs, "accuracy/test"), "a run has it once, at its end; --kind axis and --kind paired"),
        (lambda: axis(runs, key="momentum"), "the arms differ in model.norm"),
        (lambda: axis(runs, key="nrom"), 'Did you mean "norm"?'),
        (lambda: axis(runs[:1]), "expected runs of a sweep over some key"),
        (lambda: paired(runs, baseline="nome"), 'Did you mean "none"?'),
        (lambda: paired(runs), "no arm shares a seed with bn"),
        (lambda: paired(runs[:1]), "one arm alone, bn"),
    )
    for call, words in refused:
        with pytest.raises(ConfigError) as found:
            call()
        assert words in str(found.value)
