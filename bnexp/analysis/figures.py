"""Make plots of what arms came to: curves over the training, figures over a swept key, differences paired by seed.

A plot says in its caption what is drawn, and in its notes what is not, such as runs that have not ended.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bnexp.analysis.arms import Arm, differing_keys
from bnexp.analysis.over_seeds import (
    Place,
    Spread,
    are_log_spaced,
    curve_of,
    mean_of,
    series_of,
    spread_of,
    value_axis,
    with_diverged,
)
from bnexp.analysis.pairing import Outcomes, outcomes, pair, stated_value, without_diverged
from bnexp.analysis.points import MetricPoint, parse_point, values_at
from bnexp.analysis.statistics import LEAST_PAIRS, mean_interval
from bnexp.analysis.studied import (
    Studied,
    axis_of,
    capital,
    columns_of,
    described,
    not_logged,
    studied,
    unfinished_notes,
)
from bnexp.config.wording import brief
from bnexp.document.plots import Axis, Curve, Curves, Differences, Paired, Panel
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.run import Run

_SHOWN = 6


def curves(runs: Iterable[Run], metric: str = "accuracy/val", place: Place = "step") -> Curves:
    """Return the curve of each arm over the training, the mean of its seeds with a band.

    Args:
        runs: one at least.
        metric: as it is logged, such as `loss/train`.
        place: what x counts.

    Raises:
        ConfigError: no run logged the metric.
    """
    study = studied(runs)
    columns, problems = columns_of(study.runs, [metric])
    logged = {run.folder: series_of(columns[run.folder], metric, place) for run in study.runs}
    if not any(logged.values()):
        raise not_logged(metric, study.runs)
    with_rows = {arm.name: [run for run in own if logged[run.folder]] for arm, own in study.arms}
    spread = spread_of([len(own) for own in with_rows.values()])
    series = {}
    for name, own in with_rows.items():
        if own:
            curve = curve_of([logged[run.folder] for run in own], spread)
            series[name] = with_diverged(curve, [_place_of_divergence(run, place) for run in own], len(own))
    values = [y for curve in series.values() for y in curve.y]
    y, beyond = value_axis(described(metric), values)
    x = Axis(place, log=any(are_log_spaced(curve.x) for curve in series.values()))
    notes = [
        *study.notes,
        *unfinished_notes(study, "drawn as far as it came"),
        *(f"{name}: logged no {metric}, and is not drawn" for name, own in with_rows.items() if not own),
        *_on_lengths(series, place),
        *_on_seeds({name: len(own) for name, own in with_rows.items()}, spread),
        *beyond,
        *problems,
    ]
    title = f"{y.name.removesuffix(' (%)')} over the {place}s"
    caption = f"{capital(title)}: {_means(spread, [len(own) for own in with_rows.values() if own])}."
    if any(curve.diverged for curve in series.values()):
        caption += " Marks below: where a run diverged; from there on the mean is of the others."
    return Curves(f"curves_{metric}", title, caption, [Panel("", x, y, series)], str(spread), notes=notes)


def _place_of_divergence(run: Run, place: Place) -> float | None:
    step = run.divergence.step if run.divergence else None
    if step is None or place == "step":
        return step
    return step / run.steps_per_epoch if run.steps_per_epoch else None


def _means(spread: Spread, counts: Sequence[int]) -> str:
    """Say what lines and bands are of so many runs each."""
    least, most = min(counts, default=0), max(counts, default=0)
    of = counted(most, "seed") if least == most else f"{least} to {most} seeds"
    line = f"mean of {of}" if most > 1 else "one seed"
    return f"{line} with the {spread}" if spread.kind else f"{line}, without a band"


def _on_lengths(series: Mapping[str, Curve], place: Place) -> list[str]:
    ends = {name: curve.x[-1] for name, curve in series.items() if curve.x}
    if len(set(ends.values())) < 2:
        return []
    said = [f"{name} {end:g}" for name, end in ends.items()]
    other = "; --x epoch counts epochs" if place == "step" else ""
    return [f"the curves are not equally long: last {place} of {first_few(said, _SHOWN)}{other}"]


def _on_seeds(counts: Mapping[str, int], spread: Spread) -> list[str]:
    """Say which arms have too few seeds for a band."""
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < spread.least]
    return [f"fewer than {spread.least} seeds, and no band: {first_few(few, _SHOWN)}"] if few else []


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
    came_to, problems = _outcomes(study, point)
    places, x_axis = _places([arm.config[key] for arm in read if arm.config and key in arm.config], key)
    groups = _by_the_rest(read, [other for other in keys if other != key])
    spread = spread_of([_finished(came_to[arm.name]) for arm in read])
    series = {name: _over(key, places, group, came_to, spread) for name, group in groups.items()}
    y_axis = axis_of(point)
    name, values = y_axis.name, [y for curve in series.values() for y in curve.y]
    y_axis, beyond = value_axis(y_axis, values)
    title = f"{name.removesuffix(' (%)')} over the {x_axis.name}"
    counts = [count for curve in series.values() for count in curve.runs if count]
    what = f"{_means(spread, counts)}, of the runs that finished" if counts else "no run finished"
    caption = f"{capital(title)}: {what}."
    if any(curve.diverged for curve in series.values()):
        caption += " Marks below: how many of how many runs diverged; they are in no mean."
    notes = [
        *study.notes,
        *unfinished_notes(study, "left out"),
        *(f"{arm.name}: its config cannot be read; left out" for arm, _ in study.arms if arm.config is None),
        *(
            note
            for one in came_to.values()
            if one.never
            for note in replace(one, diverged=(), infinite=(), absent={}).notes
        ),
        *(f"{name}: all runs diverged" for name, curve in series.items() if not any(curve.runs)),
        *_on_seeds({arm.name: _finished(came_to[arm.name]) for arm in read}, spread),
        *beyond,
        *problems,
    ]
    panel = Panel("", x_axis, y_axis, series, "points")
    return Curves(f"axis_{key}_{point}", title, caption, [panel], str(spread), notes=notes)


def _outcomes(study: Studied, point: MetricPoint) -> tuple[dict[str, Outcomes], list[str]]:
    """Return what each arm came to, seed by seed, and what is wrong with files."""
    values, problems = values_at(study.runs, [point])
    if not any(values[point][run.folder] is not None or run.status == "diverged" for run in study.runs):
        raise not_logged(point.metric, study.runs)
    stated = stated_value(point, point.direction or "up", study.runs, values[point])
    return {arm.name: outcomes(arm.name, own, point, values[point], stated) for arm, own in study.arms}, problems


def _finished(one: Outcomes) -> int:
    return len(one.values) - len(one.diverged)


def _axis_key(wanted: str | None, keys: Sequence[str]) -> str:
    """Return the key of the axis among those in which arms differ."""
    differ = f"the arms differ in {first_few(keys, _SHOWN)}" if keys else "the arms differ in no key of the config"
    if wanted is not None:
        found = [key for key in keys if key == wanted] or [key for key in keys if f".{key}".endswith(f".{wanted}")]
        if len(found) != 1:
            raise ConfigError(f"--x {wanted}: {differ}.{did_you_mean(wanted, keys)}")
        return found[0]
    usual = [key for key in ("optimizer.lr", "data.batch_size") if key in keys] or list(keys)
    if not usual or (len(usual) > 1 and usual[0] != "optimizer.lr"):
        raise ConfigError(f"{differ}; " + ("say one with --x" if keys else "expected runs of a sweep over some key"))
    return usual[0]


def _places(values: Sequence[object], key: str) -> tuple[dict[str, float], Axis]:
    """Return where each value of a key stands on its axis, by `repr`, and the axis; words and lists stand in order."""
    name = key.replace("optimizer.lr", "learning rate").replace("data.batch_size", "batch size")
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
    return brief("none" if value is None else value if isinstance(value, str) else json.dumps(value), 40)


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


def paired(runs: Iterable[Run], metric: str = "accuracy/val", baseline: str | None = None) -> Differences:
    """Return what each arm has more than the baseline, seed by seed, with the mean and its 95% interval.

    A pair of which a run diverged counts with the stated value of `analysis/pairing.py`.

    Raises:
        ConfigError: no such baseline, one arm alone, or no seed that two arms share.
    """
    point, study = parse_point(metric), studied(runs)
    came_to, problems = _outcomes(study, point)
    if point.direction is None:
        came_to = {name: without_diverged(one) for name, one in came_to.items()}
    names = list(came_to)
    if baseline is not None and baseline not in came_to:
        hint = did_you_mean(baseline, names) or f" Arms: {first_few(names, _SHOWN)}"
        raise ConfigError(f"--baseline {baseline}: no such arm.{hint}")
    base = baseline or names[0]
    rows, notes = {}, list[str]()
    for name in names:
        if name != base:
            pairing = pair(came_to[name], came_to[base])
            notes += [note for note in pairing.notes if note not in notes]
            if pairing.seeds:
                rows[name] = _paired(pairing.seeds, pairing.differences("up"), came_to[name], came_to[base])
            else:
                notes.append(f"{name}: no seed in common with {base}, and not drawn")
    if not rows:
        alone = f"one arm alone, {base}" if len(names) == 1 else "no arm shares a seed with the others"
        raise ConfigError(f"{alone}; paired differences need two arms with the same seeds")
    what = axis_of(point)
    quantity = what.name
    name = f"difference in {quantity.replace('(%)', '(points)')} to {base}"
    better = {"up": "right", "down": "left"}.get(point.direction or "")
    title = f"difference in {quantity.removesuffix(' (%)')} to {base}, paired by seed"
    bars = any(math.isfinite(row.low) for row in rows.values())
    caption = f"{capital(title)}: a dot is a seed, the bar the mean" + (" with its 95% interval." if bars else ".")
    if any(any(row.diverged) for row in rows.values()):
        caption += " Hollow: one of the pair diverged, and counts with a stated value."
    notes = [
        *study.notes,
        *([] if baseline else [f"baseline: {base}, the first arm; --baseline says another"]),
        *notes,
        *(f"{one}: {counted(len(row.seeds), 'seed')}: no interval" for one, row in rows.items() if math.isnan(row.low)),
        *problems,
    ]
    x = Axis(name, percent=what.percent)
    return Differences(f"paired_{point}", title, caption, x, base, rows, better, notes)  # type: ignore[arg-type]


def _paired(seeds: Sequence[int], differences: Sequence[float], one: Outcomes, base: Outcomes) -> Paired:
    interval = mean_interval(differences) if len(differences) >= LEAST_PAIRS else None
    low, high = (interval.low, interval.high) if interval else (math.nan, math.nan)
    fell = [seed in one.diverged or seed in base.diverged for seed in seeds]
    return Paired(seeds, differences, fell, mean_of(differences), low, high)
