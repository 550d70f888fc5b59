"""Make plots of what probes measured: heat maps by layer and step, percentiles of an activation, landscape ranges."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.analysis.over_seeds import (
    Spread,
    are_log_spaced,
    curve_of,
    mean_of,
    places_of,
    series_of,
    thinned,
    value_axis,
    with_diverged,
)
from bnexp.analysis.studied import (
    Studied,
    capital,
    columns_of,
    described,
    not_logged,
    on_silent,
    studied,
    unfinished_notes,
)
from bnexp.config.items import ACTIVATION_NAMES
from bnexp.document.plots import Axis, Curve, Curves, Grid, HeatMap, Panel
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.columns import names_below
from bnexp.runs.run import Run

_MOST_PANELS = 12
_MOST_COLUMNS = 60
_SHOWN = 6
_PERCENTILES = ("activation_p15", "activation_p50", "activation_p85")
_LANDSCAPE = (
    ("loss along the gradient (nats)", "landscape_loss_min/path", "landscape_loss_max/path"),
    (
        "change of the gradient, relative",
        "gradient_distance_relative_min/path",
        "gradient_distance_relative_max/path",
    ),
    ("effective smoothness", "effective_smoothness/path", "effective_smoothness/path"),
)
"""The panels of figure 4 of Santurkar et al. 2018, and the figures at the edges of each."""


@dataclass(frozen=True)
class _Measured:
    """Figures of the runs of some arms: by arm, of each run by name, and of each name by step."""

    arms: Mapping[str, Sequence[Mapping[str, dict[float, float]]]]
    diverged: Mapping[str, Sequence[float | None]]
    notes: Sequence[str]


def _measured(study: Studied, names: Mapping[str, Sequence[str]], what: str) -> _Measured:
    """Read the named figures of each arm; runs without are left out, which a note says of `what`."""
    arms: dict[str, list[Mapping[str, dict[float, float]]]] = {}
    diverged: dict[str, list[float | None]] = {}
    notes = [*study.notes, *unfinished_notes(study, "drawn as far as it came")]
    logged = dict[Path, bool]()
    for arm, runs in study.arms:
        columns, problems = columns_of(runs, names[arm.name]) if names[arm.name] else ({}, [])
        notes += problems
        diverged[arm.name] = [run.divergence.step if run.divergence else None for run in runs]
        for run in runs if columns else ():
            series = {name: series_of(columns[run.folder], name) for name in names[arm.name]}
            if any(series.values()):
                logged[run.folder] = True
                arms.setdefault(arm.name, []).append(series)
    return _Measured(arms, diverged, [*notes, *on_silent(study, logged, what)])


def _names(runs: Sequence[Run], quantity: str) -> list[str]:
    """Return the names of a quantity that the first run with any logged, in the order of the network."""
    return next(filter(None, (names_below(run.metrics_path, quantity) for run in runs)), [])


def _first(study: Studied) -> tuple[Studied, list[str]]:
    """Return at most as many arms as a figure has panels for, and a note on the others."""
    kept, left_out = study.arms[:_MOST_PANELS], [arm.name for arm, _ in study.arms[_MOST_PANELS:]]
    note = f"{_MOST_PANELS} arms are drawn, and {len(left_out)} are not: {first_few(left_out, _SHOWN)}; name fewer runs"
    return Studied(kept, study.notes), [note] if left_out else []


def heat_map(runs: Iterable[Run], metric: str = "gradient_norm") -> HeatMap:
    """Return a quantity of a probe by item and step, a grid an arm; a cell is the mean over the seeds.

    Args:
        runs: one at least.
        metric: a quantity, such as `activation_std`. Of `gradient_norm` the items with weights are shown.

    Raises:
        ConfigError: no run logged it, or it names an item.
    """
    quantity, _, item = metric.partition("/")
    if item:
        raise ConfigError(f"--metric {metric}: a heat map shows every item, not {item} alone; expected {quantity}")
    study, left_out = _first(studied(runs))
    names = {arm.name: _items_of(own, quantity) for arm, own in study.arms}
    measured = _measured(study, names, quantity)
    if not measured.arms:
        raise not_logged(f"{quantity}/<item>", study.runs)
    grids = [_grid(name, series, names[name]) for name, series in measured.arms.items()]
    finite = [value for grid in grids for row in grid.values for value in row if math.isfinite(value)]
    value = described(quantity)
    title = f"{value.name.removesuffix(' (%)')} by layer and step"
    seeds = [len(series) for series in measured.arms.values()]
    caption = f"{capital(title)}; each cell is {_mean(seeds)}."
    if len(finite) < sum(len(row) for grid in grids for row in grid.values):
        caption += " Grey: not measured, or not finite."
    value, beyond = value_axis(value, finite, 1)
    notes = [*measured.notes, *left_out, *beyond]
    return HeatMap(f"heatmap_{quantity}", title, caption, Axis("step"), Axis("layer"), value, grids, notes)


def _items_of(runs: Sequence[Run], quantity: str) -> list[str]:
    """Return the names of a quantity; of gradient norms those of layers, which have a weight to compare it with."""
    names = _names(runs, quantity)
    if quantity == "gradient_norm":
        layers = [name.partition("/")[2] for name in _names(runs, "gradient_to_weight")]
        names = [f"{quantity}/{layer}" for layer in layers if f"{quantity}/{layer}" in names] or names
    return names


def _grid(title: str, runs: Sequence[Mapping[str, dict[float, float]]], names: Sequence[str]) -> Grid:
    looks = [dict.fromkeys(sorted(set().union(*run.values())), 0.0) for run in runs]
    steps = thinned(places_of(looks), _MOST_COLUMNS)
    values = [[mean_of([run[name][step] for run in runs if step in run[name]]) for step in steps] for name in names]
    return Grid(title, steps, [name.partition("/")[2] for name in names], values)


def percentiles(runs: Iterable[Run], item: str | None = None) -> Curves:
    """Return the 15th, 50th and 85th percentile of the values of an item over the training, a panel an arm.

    Figure 1 (b, c) of Ioffe & Szegedy 2015 shows them for the input of one sigmoid of the last hidden layer; here they
    are over all units. Each line is the mean over the seeds.

    Args:
        runs: one at least.
        item: its name; by default what the last activation takes in.

    Raises:
        ConfigError: no run logged percentiles, or no arm has such an item.
    """
    study, left_out = _first(studied(runs))
    items = {arm.name: [name.partition("/")[2] for name in _names(own, "activation_p50")] for arm, own in study.arms}
    if not any(items.values()):
        raise not_logged("activation_p50/<item>", study.runs)
    item = item and item.rpartition("/")[2]
    known = list(dict.fromkeys(name for own in items.values() for name in own))
    if item is not None and item not in known:
        raise ConfigError(f"{item}: no such item.{did_you_mean(item, known)} Items: {first_few(known, 12)}")
    others = {name for run in study.runs for name, one in run.code.items() if one.role == "activation"}
    chosen = {
        name: item if item in own else None if item else input_of_last_activation(own, others)
        for name, own in items.items()
    }
    names = {name: [f"{level}/{of}" for level in _PERCENTILES] if of else [] for name, of in chosen.items()}
    measured = _measured(study, names, f"percentiles of {item}" if item else "percentiles")
    made = {}
    for name, series in measured.arms.items():
        low, middle, high = (curve_of([run[level] for run in series], Spread("")) for level in names[name])
        curve = Curve(middle.x, middle.y, low.y, high.y, middle.runs)
        made[name] = with_diverged(curve, measured.diverged[name], len(measured.diverged[name]))
    drawn = list(dict.fromkeys(str(chosen[name]) for name in made))
    edges = [value for curve in made.values() for some in (curve.low, curve.high) for value in some]
    what = f"output of {item}" if item else "input of the last activation"
    y, beyond = value_axis(Axis(what), edges, math.inf)
    x = _steps(list(made.values()))
    panels = [Panel(name, x, y, {name: curve}, "edges") for name, curve in made.items()]
    title = f"15th, 50th and 85th percentile of the {what}"
    seeds = [len(series) for series in measured.arms.values()]
    of = "" if item else f" ({first_few(drawn, 3)})"
    caption = f"{capital(title)}{of}, in training mode, over all units; each line is {_mean(seeds)}."
    notes = [*measured.notes, *left_out, *beyond]
    return Curves("percentiles", title, caption, panels, "15th to 85th percentile", same_y=True, notes=notes)


def input_of_last_activation(items: Sequence[str], others: Collection[str] = ()) -> str | None:
    """Return the item whose output the last activation takes in; without activations the last item but the head.

    `others` are the activations that bnexp does not have.
    """
    kinds = [re.sub(r"_?\d+$", "", item.rpartition(".")[2]) for item in items]
    last = max((place for place, kind in enumerate(kinds) if kind in (*ACTIVATION_NAMES, *others)), default=0)
    hidden = [item for item in items if item != "head"] or list(items)
    return items[last - 1] if last else next(reversed(hidden), None)


def landscape(runs: Iterable[Run]) -> Curves:
    """Return how far loss and gradient change along the gradient, over the training, as Santurkar et al. 2018 show it.

    Raises:
        ConfigError: no run logged the probe's figures.
    """
    study = studied(runs)
    wanted = list(dict.fromkeys(name for _, *edges in _LANDSCAPE for name in edges))
    measured = _measured(study, {arm.name: wanted for arm, _ in study.arms}, "landscape")
    if not measured.arms:
        raise not_logged(wanted[0], study.runs)
    panels, notes = [], list(measured.notes)
    for title, low, high in _LANDSCAPE:
        curves = {
            name: with_diverged(
                _range([run[low] for run in series], [run[high] for run in series]),
                measured.diverged[name],
                len(measured.diverged[name]),
            )
            for name, series in measured.arms.items()
        }
        edges = [value for curve in curves.values() for some in (curve.y, curve.low, curve.high) for value in some]
        y, beyond = value_axis(Axis(title), edges)
        notes += beyond
        panels.append(Panel("", _steps(list(curves.values())), y, curves, "line" if low == high else "range"))
    seeds = [len(series) for series in measured.arms.values()]
    title = "landscape along the gradient of each step"
    caption = (
        f"{capital(title)}: the range of the loss, and of the distance from the gradient at the start, on the way that "
        f"the gradient points, then the effective smoothness; the edges are {_mean(seeds)}."
    )
    return Curves("landscape", title, caption, panels, "smallest to largest on the way", notes=notes)


def _range(low: Sequence[dict[float, float]], high: Sequence[dict[float, float]]) -> Curve:
    """Return the mean edges of a range, without a middle; where both are one figure, its mean alone."""
    below, above = curve_of(low, Spread("")), curve_of(high, Spread(""))
    return below if low == high else Curve(below.x, [math.nan] * len(below.x), below.y, above.y, below.runs)


def _steps(curves: Sequence[Curve]) -> Axis:
    return Axis("step", log=any(are_log_spaced(curve.x) for curve in curves))


def _mean(seeds: Sequence[int]) -> str:
    least, most = min(seeds), max(seeds)
    if most == 1:
        return "of one seed"
    return f"the mean of {counted(most, 'seed') if least == most else f'{least} to {most} seeds'}"
