"""`bnexp sweep`: many runs at one command, of which only those that are left are done."""

import contextlib
import itertools
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.analysis.compare import compare_runs
from bnexp.config.sweep_loading import Sweep, dump_sweep, load_sweep, sweep_of_options
from bnexp.document.show import show
from bnexp.document.writing import at_most, counted, first_few
from bnexp.errors import BnexpError, Interrupted, visible_lines
from bnexp.files import write_text_atomically
from bnexp.runs.find import runs_below
from bnexp.runs.run import read_run
from bnexp.session.display import say
from bnexp.sweep.display import display_for
from bnexp.sweep.estimate import Division, division_of
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.plan import PlannedRun, Planner, SweepPlan, SweepTasks
from bnexp.sweep.running import Outcome, Rules, carry_out
from bnexp.sweep.standing import Standing
from bnexp.sweep.tuning import Choice
from bnexp.sweep.work import Task

COPY = "sweep.yaml"
"""The sweep as it was last asked for, in its folder."""
_MOST_CHOICES = 20
"""Arms whose choice of values is told below the table."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, beside the sweep: see `bnexp sweep --help`."""

    runs_dir: Path = Path("runs")
    data_dir: Path | None = None
    device: str = "auto"
    workers: int | None = None  # as many as are fastest
    retries: int = 0
    fail_fast: bool = False
    shard: tuple[int, int] | None = None  # the number of this part, and how many there are
    quiet: bool = False


def read_sweep(path: Path, axes: Sequence[str], seeds: str | None, overrides: Sequence[str], name: str | None) -> Sweep:
    """Return the sweep of a file, or of a config with `--axis`."""
    if axes:
        return sweep_of_options(path, axes, seeds, overrides, name)
    return load_sweep(path, seeds=seeds, overrides=overrides, name=name)


def sweep(
    path: Path,
    asked: Asked,
    *,
    axes: Sequence[str] = (),
    seeds: str | None = None,
    overrides: Sequence[str] = (),
    name: str | None = None,
    save: Path | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Do what is left of a sweep, and print what came out; with `dry_run` say what that is.

    Raises:
        ConfigError: the sweep or an arm of it is wrong; nothing was written.
        Interrupted: by Ctrl-C or a signal; the same command continues.
        BnexpError: runs failed, after all others had their turn.
    """
    asked_for = read_sweep(path, axes, seeds, overrides, name)
    planner = Planner(asked_for, asked.runs_dir, asked.data_dir)
    plan = planner.plan()
    if save is not None:
        write_text_atomically(save, dump_sweep(asked_for, save))
    if dry_run:
        tell_plan(asked_for, plan, as_json=as_json)
        return
    if not asked.quiet:
        _tell_warnings(plan)
    choices = dict(plan.choices)
    outcome = _do(asked_for, planner, plan, asked, choices)
    runs = [read_run(path) for path in runs_below(plan.folder)]
    if any(run.role is None for run in runs):
        chosen = at_most([choice.text for choice in choices.values()], _MOST_CHOICES, "such choices")
        table = compare_runs(runs, keys=list(asked_for.file.tune), notes=chosen)
        show(table, "json" if as_json else "table")
    _conclude(outcome, plan)


def _do(asked_for: Sweep, planner: Planner, plan: SweepPlan, asked: Asked, choices: dict[str, Choice]) -> Outcome:
    """Do what is left of a sweep, here or in the part of it that was asked for, and add the choices that are made."""
    division = Division(1, 1)
    devices = itertools.count()

    def task_of(run: PlannedRun) -> Task:
        device = None if asked.device == "auto" else asked.device
        if division.gpus > 1 and device in (None, "cuda"):
            device = f"cuda:{next(devices) % division.gpus}"
        return Task(
            run.key,
            run.blueprint,
            run.folder,
            run.mode or "start",
            data_dir=asked.data_dir,
            device=device,
            threads=division.threads,
            role=run.role,
            argv=tuple(sys.argv),
        )

    def chosen(choice: Choice, runs: Sequence[PlannedRun]) -> None:
        choices[choice.arm.name] = choice
        display.chosen(choice)

    tasks = SweepTasks(planner, plan, chosen, task_of, asked.shard)
    left = len(tasks.known) + tasks.to_come
    if not left:
        return Outcome()
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(plan.folder / COPY, dump_sweep(asked_for, plan.folder / COPY))
    workers = LocalWorkers(1, [run.blueprint for run in plan.to_do], asked.data_dir)
    division = division_of(plan.folder, asked.workers, workers, task_of(plan.to_do[0]), left)
    workers.slots = min(division.workers, left)
    done = [run for run in plan.runs if run.mode is None]
    display = display_for(asked_for.name, Standing(left, workers.slots, done), quiet=asked.quiet)
    with contextlib.closing(display):
        return carry_out(tasks, workers, display, Rules(asked.retries, asked.fail_fast, plan.seconds))


def tell_plan(asked_for: Sweep, plan: SweepPlan, *, as_json: bool) -> None:
    """Print the runs of a sweep with what the disk holds of each."""
    runs = [*plan.tuning, *plan.runs]
    if as_json:
        record = [
            {"arm": run.arm.name, "seed": run.seed, "folder": str(run.folder), "status": run.status, "role": run.role}
            for run in runs
        ]
        print(json.dumps({"sweep": asked_for.name, "runs": record, "estimate_s": None}, indent=2))
        return
    for run in runs:
        print(f"{run.key}  {run.status}")
    counts = Counter(run.status for run in runs)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    _tell_warnings(plan)


def _tell_warnings(plan: SweepPlan) -> None:
    for lead, sentences in (("note", plan.notes), ("warning", plan.warnings)):
        for sentence, arms in sentences.items():
            print(f"{lead}: {visible_lines(sentence)} ({first_few(arms, 3)})", file=sys.stderr)


def _conclude(outcome: Outcome, plan: SweepPlan) -> None:
    """Say what is left, and end with the exit code that it has."""
    failed = outcome.of("failed", "lost")
    again = f"the same command does what is left: {shlex.join(['bnexp', *sys.argv[1:]])}"
    if outcome.stopped and outcome.exit_code > 1:
        raise Interrupted(f"{outcome.stopped}; {again}", outcome.exit_code)
    if failed:
        named = "\n".join(f"{one.key}: {one.error}" for one in failed[:10])
        raise BnexpError(f"{counted(len(failed), 'run')} failed:\n{named}\n{again}")
    if outcome.stopped:
        say(f"{outcome.stopped}; {again}")
