"""Make the plot of what arms came to over a key of the config in which they differ, such as the learning rate."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bnexp.analysis.arms import Arm, differing_keys, written
from bnexp.analysis.figures import finished_in, means_in_words, on_few_seeds, outcomes_at
from bnexp.analysis.over_seeds import Spread, mean_of, spread_of, value_axis
from bnexp.analysis.pairing import Outcomes
from bnexp.analysis.points import MetricPoint, parse_point
from bnexp.analysis.studied import capital, described_at, studied, unfinished_notes
from bnexp.document.plots import Axis, Curve, Curves, Panel
from bnexp.document.writing import first_few
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.run import Run

_SHOWN = 6


def axis(runs: Iterable[Run], metric: str = "accuracy/val", key: str | None = None) -> Curves:
    """Return what arms came to over a key of the config in which they differ, a line for each of the rest.

    Args:
        runs: one at least.
        metric: with a point where it is not the last value, such as `accuracy/val:best`.
        key: of the config, or its last word; by default the learning rate, the batch size or the only key there is.

    Raises:
        ConfigError: no such key, or no run logged the metric.
    """
    point, study = parse_point(metric), studied(runs)
    read = [arm for arm, _ in study.arms if arm.config is not None]
    keys = differing_keys(read)
    key = _axis_key(key, keys)
    came_to, problems = outcomes_at(study, point)
    places, x_axis = _places([arm.config[key] for arm in read if arm.config and key in arm.config], key)
    groups, tuned = _lines(read, key, [other for other in keys if other != key])
    spread = spread_of([finished_in(came_to[arm.name]) for arm in read])
    series = {name: _over(key, places, group, came_to, spread) for name, group in groups.items()}
    values = [y for curve in series.values() for y in curve.y]
    y_axis, beyond = value_axis(described_at(point), values)
    title = f"{y_axis.quantity} over the {x_axis.name}"
    counts = [count for curve in series.values() for count in curve.runs if count]
    what = f"{means_in_words(spread, counts)}, of the runs that finished" if counts else "no run finished"
    caption = f"{capital(title)}: {what}."
    caption += f" Each arm has its own {', '.join(tuned)}, chosen on the validation part." if tuned else ""
    if any(curve.diverged for curve in series.values()):
        caption += " Marks below: how many of how many runs diverged; they are in no mean."
    notes = [
        *study.notes,
        *unfinished_notes(study, "left out"),
        *(f"{arm.name}: its config cannot be read; left out" for arm, _ in study.arms if arm.config is None),
        *(note for arm in read for note in _on_seeds(came_to[arm.name], point)),
        *(f"{name}: all runs diverged" for name, curve in series.items() if not any(curve.runs)),
        *on_few_seeds({arm.name: finished_in(came_to[arm.name]) for arm in read}, spread),
        *beyond,
        *problems,
    ]
    panel = Panel("", x_axis, y_axis, series, "points")
    return Curves(f"axis_{key}_{point}", title, caption, [panel], str(spread), notes=notes)


def _on_seeds(one: Outcomes, point: MetricPoint) -> list[str]:
    """Say which seeds that finished never came to the goal, or lack the metric."""
    without = {seed: why for seed, why in one.absent.items() if why == f"without {point}"}
    return replace(one, diverged=(), infinite=(), absent=without).notes


def _axis_key(wanted: str | None, keys: Sequence[str]) -> str:
    """Return the key of the axis among those in which arms differ."""
    differ = f"the arms differ in {first_few(keys, _SHOWN)}" if keys else "the arms differ in no key of the config"
    if wanted is not None:
        found = [key for key in keys if key == wanted] or [key for key in keys if f".{key}".endswith(f".{wanted}")]
        if len(found) != 1:
            hint = did_you_mean(wanted, keys) or did_you_mean(wanted, [key.rpartition(".")[2] for key in keys])
            raise ConfigError(f"--x {wanted}: {differ}.{hint}")
        return found[0]
    usual = [key for key in ("optimizer.lr", "data.batch_size") if key in keys] or list(keys)
    if not usual or (len(usual) > 1 and usual[0] != "optimizer.lr"):
        raise ConfigError(f"{differ}; " + ("say one with --x" if keys else "expected runs of a sweep over some key"))
    return usual[0]


def _places(values: Sequence[object], key: str) -> tuple[dict[str, float], Axis]:
    """Return where each value of a key stands on its axis, by `repr`, and the axis; words and lists stand in order."""
    name = "learning rate" if key == "optimizer.lr" else key.rpartition(".")[2].replace("_", " ")
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        places = {repr(value): float(value) for value in numbers}
        ticks = sorted(set(places.values()))
        return places, Axis(name, log=ticks[0] > 0 and ticks[-1] >= 10 * ticks[0], ticks=ticks)
    ordered = list({repr(value): value for value in sorted(values, key=_size_of)}.values())
    return {repr(value): float(place) for place, value in enumerate(ordered)}, Axis(
        name, labels=list(map(said, ordered))
    )


def _size_of(value: object) -> tuple[float, int]:
    """Order lists, such as `model.hidden`, by their length, and numbers among words by their size."""
    if isinstance(value, list | tuple):
        return math.inf, len(value)
    return (float(value) if isinstance(value, int | float) else -math.inf), 0


def said(value: object) -> str:
    """Write a value of the config in few letters: `bn`, `3 x 100`, `256-128`."""
    if isinstance(value, list | tuple) and value:
        alike = all(part == value[0] for part in value)
        return f"{len(value)} x {said(value[0])}" if alike and len(value) > 1 else "-".join(map(said, value))
    return written(value, 40)


def _lines(arms: Sequence[Arm], key: str, rest: Sequence[str]) -> tuple[dict[str, list[Arm]], list[str]]:
    """Group arms that differ in the axis alone, or besides in what a sweep chose for each; return these keys, too."""
    chosen = [set(run.chosen) for arm in arms for run in arm.runs]
    tuned = [other for other in rest if chosen and all(other in of_run for of_run in chosen)]
    lines = _by_the_rest(arms, [other for other in rest if other not in tuned])
    at_one_place = any(len({repr((arm.config or {}).get(key)) for arm in line}) < len(line) for line in lines.values())
    return (_by_the_rest(arms, rest), []) if at_one_place else (lines, tuned)


def _by_the_rest(arms: Sequence[Arm], keys: Sequence[str]) -> dict[str, list[Arm]]:
    """Group arms that differ in the axis alone, named by the other keys: `bn`, or `bn, momentum 0`."""
    groups = defaultdict[str, list[Arm]](list)
    for arm in arms:
        config = arm.config or {}
        words = [said(config.get(keys[0] if keys else "model.norm"))]
        words += [f"{key.rpartition('.')[2]} {said(config.get(key))}" for key in keys[1:]]
        groups[", ".join(words)].append(arm)
    return groups


def _over(
    key: str, places: Mapping[str, float], arms: Sequence[Arm], came_to: Mapping[str, Outcomes], spread: Spread
) -> Curve:
    """Return the mean of the finished runs at each place, and where how many diverged."""
    at: dict[float, list[Outcomes]] = defaultdict(list)
    for arm in arms:
        if arm.config and key in arm.config:
            at[places[repr(arm.config[key])]].append(came_to[arm.name])
    x = sorted(at)
    values = [
        [value for one in at[place] for seed, value in one.values.items() if seed not in one.diverged] for place in x
    ]
    edges = [spread.edges(some) for some in values]
    fallen = [(place, sum(len(one.diverged) for one in at[place])) for place in x]
    return Curve(
        x,
        [mean_of(some) for some in values],
        [low for low, _ in edges],
        [high for _, high in edges],
        [len(some) for some in values],
        [(place, count, sum(len(one.values) for one in at[place])) for place, count in fallen if count],
    )
