"""Make plots of arms: curves over the training, and differences paired by seed.

A plot says in its caption what is drawn, and in its notes what is not, such as runs that have not ended.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

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
from bnexp.analysis.pairing import Outcomes, outcomes, pair, stated_value
from bnexp.analysis.points import MetricPoint, parse_point, values_at
from bnexp.analysis.statistics import LEAST_PAIRS, mean_interval
from bnexp.analysis.studied import (
    Studied,
    capital,
    columns_of,
    described,
    described_at,
    not_logged,
    on_silent,
    studied,
    unfinished_notes,
)
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
        ConfigError: no run logged the metric, or a run has it only once.
    """
    _refuse_points(metric)
    study = studied(runs)
    columns, problems = columns_of(study.runs, [metric])
    logged = {run.folder: series_of(columns[run.folder], metric, place) for run in study.runs}
    if not any(logged.values()):
        raise not_logged(metric, study.runs)
    with_rows = {arm.name: [run for run in own if logged[run.folder]] for arm, own in study.arms}
    spread = spread_of([len(own) for own in with_rows.values()])
    series = {}
    for arm, own in study.arms:
        curve = curve_of([logged[run.folder] for run in with_rows[arm.name]], spread)
        curve = with_diverged(curve, [_place_of_divergence(run, place) for run in own], len(own))
        if curve.x or curve.diverged:
            series[arm.name] = curve
    values = [y for curve in series.values() for y in curve.y]
    y, beyond = value_axis(described(metric), values)
    x = Axis(place, log=any(are_log_spaced(curve.x) for curve in series.values()))
    notes = [
        *study.notes,
        *unfinished_notes(study, "drawn as far as it came"),
        *on_silent(study, logged, metric),
        *_on_unmarked(study, place),
        *_on_lengths(series, place),
        *on_few_seeds({name: len(own) for name, own in with_rows.items()}, spread),
        *beyond,
        *problems,
    ]
    title = f"{y.name.removesuffix(' (%)')} over the {place}s"
    caption = f"{capital(title)}: {means_in_words(spread, [len(own) for own in with_rows.values() if own])}."
    if any(curve.diverged for curve in series.values()):
        caption += " Marks below: where a run diverged; from there on the mean is of the others."
    return Curves(f"curves_{metric}", title, caption, [Panel("", x, y, series)], str(spread), notes=notes)


def _refuse_points(metric: str) -> None:
    name, colon, point = metric.partition(":")
    if colon:
        raise ConfigError(f"--metric {metric}: curves show every value, not that at {point}; expected {name}")
    if name.partition("/")[2].startswith("test"):
        raise ConfigError(f"--metric {metric}: a run has it once, at its end; --kind axis and --kind paired show it")


def _place_of_divergence(run: Run, place: Place) -> float | None:
    step = run.divergence.step if run.divergence else None
    if step is None or place == "step":
        return step
    return step / run.steps_per_epoch if run.steps_per_epoch else None


def _on_unmarked(study: Studied, place: Place) -> list[str]:
    fell = {arm.name: [run for run in own if run.status == "diverged"] for arm, own in study.arms}
    unknown = {name: sum(_place_of_divergence(run, place) is None for run in own) for name, own in fell.items()}
    return [
        f"{name}: {counted(count, 'run')} diverged at an unknown {place}, and not marked"
        for name, count in unknown.items()
        if count
    ]


def means_in_words(spread: Spread, counts: Sequence[int]) -> str:
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


def on_few_seeds(counts: Mapping[str, int], spread: Spread) -> list[str]:
    """Say which arms have too few seeds for a band."""
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < spread.least]
    return [f"fewer than {spread.least} seeds, and no band: {first_few(few, _SHOWN)}"] if few else []


def outcomes_at(study: Studied, point: MetricPoint) -> tuple[dict[str, Outcomes], list[str]]:
    """Return what each arm came to, seed by seed, and what is wrong with files."""
    values, problems = values_at(study.runs, [point])
    if not any(values[point][run.folder] is not None or run.status == "diverged" for run in study.runs):
        raise not_logged(point.metric, study.runs)
    stated = stated_value(point, point.direction or "up", study.runs, values[point])
    return {arm.name: outcomes(arm.name, own, point, values[point], stated) for arm, own in study.arms}, problems


def finished_in(one: Outcomes) -> int:
    """Return how many seeds finished."""
    return len(one.values) - len(one.diverged)


def paired(runs: Iterable[Run], metric: str = "accuracy/val", baseline: str | None = None) -> Differences:
    """Return what each arm has more than the baseline, seed by seed, with the mean and its 95% interval.

    A pair of which a run diverged counts with the stated value of `analysis/pairing.py`.

    Raises:
        ConfigError: no such baseline, one arm alone, or no seed that two arms share.
    """
    point, study = parse_point(metric), studied(runs)
    came_to, problems = outcomes_at(study, point)
    if baseline is not None and baseline not in came_to:
        hint = did_you_mean(baseline, came_to) or f" Arms: {first_few(list(came_to), _SHOWN)}"
        raise ConfigError(f"--baseline {baseline}: no such arm.{hint}")
    base = baseline or next(iter(came_to))
    rows, notes = _pairs(came_to, base)
    what = described_at(point)
    name = f"difference in {what.name.replace('(%)', '(points)')} to {base}"
    better = {"up": "right", "down": "left"}.get(point.direction or "")
    title = f"difference in {what.name.removesuffix(' (%)')} to {base}, paired by seed"
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


def _pairs(came_to: Mapping[str, Outcomes], base: str) -> tuple[dict[str, Paired], list[str]]:
    """Return the differences of each arm to the baseline, and notes on the seeds that are no plain values.

    Raises:
        ConfigError: no arm shares a seed with it.
    """
    rows, notes = dict[str, Paired](), list[str]()
    for name in came_to:
        if name != base:
            pairing = pair(came_to[name], came_to[base])
            notes += [note for note in pairing.notes if note not in notes]
            if pairing.seeds:
                rows[name] = _paired(pairing.seeds, pairing.differences("up"), came_to[name], came_to[base])
            else:
                notes.append(f"{name}: no seed in common with {base}, and not drawn")
    if not rows:
        alone = f"one arm alone, {base}" if len(came_to) == 1 else f"no arm shares a seed with {base}"
        raise ConfigError(f"{alone}; paired differences need two arms with the same seeds")
    return rows, notes


def _paired(seeds: Sequence[int], differences: Sequence[float], one: Outcomes, base: Outcomes) -> Paired:
    interval = mean_interval(differences) if len(differences) >= LEAST_PAIRS else None
    low, high = (interval.low, interval.high) if interval else (math.nan, math.nan)
    fell = [seed in one.diverged or seed in base.diverged for seed in seeds]
    return Paired(seeds, differences, fell, mean_of(differences), low, high)
