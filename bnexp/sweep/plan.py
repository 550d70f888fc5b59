"""Plan a sweep: which runs it has, what the disk holds of each, and what is left to do.

A run is found again by its identity, whatever its folder is called: a sweep to which an axis was added, or whose axes
were put in another order, knows the runs that it has.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bnexp.analysis.claims import Claim
from bnexp.analysis.statistics import LEAST_PAIRS
from bnexp.blueprint import Blueprint, draw
from bnexp.config.data_section import DatasetInfo
from bnexp.config.nested import dotted
from bnexp.config.sweep_file import TUNING
from bnexp.config.sweep_loading import Sweep
from bnexp.data.sources.place import data_folder
from bnexp.document.writing import counted
from bnexp.errors import BnexpError, ConfigError
from bnexp.runs.claim import run_folder
from bnexp.runs.find import runs_below
from bnexp.runs.folder import checkpoints_by_step
from bnexp.runs.identity import besides_the_model, identity_of, network_of
from bnexp.runs.lengthening import LENGTH, can_lengthen, why_fixed
from bnexp.runs.own_lock import holder_here
from bnexp.runs.plugins import keys_of, sources_of
from bnexp.runs.run import COMPLETE, DAMAGED, UNKNOWN, Run, read_run
from bnexp.sweep.arms import Arm, claims_of, expand, told_together
from bnexp.sweep.tuning import Choice, choose
from bnexp.sweep.work import Ended, Mode, Task

COPY = "sweep.yaml"
"""The sweep as it was last asked for, in its folder."""
MISSING, SHORTER = "missing", "shorter"
"""Beyond the statuses of a run on the disk: there is none; it is of fewer steps than are asked for."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep.

    Attributes:
        key: names it: its folder below that of the sweep.
        arm_name: the arm's name in the sweep; that of `arm` is the one of the folder where it has runs already.
        status: `missing`, `shorter`, or that of the run on the disk, as `runs.run.Run` has it.
        stored: the run on the disk.
        note: why a run on the disk that came to its end earlier is not made longer.
    """

    arm: Arm
    arm_name: str
    seed: int
    folder: Path
    key: str
    status: str
    blueprint: Blueprint
    stored: Run | None = None
    role: str | None = None
    note: str | None = None

    @property
    def mode(self) -> Mode | None:
        """What is to do: nothing where it came to its end, or where a process trains it now."""
        if self.status == MISSING:
            return "start"
        if self.status == SHORTER:
            return "lengthen"
        return None if self.status in (*COMPLETE, "running") else "resume"


class Stored:
    """The runs below the folder of a sweep, by their identity and seed.

    Args:
        folder: of the sweep, or of its tuning runs.
        role: of the runs to look at; those of another, which somebody moved here, are passed over.
    """

    def __init__(self, folder: Path, role: str | None = None) -> None:
        self.folder, self.role = folder, role
        self._runs = defaultdict[tuple[str, int | None], list[Run]](list)
        self._of_a_length = defaultdict[tuple[str, int | None], list[Run]](list)
        self._arms: dict[str, str] = {}
        self.taken = set[Path]()
        for place in runs_below(folder):
            if place.parent.parent != folder:  # of something else of this name, or of the tuning
                continue
            run = read_run(place)
            self.taken.add(place)
            if run.config is not None and run.role in (role, None):  # None: it was killed before it could say so
                for identity in identities(run.config, run.network.get("layout")):
                    self._runs[identity, run.seed].append(run)
                    self._arms.setdefault(identity, place.parent.name)
                if run.status not in ("running", UNKNOWN, DAMAGED):
                    for identity in identities(run.config, run.network.get("layout"), length=False):
                        self._of_a_length[identity, run.seed].append(run)
                        self._arms.setdefault(identity, place.parent.name)

    def find(self, identity: str, seed: int) -> Run | None:
        """Return the run of an identity and seed: a complete one, else the newest."""
        runs = self._runs.get((identity, seed), [])
        complete = [run for run in runs if run.status in COMPLETE]
        return max(complete or runs, key=lambda run: run.recency, default=None)

    def find_shorter(self, identity: str, blueprint: Blueprint) -> Run | None:
        """Return the longest run of an identity without length of fewer steps than a blueprint, best one that ended."""
        asked = blueprint.plan.total_steps
        runs = self._of_a_length.get((identity, blueprint.config.seed), [])
        shorter = [run for run in runs if run.total_steps is not None and run.total_steps < asked]
        return max(shorter, key=lambda run: (run.status in COMPLETE, run.total_steps or 0, run.recency), default=None)

    def name_of(self, identity: str) -> str | None:
        """Return the name of the folder in which runs of an arm lie, if there are any."""
        return self._arms.get(identity)


def identities(config: Mapping[str, Any], layout: str | None, *, length: bool = True) -> list[str]:
    """Return what identifies the arm of a config, whatever it is called: its values; and its network as it is built.

    Without `length`, arms that differ in how long they are trained are one.
    """
    left_out = ("name",) if length else ("name", *LENGTH)
    counted = identity_of({key: value for key, value in config.items() if key not in left_out}, "arm")
    built = [[besides_the_model(counted), layout]] if layout else []
    return [json.dumps(one, sort_keys=True, default=str) for one in (*built, counted)]


def plan_runs(
    arms: Sequence[Arm], blueprints: Sequence[Blueprint], seeds: Sequence[int], stored: Stored
) -> list[PlannedRun]:
    """Return the runs of some arms with what the disk holds of them, seed by seed: all arms come early to a first run.

    Args:
        arms: the arms, and `blueprints` theirs.
        blueprints: one an arm.
        seeds: of every arm.
        stored: what the disk holds.
    """
    drafted = [_drafted(arm, blueprint, stored) for arm, blueprint in zip(arms, blueprints, strict=True)]
    return [_planned(draft, seed, stored) for seed in seeds for draft in drafted]


class _Draft(NamedTuple):
    """An arm under the name of the folder where it has runs already, and what these are known by."""

    arm: Arm
    arm_name: str
    blueprint: Blueprint
    own: Sequence[str]
    whatever_length: Sequence[str]


def _drafted(arm: Arm, blueprint: Blueprint, stored: Stored) -> _Draft:
    if arm.candidates:  # while its values are not chosen, no run on the disk is known to be its own
        return _Draft(arm, arm.name, blueprint, [], [])
    code = keys_of(sources_of(blueprint.config))
    config = {**dict(dotted(blueprint.config.model_dump(mode="json", exclude_none=True))), **code}
    layout = network_of(blueprint.layout, blueprint.config.data.batch_size)["layout"]
    own = identities(config, layout)
    # Arms of several lengths are arms, and no former state of each other.
    is_arm = any(key in arm.values for key in ("training", *LENGTH))
    others = [] if is_arm else identities(config, layout, length=False)
    known_by = own if why_fixed(blueprint.config) else (*own, *others)
    name = next(filter(None, map(stored.name_of, known_by)), arm.name)
    arm_name = arm.name
    if name != arm.name:
        arm = replace(arm, name=name, config=arm.config.model_copy(update={"name": name}))
        blueprint = replace(blueprint, config=blueprint.config.model_copy(update={"name": name}))
    return _Draft(arm, arm_name, blueprint, own, others)


def _planned(draft: _Draft, seed: int, stored: Stored) -> PlannedRun:
    folder, role = stored.folder, stored.role
    blueprint = draft.blueprint.with_seed(seed)
    run = next(filter(None, (stored.find(one, seed) for one in draft.own)), None)
    status, note = run.status if run else MISSING, None
    if run is None:
        ended = next(filter(None, (stored.find_shorter(one, blueprint) for one in draft.whatever_length)), None)
        if ended is not None and (note := _why_not_longer(ended, blueprint)) is None:
            run, status = ended, SHORTER
    if run is not None and (choice := draft.arm.chosen):  # when it was trained, perhaps of fewer candidates
        run = replace(run, chosen=choice["values"], candidates=choice["candidates"])
    place = run.folder if run else _free(folder / draft.arm.name, seed, stored)
    key = "/".join([*([role] if role else []), *place.relative_to(folder).parts])
    return PlannedRun(draft.arm, draft.arm_name, seed, place, key, status, blueprint, run, role, note)


def _why_not_longer(run: Run, blueprint: Blueprint) -> str | None:
    """Say why a shorter run is not made as long as a blueprint, and what to type; None where it can be."""
    config, plan = blueprint.config, blueprint.plan
    before = f"{run.total_steps:,}" if run.total_steps else "fewer"
    is_not = f"runs of {before} steps are not made longer, to {plan.total_steps:,}"
    beside = "new ones begin beside them, which --name NAME keeps apart"
    if why := why_fixed(config):
        return f"{is_not}: {why}; {beside}. Schedules constant and step can be lengthened"
    with contextlib.suppress(OSError):
        steps = checkpoints_by_step(run.folder)
        if can_lengthen(steps, run.total_steps or 0, plan, config.training.log_every):
            return None
    return f"{is_not}: no checkpoint is left that a longer training comes through; {beside}"


def _free(parent: Path, seed: int, stored: Stored) -> Path:
    """Return the first folder of a seed that no run has; runs of another identity may lie there."""
    number = 1
    while (folder := run_folder(parent, seed, number)) in stored.taken:
        number += 1
    return folder


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep.

    Attributes:
        folder: of the sweep; each arm is a folder below it.
        runs: the final runs. Where the values of an arm are not chosen yet, those of the base stand in for them,
            and its runs count as missing.
        tuning: the runs that only serve to choose.
        choices: the values that arms got, by the arm's name.
        warnings: what gives reason to doubt, each with the names of the arms that it is about; `notes` alike.
        seconds: that the sweep may take.
        tuned_for: the arm in whose place each candidate stands, by their names.
        claims: what the runs are to show.
    """

    folder: Path
    runs: tuple[PlannedRun, ...]
    tuning: tuple[PlannedRun, ...] = ()
    choices: Mapping[str, Choice] = field(default_factory=dict)
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float | None = None
    tuned_for: Mapping[str, str] = field(default_factory=dict)
    claims: Sequence[Claim] = ()

    def part(self, number: int, count: int) -> "SweepPlan":
        """Return one of `count` parts, from 1 on: runs take turns, or whole arms where those are tuned."""
        arms = list(dict.fromkeys(run.arm_name for run in self.runs))
        own = set(arms[number - 1 :: count])
        runs = self.runs[number - 1 :: count]
        if self.tuned_for:
            runs = tuple(run for run in self.runs if run.arm_name in own)
        tuning = tuple(run for run in self.tuning if self.tuned_for[run.arm_name] in own)
        return replace(self, runs=runs, tuning=tuning)

    def by_arm(self) -> "SweepPlan":
        """Return the plan with the runs of each arm one after the other, as they are stacked."""
        arms = dict.fromkeys(run.arm_name for run in self.all_runs)
        ranks = {name: rank for rank, name in enumerate(arms)}
        tuning, runs = (sorted(part, key=lambda run: ranks[run.arm_name]) for part in (self.tuning, self.runs))
        return replace(self, runs=tuple(runs), tuning=tuple(tuning))

    def waits(self, run: PlannedRun) -> bool:
        """Tell whether a run cannot begin before its arm is tuned."""
        return run.role is None and bool(run.arm.candidates)

    def runs_by_arm(self) -> dict[str, list[Run]]:
        """Return what the disk holds of each arm's final runs, by its name in the sweep; none that are too short."""
        arms: dict[str, list[Run]] = {run.arm_name: [] for run in self.runs}
        for run in self.runs:
            if run.stored is not None and run.status != SHORTER and not self.waits(run):
                arms[run.arm_name].append(run.stored)
        return arms

    @property
    def notes(self) -> dict[str, list[str]]:
        """Why runs are not made longer, each with the names of their arms."""
        about = defaultdict[str, dict[str, None]](dict)
        for run in self.all_runs:
            if run.note is not None:
                about[run.note][run.arm.name] = None
        return {note: list(arms) for note, arms in about.items()}

    @property
    def all_runs(self) -> list[PlannedRun]:
        """All runs, the tuning first."""
        return [*self.tuning, *self.runs]

    @property
    def held(self) -> list[PlannedRun]:
        """The runs that other processes of this machine train now; they are taken over where those end before."""
        return [run for run in self.all_runs if run.status == "running" and holder_here(run.folder) is not None]

    @property
    def to_do(self) -> list[PlannedRun]:
        """The runs that are left to do, the tuning first."""
        return [run for run in self.all_runs if run.mode is not None]


class Planner:
    """Plans a sweep, and what follows when runs have ended.

    Args:
        sweep: what was asked for.
        runs_dir: of all runs; the sweep has a folder below it.
        data_dir: where datasets lie.
    """

    def __init__(self, sweep: Sweep, runs_dir: Path, data_dir: Path | None) -> None:
        self._sweep, self._folder = sweep, runs_dir / sweep.name
        self._data_dir = data_folder(data_dir)
        self._stored: Stored
        self._facts: dict[str, DatasetInfo] = {}

    def plan(self) -> SweepPlan:
        """Return the plan: nothing is written.

        Raises:
            ConfigError: the sweep, or an arm of it, is refused; with all mistakes of all arms.
        """
        arms = expand(self._sweep)
        self._stored = Stored(self._folder)
        drawn = self._draw_all([one for arm in arms for one in (arm.candidates or (arm,))])
        candidates = [one for arm in arms for one in arm.candidates]
        tuning = plan_runs(
            candidates,
            [drawn[one.name] for one in candidates],
            self._sweep.tuning_seeds,
            Stored(self._folder / TUNING, TUNING),
        )
        choices = {arm.name: choice for arm in arms if arm.candidates and (choice := self.choose(arm, tuning))}
        finals = [choices[arm.name].arm if arm.name in choices else arm for arm in arms]
        runs = plan_runs(
            finals,
            [drawn[arm.name] if arm.name in drawn else self._draw(arm) for arm in finals],
            self._sweep.seeds,
            self._stored,
        )
        minutes = self._sweep.file.budget.minutes
        return SweepPlan(
            self._folder,
            tuple(runs),
            tuple(tuning),
            choices,
            {**_gathered(drawn), **self._on_claims(arms)},
            minutes and 60 * minutes,
            {candidate.name: arm.name for arm in arms for candidate in arm.candidates},
            claims_of(self._sweep, arms),
        )

    def _on_claims(self, arms: Sequence[Arm]) -> dict[str, list[str]]:
        """Warn where claims are to be judged by too few seeds, as `SweepPlan.warnings` has it."""
        count = len(self._sweep.seeds)
        if not self._sweep.file.claims or count >= LEAST_PAIRS:
            return {}
        too_few = f"{counted(count, 'seed')}, and fewer than {LEAST_PAIRS} decide no claim; expected such as seeds: 5"
        return {too_few: [arm.name for arm in arms]}

    def choose(self, arm: Arm, tuning: Iterable[PlannedRun]) -> Choice | None:
        """Choose the values of an arm by what the disk now holds of its tuning runs; None where some are not done."""
        own = {candidate.name for candidate in arm.candidates}
        runs = defaultdict[str, list[Run]](list)
        for run in tuning:
            if run.arm_name in own:
                stored = read_run(run.folder)
                if run.status == SHORTER and stored.total_steps != run.blueprint.plan.total_steps:
                    return None  # it ended, but is not as long yet as it is asked for
                runs[run.arm_name].append(stored)
        return choose(arm, list(self._sweep.file.tune), runs)

    def final_runs(self, choice: Choice) -> list[PlannedRun]:
        """Return the runs of an arm that has just got its values; the disk is as it was when the sweep was planned."""
        return plan_runs([choice.arm], [self._draw(choice.arm)], self._sweep.seeds, self._stored)

    def _draw(self, arm: Arm) -> Blueprint:
        """Return the blueprint of an arm; the facts of a dataset are worked out once for all arms that have it."""
        section = arm.config.data.model_dump_json()
        blueprint = draw(arm.config, self._data_dir, self._facts.get(section))
        self._facts[section] = blueprint.info
        return blueprint

    def _draw_all(self, arms: Sequence[Arm]) -> dict[str, Blueprint]:
        """Return the blueprints of arms by their names, or refuse with the mistakes of all."""
        drawn, mistakes = dict[str, Blueprint](), dict[str, str]()
        for arm in arms:
            try:
                drawn[arm.name] = self._draw(arm)
            except BnexpError as error:
                mistakes[arm.name] = arm.told(str(error))
        if mistakes:
            raise ConfigError(told_together(mistakes, len(arms)))
        return drawn


def _gathered(drawn: Mapping[str, Blueprint]) -> dict[str, list[str]]:
    """Return each warning with the names of the arms that it is about."""
    about = defaultdict[str, list[str]](list)
    for name, blueprint in drawn.items():
        for warning in blueprint.warnings:
            about[warning].append(name)
    return dict(about)


class SweepTasks:
    """Gives the tasks of a plan to the loop: tuning first, and the final runs of an arm when its values are chosen.

    Args:
        planner: that made the plan.
        plan: the runs to do.
        chosen: is called with each choice and the runs that follow from it.
        task: makes the task of a run that is to do.
    """

    def __init__(
        self,
        planner: Planner,
        plan: SweepPlan,
        chosen: Callable[[Choice, Sequence[PlannedRun]], None],
        task: Callable[[PlannedRun], Task],
    ) -> None:
        self._planner, self._plan, self._chosen, self._task = planner, plan, chosen, task
        self._waiting = {run.arm_name: run.arm for run in plan.runs if plan.waits(run)}
        self._tuned_for = {run.key: plan.tuned_for[run.arm_name] for run in plan.tuning}
        self._ready = [*(run for run in plan.to_do if not plan.waits(run)), *plan.held]

    @property
    def known(self) -> list[PlannedRun]:
        """The runs that are to do and can begin, and at last those that other processes have."""
        return list(self._ready)

    @property
    def to_come(self) -> int:
        """How many runs wait for the values of their arm."""
        return sum(map(self._plan.waits, self._plan.runs))

    def ready(self) -> list[Task]:
        """Return the tasks that can begin now, each once."""
        runs, self._ready = self._ready, []
        return [self._task(run) for run in runs]

    def ended(self, event: Ended) -> None:
        """Take note of a task's end; with the last of an arm's tuning, its final runs are ready."""
        name = self._tuned_for.get(event.key, "")
        arm = self._waiting.get(name)
        if arm is not None and (choice := self._planner.choose(arm, self._plan.tuning)):
            del self._waiting[name]
            runs = [run for run in self._planner.final_runs(choice) if run.status not in COMPLETE]
            self._chosen(choice, runs)
            self._ready += runs
