"""Choose which runs a comparison is of, and pool arms: tuning runs, `--where` and `--group-by`."""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from bnexp.analysis.arms import Arm, written
from bnexp.document.writing import counted, first_few, span
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.run import Run

_MOST_VALUES = 6


def without_tuning(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Return runs without those that only served to choose values, and a note of how many; all where all did."""
    runs = list(runs)
    tuning = [run for run in runs if run.role is not None]
    if not tuning or len(tuning) == len(runs):
        return runs, []
    places = dict.fromkeys(str(run.folder.parent.parent) for run in tuning)
    shown = first_few([f"bnexp compare {shlex.quote(place)}" for place in places], 3)
    note = f"{counted(len(tuning), 'run')} left out that only served to tune, on seeds of their own: {shown}"
    return [run for run in runs if run.role is None], [note]


def where(runs: Sequence[Run], conditions: Sequence[str]) -> tuple[list[Run], list[str]]:
    """Return the runs whose configs fulfil all conditions, and a note on those that cannot tell.

    Args:
        runs: to choose from.
        conditions: such as `model.norm=bn`, or `norm=bn,ln` for either; the key may be its last part.

    Raises:
        ConfigError: no key, a key that no run has, or a condition that leaves no run.
    """
    unread = [run for run in runs if run.config is None]
    kept = [run for run in runs if run.config is not None]
    for condition in conditions:
        name, equals, text = condition.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--where {condition}: expected KEY=VALUE, such as model.norm=bn")
        key = config_key(name.strip(), runs, f"--where {condition}")
        values = [(run.config or {}).get(key) for run in kept]
        text = text.strip()
        wanted = [text] if any(_is(value, text) for value in values) else [one.strip() for one in text.split(",")]
        if missing := [one for one in wanted if not any(_is(value, one) for value in values)]:
            raise ConfigError(
                f"--where {condition}: no run{_so_far(conditions, condition)} has {key}={missing[0]}. "
                f"Values here: {_tally(values)}"
            )
        kept = [run for run, value in zip(kept, values, strict=True) if any(_is(value, one) for one in wanted)]
    if not conditions or not unread:
        return kept if conditions else list(runs), []
    few = first_few([str(run.folder) for run in unread], 2)
    return kept, [f"{counted(len(unread), 'run')} left out whose config cannot be read: {few}"]


def config_key(name: str, runs: Sequence[Run], option: str) -> str:
    """Return the key of the configs of some runs that a person calls `name`: the key, or its last part.

    Raises:
        ConfigError: no run has such a key, or several keys end so.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.config or {}))
    if name in keys:
        return name
    endings = [key for key in keys if key.rpartition(".")[2] == name]
    if len(endings) > 1:
        raise ConfigError(f"{option}: {len(endings)} keys end in {name}: {', '.join(endings)}; choose one of them")
    if not endings:
        hint = did_you_mean(name, keys) or did_you_mean(name, [key.rpartition(".")[2] for key in keys])
        raise ConfigError(f"{option}: no run has a key {name} in its config.{hint}")
    return endings[0]


def pool(arms: Sequence[Arm], keys: Sequence[str]) -> tuple[list[Arm], list[str]]:
    """Pool the arms that have the same values of some config keys, on the same data; returns notes on what was pooled.

    A pooled arm keeps all runs. Its samples are seeds: that of a seed is the mean over the pooled arms, so that no arm
    counts for more than another. Keys in which the pooled arms differ hold all their values.
    """
    groups = defaultdict[str, list[Arm]](list)
    for arm in arms:
        own = [(arm.config or {}).get(key) for key in keys] if arm.config is not None else str(arm.runs[0].folder)
        groups[json.dumps([own, arm.data, arm.scored_on, arm.runs[0].role], sort_keys=True)].append(arm)
    pooled = [_pooled(group, keys) for group in groups.values()]
    return pooled, [_on_pool(pooled, arms, keys)]


def _pooled(arms: Sequence[Arm], keys: Sequence[str]) -> Arm:
    if arms[0].config is None:
        return arms[0]
    configs = [arm.config or {} for arm in arms]
    config: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in configs for key in one if key != "name"):
        values = list({repr(one.get(key)): one.get(key) for one in configs}.values())
        config[key] = values[0] if len(values) == 1 else " | ".join(sorted(map(written, values), key=_by_number))
    return Arm(
        name=",".join(f"{key.rpartition('.')[2]}={written(configs[0].get(key))}" for key in keys),
        config=config,
        runs=tuple(run for arm in arms for run in arm.runs),
        left_out=tuple(run for arm in arms for run in arm.left_out),
        data=arms[0].data,
        scored_on=arms[0].scored_on,
        pooled=tuple(arms),
    )


def _on_pool(pooled: Sequence[Arm], arms: Sequence[Arm], keys: Sequence[str]) -> str:
    counts = [len(arm.pooled) or 1 for arm in pooled]
    how = f"grouped by {', '.join(keys)}: a row pools {span(counts)} of {counted(len(arms), 'arm')}"
    if max(counts) == 1:
        return f"{how}: there is nothing to pool"
    value = "the value of a seed is its mean over the pooled arms, and enters where it finished in all of them"
    return f"{how}; n counts seeds: {value}"


def _is(value: object, text: str) -> bool:
    """Tell whether a value of a config is the one that a person wrote."""
    if value is None or isinstance(value, bool):
        return text.lower() in ({None: ("none", "null", ""), True: ("true",), False: ("false",)}[value])
    if isinstance(value, str):
        return value == text
    if isinstance(value, int | float):
        with suppress(ValueError):
            return float(text) == float(value)
        return False
    return json.dumps(value, separators=(",", ":")) == text.replace(" ", "")


def _so_far(conditions: Sequence[str], condition: str) -> str:
    before = conditions[: list(conditions).index(condition)]
    return f" with {' and '.join(before)}" if before else ""


def _tally(values: Sequence[object]) -> str:
    """Return the values that occur, with how many runs have each."""
    counts = Counter(map(written, values))
    said = [f"{text} ({counted(counts[text], 'run')})" for text in sorted(counts, key=_by_number)]
    return first_few(said, _MOST_VALUES) or "none"


def _by_number(text: str) -> tuple[bool, float, str]:
    with suppress(ValueError):
        return False, float(text), text
    return True, 0.0, text
