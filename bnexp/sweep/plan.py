"""Plan a sweep: which runs it has, what the disk holds of each, and what is left to do.

A run is found again by its identity, whatever its folder is called: a sweep to which an axis was added, or whose axes
were put in another order, knows the runs that it has.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bnexp.blueprint import Blueprint, draw
from bnexp.config.data_section import DatasetInfo
from bnexp.config.yaml_text import dotted
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError
from bnexp.runs.claim import run_folder
from bnexp.runs.find import runs_below
from bnexp.runs.identity import besides_the_model, identity_of, network_of
from bnexp.runs.run import COMPLETE, Run, read_run
from bnexp.sweep.arms import Arm
from bnexp.sweep.work import Mode, Task

MISSING = "missing"
TUNING = "tuning"
"""The role of a run that only serves to choose values, and the folder of these runs."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep.

    Attributes:
        key: names it: its folder below that of the sweep.
        status: `missing`, or that of the run on the disk, as `runs.run.Run` has it.
        stored: the run on the disk.
    """

    arm: Arm
    seed: int
    folder: Path
    key: str
    status: str
    blueprint: Blueprint
    stored: Run | None = None
    role: str | None = None

    @property
    def mode(self) -> Mode | None:
        """What is to do: nothing where it came to its end, or where a process trains it now."""
        if self.status == MISSING:
            return "start"
        return None if self.status in (*COMPLETE, "running") else "resume"


class Stored:
    """The runs below the folder of a sweep, by their identity and seed.

    Args:
        folder: of the sweep, or of its tuning runs.
        role: of the runs to look at; those of another are passed over.
    """

    def __init__(self, folder: Path, role: str | None = None) -> None:
        self._runs = defaultdict[tuple[str, int | None], list[Run]](list)
        self._arms: dict[str, str] = {}
        self.taken = set[Path]()
        for place in runs_below(folder):
            run = read_run(place)
            self.taken.add(place)
            if run.config is not None and run.role == role:
                for identity in identities(run.config, run.network.get("layout")):
                    self._runs[identity, run.seed].append(run)
                    self._arms.setdefault(identity, place.parent.name)

    def find(self, identity: str, seed: int) -> Run | None:
        """Return the run of an identity and seed: a complete one, else the newest."""
        runs = self._runs.get((identity, seed), [])
        complete = [run for run in runs if run.status in COMPLETE]
        return max(complete or runs, key=lambda run: run.recency, default=None)

    def name_of(self, identity: str) -> str | None:
        """Return the name of the folder in which runs of an arm lie, if there are any."""
        return self._arms.get(identity)


def identities(config: Mapping[str, Any], layout: str | None) -> list[str]:
    """Return what identifies the arm of a config, whatever it is called: its values; and its network as it is built."""
    counted = identity_of({key: value for key, value in config.items() if key != "name"}, "arm")
    built = [[besides_the_model(counted), layout]] if layout else []
    return [json.dumps(one, sort_keys=True, default=str) for one in (*built, counted)]


class Drafts:
    """Draws the blueprints of arms; the facts of a dataset are worked out once for all arms that have it."""

    def __init__(self, data_dir: Path | None) -> None:
        self._data_dir = data_folder(data_dir)
        self._facts: dict[str, DatasetInfo] = {}

    def draw(self, arm: Arm) -> Blueprint:
        """Return the blueprint of an arm. Raises as `blueprint.draw`."""
        section = arm.config.data.model_dump_json()
        blueprint = draw(arm.config, self._data_dir, self._facts.get(section))
        self._facts[section] = blueprint.info
        return blueprint

    def draw_all(self, arms: Sequence[Arm]) -> tuple[list[Blueprint], dict[str, list[str]]]:
        """Return the blueprints of arms, and instead of those that are refused the reasons, with the arms of each."""
        blueprints, refused = [], defaultdict[str, list[str]](list)
        for arm in arms:
            try:
                blueprints.append(self.draw(arm))
            except BnexpError as error:
                refused[str(error)].append(arm.name)
        return blueprints, dict(refused)


def plan_runs(
    arms: Sequence[Arm], blueprints: Sequence[Blueprint], seeds: Sequence[int], folder: Path, role: str | None = None
) -> list[PlannedRun]:
    """Return the runs of some arms with what the disk holds of them, seed by seed: all arms come early to a first run.

    Args:
        arms: the arms, and `blueprints` theirs.
        blueprints: one an arm.
        seeds: of every arm.
        folder: of the sweep, or of its tuning runs; an arm is a folder below it.
        role: of the runs.
    """
    stored = Stored(folder, role)
    drafted = [_named_as_stored(arm, blueprint, stored) for arm, blueprint in zip(arms, blueprints, strict=True)]
    return [
        _planned(arm, blueprint.with_seed(seed), identity, folder, stored, role)
        for seed in seeds
        for arm, blueprint, identity in drafted
    ]


def _named_as_stored(arm: Arm, blueprint: Blueprint, stored: Stored) -> tuple[Arm, Blueprint, list[str]]:
    """Return an arm with its identities, under the name of the folder where it has runs already."""
    config = dict(dotted(blueprint.config.model_dump(mode="json", exclude_none=True)))
    layout = network_of(blueprint.layout, blueprint.config.data.batch_size)["layout"]
    own = identities(config, layout)
    name = next(filter(None, map(stored.name_of, own)), arm.name)
    if name != arm.name:
        arm = replace(arm, name=name, config=arm.config.model_copy(update={"name": name}))
        blueprint = replace(blueprint, config=blueprint.config.model_copy(update={"name": name}))
    return arm, blueprint, own


def _planned(
    arm: Arm, blueprint: Blueprint, identity: Iterable[str], folder: Path, stored: Stored, role: str | None
) -> PlannedRun:
    seed = blueprint.config.seed
    run = next(filter(None, (stored.find(one, seed) for one in identity)), None)
    place = run.folder if run else _free(folder / arm.name, seed, stored)
    parts = [*([role] if role else []), *place.relative_to(folder).parts]
    status = run.status if run else MISSING
    return PlannedRun(arm, seed, place, "/".join(parts), status, blueprint, run, role)


def _free(parent: Path, seed: int, stored: Stored) -> Path:
    """Return the first folder of a seed that no run has; runs of another identity may lie there."""
    number = 1
    while (folder := run_folder(parent, seed, number)) in stored.taken:
        number += 1
    return folder


def tasks_of(runs: Iterable[PlannedRun], **terms: Any) -> Iterator[Task]:
    """Yield a task for each run that is to do; `terms` are the other fields of a task."""
    for run in runs:
        if run.mode is not None:
            yield Task(run.key, run.blueprint, run.folder, run.mode, role=run.role, **terms)
