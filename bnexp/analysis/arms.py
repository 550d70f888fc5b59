"""Group runs into arms: the runs of one strategy, which differ in their seed and in nothing else that moves a figure.

Which keys of a config make an arm is decided in `runs/identity.py`: a run with more probes than the others, or with
other checkpoints, is still a run of the same arm, and so is one whose config writes the same network in another way.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from bnexp.config.wording import brief
from bnexp.document.writing import first_few
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.data import keys_of_data
from bnexp.runs.identity import besides_the_model, identity_of
from bnexp.runs.plugins import differing
from bnexp.runs.run import COMPLETE, Run

_LONG = 200
"""Letters of a value, such as a block, that a name is told apart by."""
_NAMES_SHOWN = 8
_STATUS_ORDER = ("finished", "diverged", "running", "interrupted", "failed", "dead", "damaged", "unknown")


@dataclass(frozen=True)
class Arm:
    """One strategy and its runs.

    Attributes:
        name: the config's name.
        config: the dotted keys that its runs share; None where the config of its only run cannot be read.
        runs: one per seed of those that are complete, and all others.
        left_out: complete runs of which a newer one has the same seed.
        data: a key of the examples that its runs have, and `scored_on` one of those they were scored on.
        pooled: the arms that were pooled into this one; none for one strategy.
    """

    name: str
    config: dict[str, Any] | None
    runs: tuple[Run, ...]
    left_out: tuple[Run, ...]
    data: str = ""
    scored_on: str = ""
    pooled: tuple["Arm", ...] = ()

    @property
    def samples(self) -> list[tuple[Run, ...]]:
        """The finished runs that make one sample each: one run, or of a pooled arm the runs of a seed.

        Of a pooled arm, only seeds that finished in all its arms are samples.
        """
        if not self.pooled:
            return [(run,) for run in self.finished]
        seeds = defaultdict[object, list[Run]](list)
        for run in self.finished:
            seeds[_sample_key(run)].append(run)
        return [tuple(runs) for runs in seeds.values() if len(runs) == len(self.pooled)]

    def sampled(self, figure: Callable[[Run], float | None]) -> list[float]:
        """Return a figure of each sample that has it in all its runs, their mean."""
        values = [[figure(run) for run in runs] for runs in self.samples]
        return [fmean(known) for own in values if len(known := [one for one in own if one is not None]) == len(own)]

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that enter means."""
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def diverged(self) -> tuple[Run, ...]:
        """The runs that ended by divergence."""
        return tuple(run for run in self.runs if run.status == "diverged")

    @property
    def unfinished(self) -> tuple[Run, ...]:
        """The runs that are not complete."""
        return tuple(run for run in self.runs if run.status not in COMPLETE)

    @property
    def parameters(self) -> int | None:
        """The number of parameters that its runs train; None where it is not known, or not the same in all."""
        counts = {run.parameters for run in self.runs} - {None}
        return counts.pop() if len(counts) == 1 else None

    @property
    def shown(self) -> tuple[Run, ...]:
        """The runs to show: the finished, else the diverged, else the one most likely to finish."""
        return self.finished or self.diverged or tuple(sorted(self.unfinished, key=_finishing_order)[:1])

    @property
    def status(self) -> str:
        """The states of its runs, such as `2 finished, 1 running`, or `diverged at step 12 in block1.linear`."""
        counts = Counter(run.status for run in self.runs)
        return ", ".join(
            (status if len(self.runs) == 1 else f"{counts[status]} {status}") + self._where(status)
            for status in _STATUS_ORDER
            if counts[status]
        )

    def _where(self, status: str) -> str:
        if status != "diverged":
            return ""
        first, *others = sorted(self.diverged, key=_step_of_divergence)
        return f"{', first' if others else ''} at {first.divergence}"


def _finishing_order(run: Run) -> tuple[int, float]:
    """Order a run in progress before interrupted and failed ones, the newest first."""
    return _STATUS_ORDER.index(run.status), -run.recency[0]


def _step_of_divergence(run: Run) -> float:
    step = run.divergence.step if run.divergence else None
    return float("inf") if step is None else step


def gather_arms(runs: Iterable[Run]) -> list[Arm]:
    """Group runs into arms, in the order of their first runs; runs on other data, or of a role, are another arm."""
    runs = list(runs)
    data, scored_on = keys_of_data(runs), keys_of_data(runs, "scored")
    groups = defaultdict[str, list[Run]](list)
    for run in runs:
        groups[json.dumps([shared_by_arm(run), data[str(run.folder)], run.role], sort_keys=True)].append(run)
    networks = defaultdict[object, list[Run]](list)
    for key, group in groups.items():
        networks[_training_of(group, data[str(group[0].folder)], "layout") or key].extend(group)
    return [
        _arm_of(group, data=data[folder], scored_on=scored_on[folder])
        for group in networks.values()
        for folder in [str(group[0].folder)]
    ]


_PLACES = ("data.path", "data.val_path")


def shared_by_arm(run: Run) -> dict[str, Any] | str:
    """Return what counts of a config, and of the processes; a run without a readable config is an arm of its own.

    The data count by what they are, and not by the paths to them.
    """
    if run.config is None:
        return str(run.folder.resolve())
    counted = identity_of(run.config, "arm", run.steps_per_epoch)
    kept = {key: value for key, value in counted.items() if key not in _PLACES}
    return {**kept, "batch.processes": run.parts}


def _training_of(
    runs: Sequence[Run], data: str, network: Literal["layout", "function"], *, named: bool = True
) -> str | None:
    """Return what identifies the training of runs that share a config, however their network is written or called.

    None where that was not recorded, as by earlier versions, or where the runs do not agree.
    """
    digests, shared = {run.network[network] for run in runs if network in run.network}, shared_by_arm(runs[0])
    if len(digests) != 1 or isinstance(shared, str):
        return None
    rest = {key: value for key, value in besides_the_model(shared).items() if named or key != "name"}
    return json.dumps([*digests, data, rest, runs[0].role], sort_keys=True)


def same_functions(arms: Sequence[Arm]) -> list[tuple[list[str], bool]]:
    """Return the names of arms that compute the same function in the same training, and whether bit for bit."""
    groups = defaultdict[str, list[Arm]](list)
    for arm in arms:
        if training := _training_of(arm.runs, arm.data, "function", named=False):
            groups[training].append(arm)
    return [
        (
            [arm.name for arm in group],
            len({_training_of(arm.runs, arm.data, "layout", named=False) for arm in group}) == 1,
        )
        for group in groups.values()
        if len(group) > 1
    ]


def _arm_of(runs: Sequence[Run], *, data: str, scored_on: str) -> Arm:
    complete = [run for run in runs if run.status in COMPLETE]
    # Two runs of one seed start from the same weights and see the same batches: they are not two samples.
    newest = {_sample_key(run): run for run in sorted(complete, key=lambda run: run.recency)}
    kept = [run for run in runs if run.status not in COMPLETE or newest[_sample_key(run)] is run]
    return Arm(
        name=runs[0].name,
        config=None if isinstance(shared := shared_by_arm(runs[0]), str) else shared,
        runs=tuple(sorted(kept, key=lambda run: _STATUS_ORDER.index(run.status) if run.status in COMPLETE else 2)),
        left_out=tuple(run for run in complete if newest[_sample_key(run)] is not run),
        data=data,
        scored_on=scored_on,
    )


def _sample_key(run: Run) -> object:
    return run.folder if run.seed is None else run.seed


def differing_keys(arms: Sequence[Arm]) -> list[str]:
    """Return the config keys in which arms differ, except `name`, in the order of the configs.

    A key that only some arms have differs too, but for the code of a norm that the others do not have. Arms without a
    readable config do not count.
    """
    configs = [arm.config for arm in arms if arm.config is not None]
    keys = dict.fromkeys(key for config in configs for key in config if key != "name")
    return [key for key in keys if len({key in config and repr(config[key]) for config in differing(key, configs)}) > 1]


def told_apart(arms: Sequence[Arm]) -> list[Arm]:
    """Return the arms with names that no other one has: to a name that several have, what sets them apart is added.

    `mlp` becomes `mlp (lr 0.1)` and `mlp (lr 0.2)`, by the first keys that tell them all apart; by their folders, where
    a config cannot be read.
    """
    named = defaultdict[str, list[Arm]](list)
    for arm in arms:
        named[arm.name].append(arm)
    keys = {name: _keys_apart(own) for name, own in named.items() if len(own) > 1}
    return [replace(arm, name=_apart(arm, keys[arm.name])) if arm.name in keys else arm for arm in arms]


def arm_of_each(runs: Iterable[Run]) -> dict[Path, str]:
    """Return the name of the arm of each run, by its folder; no other arm of these runs has it."""
    arms = told_apart(gather_arms(runs))
    return {run.folder: arm.name for arm in arms for run in (*arm.runs, *arm.left_out)}


def _keys_apart(arms: Sequence[Arm]) -> list[str]:
    """Return the first keys that tell apart all arms whose config can be read."""
    configs = [arm.config for arm in arms if arm.config is not None]
    keys, kinds = list[str](), 1
    for key in differing_keys(arms):
        if (more := _kinds(configs, [*keys, key])) > kinds:
            keys, kinds = [*keys, key], more
    return keys


def _apart(arm: Arm, keys: Sequence[str]) -> str:
    if arm.config is None:
        return f"{arm.name} ({arm.runs[0].folder})"
    said = [f"{key.rpartition('.')[2]} {written(arm.config.get(key))}" for key in keys]
    return f"{arm.name} ({', '.join(said)})" if said else arm.name


def written(value: object, most: int = _LONG) -> str:
    """Write a value of a config on one line, in so many letters at most."""
    return brief("none" if value is None else value if isinstance(value, str) else json.dumps(value), most)


def column_key(key: str) -> str:
    """Return the column of a config key: one without a section, as another version may have, is none of the figures."""
    return key if "." in key else f"config.{key}"


def no_such_baseline(name: str, names: Sequence[str]) -> ConfigError:
    """Return the error that no arm has the name of a baseline."""
    hint = did_you_mean(name, names) or f" Arms: {first_few(names, _NAMES_SHOWN)}"
    return ConfigError(f"--baseline {name}: no such arm.{hint}")


def _kinds(configs: Sequence[dict[str, Any]], keys: Sequence[str]) -> int:
    """Count how many configs some keys tell apart."""
    return len({repr([config.get(key) for key in keys]) for config in configs})
