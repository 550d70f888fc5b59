"""Tell apart runs that share a name and not a config: `--set` makes seed0-2 of one norm beside seed0 of another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.config.nested import dotted
from bnexp.config.wording import brief, shown
from bnexp.document.writing import first_few
from bnexp.runs.find import runs_below
from bnexp.runs.identity import identity_of
from bnexp.runs.plugins import differing, keys_of, sources_of
from bnexp.runs.run import Run, read_run

if TYPE_CHECKING:
    from bnexp.config.schema import Config

_MOST_READ = 20
"""Newest runs that a new run is compared with."""
_MOST_KEYS = 3


def others_of_its_name(config: "Config", steps_per_epoch: int, runs_dir: Path) -> list[str]:
    """Return a note where the newest run of this name has another strategy: the keys that differ, and both values.

    A second one names the arms in the folder of its name, such as those of a sweep. `steps_per_epoch` is that of the
    config's plan.
    """
    values = {**dict(dotted(config.model_dump(mode="json", exclude_none=True))), **keys_of(sources_of(config))}
    own = identity_of(values, "arm", steps_per_epoch)
    named = runs_dir / config.name
    folders = list(runs_below(named))
    arms = list(dict.fromkeys(folder.parent.name for folder in folders if folder.parent != named))
    also = f"{named} also holds runs of {first_few(arms, _MOST_KEYS)}"
    notes = [f"{also}: compare lists this one with them; --name keeps it apart"] if arms else []
    runs = [read_run(folder) for folder in folders if folder.parent == named]
    for run in sorted(runs, key=lambda run: run.recency, reverse=True)[:_MOST_READ]:
        theirs = identity_of(run.config or own, "arm", run.steps_per_epoch)
        if keys := _differing([theirs, own]):
            has = f"{run.folder} has {_written(keys, theirs)}, this run has {_written(keys, own)}"
            return [f"{has}: both are named {config.name}; --name tells them apart", *notes]
    return notes


def differences(runs: Sequence[Run]) -> dict[Path, str]:
    """Return, by folder, the values of each run in the keys in which the runs of its name differ, as `lr=0.1, norm=bn`.

    Names whose runs all agree are left out, and so are runs without a readable config.
    """
    by_name: dict[Path, list[Run]] = {}
    for run in runs:
        if run.config is not None:
            by_name.setdefault(run.folder.parent, []).append(run)
    by_folder: dict[Path, str] = {}
    for named in by_name.values():
        counted = {run.folder: identity_of(run.config or {}, "arm", run.steps_per_epoch) for run in named}
        if keys := _differing(list(counted.values())):
            by_folder |= {folder: _written(keys, config) for folder, config in counted.items()}
    return by_folder


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for config in configs for key in config)
    having = {key: differing(key, configs) for key in keys}
    written = [key for key in keys if len({repr(config.get(key)) for config in having[key]}) > 1]  # 1.0 is not 1
    return [key for key in written if len({shown(config.get(key)) for config in configs}) > 1]


def _written(keys: Sequence[str], config: Mapping[str, Any]) -> str:
    last = [key.rpartition(".")[2] for key in keys]
    names = [word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)]
    parts = [f"{name}={_value(config.get(key))}" for name, key in zip(names, keys, strict=True)][:_MOST_KEYS]
    return ", ".join([*parts, *(["..."] if len(keys) > _MOST_KEYS else [])])


def _value(value: object) -> str:
    return brief(value if isinstance(value, str) else "default" if value is None else shown(value), 40)
