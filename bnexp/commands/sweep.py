"""`bnexp sweep`: many runs at one command, of which only those that are left are done."""

import contextlib
import itertools
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bnexp.analysis.compare import compare_runs
from bnexp.analysis.verdict import verdict_table
from bnexp.config.naming import run_name_of
from bnexp.config.sweep_loading import Sweep, dump_sweep, load_sweep, sweep_of_options
from bnexp.document.show import aside, remark, show, show_document
from bnexp.document.writing import at_most, counted, first_few
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.files import write_text_atomically
from bnexp.runs.find import runs_below
from bnexp.runs.run import COMPLETE, read_run, refuse_diverged
from bnexp.session.display import say
from bnexp.sweep import outlook
from bnexp.sweep.arms import told_together
from bnexp.sweep.asked import keep_asked
from bnexp.sweep.display import display_for
from bnexp.sweep.estimate import Division, division_of, estimate, judge, without_download
from bnexp.sweep.judging import judge_plan
from bnexp.sweep.local import LocalWorkers
from bnexp.sweep.plan import PlannedRun, Planner, SweepPlan, SweepTasks
from bnexp.sweep.running import Outcome, Rules, carry_out
from bnexp.sweep.stacks import StackRule, Stacks, beyond_memory, remarks_on, rule_for
from bnexp.sweep.standing import Standing
from bnexp.sweep.tuning import Choice
from bnexp.sweep.work import AskedStack, Executor, Judged, Task

_MOST_REASONS = 6
_MOST_CHOICES = 20
"""Arms whose choice of values is told below the table."""


@dataclass(frozen=True)
class SweepOptions:
    """What the command line asks for, beside the sweep: see `bnexp sweep --help`."""

    runs_dir: Path = Path("runs")
    data_dir: Path | None = None
    device: str = "auto"
    workers: int | None = None  # as many as are fastest
    retries: int = 0
    fail_fast: bool = False
    shard: tuple[int, int] | None = None  # the number of this part, and how many there are
    quiet: bool = False
    ray: str | None = None  # the address of a cluster; None: here
    fail_on_divergence: bool = False
    stack: AskedStack = 1  # seeds of an arm that are trained as one vectorized network


def read_sweep(path: Path, axes: Sequence[str], seeds: str | None, overrides: Sequence[str], name: str | None) -> Sweep:
    """Return the sweep of a file, or of a config with `--axis`."""
    if axes:
        return sweep_of_options(path, axes, seeds, overrides, name)
    return load_sweep(path, seeds=seeds, overrides=overrides, name=name)


def sweep(
    path: Path,
    options: SweepOptions,
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
    if options.ray is not None:
        _refuse_on_a_cluster(options)
    if save is not None:
        name = name or run_name_of(save.stem)
    study = read_sweep(path, axes, seeds, overrides, name)
    if save is not None:  # also where arms are refused: the file is where rules can be added
        _save(study, save, quiet=options.quiet)
    planner = Planner(study, options.runs_dir, options.data_dir)
    plan = planner.plan()
    if options.shard is not None:
        plan = plan.part(*options.shard)
    if options.stack != 1:
        plan = plan.by_arm()
    if not options.quiet:
        _announce(study, plan)
    if dry_run:
        _tell(study, plan, options, as_json=as_json)
        return
    choices = dict(plan.choices)
    outcome = _do(study, planner, plan, replace(options, quiet=options.quiet or as_json), choices)
    now = planner.plan()
    _show_runs(now, list(study.file.tune), choices, as_json=as_json)
    if now.claims and as_json:
        folder = shlex.quote(str(now.folder))
        print(f"verdicts on {counted(len(now.claims), 'claim')}: bnexp verdict {folder} --json", file=sys.stderr)
    elif now.claims:
        show_document([verdict_table(*judge_plan(study, now))])
    _conclude(outcome, plan)
    if options.fail_on_divergence:
        refuse_diverged([run.stored for run in now.runs if run.stored is not None])


def _refuse_on_a_cluster(options: SweepOptions) -> None:
    """Refuse what a cluster cannot honour, and say what it does not do."""
    alone = "seeds are stacked on this machine alone"
    if options.workers is not None:
        raise ConfigError("--workers: a cluster has as many as find room on its nodes; with --ray, leave it out")
    if options.stack == "auto":
        remark("note", f"trained seed by seed: {alone}, and not with --ray")
    elif options.stack != 1:
        raise ConfigError(f"--stack: {alone}; with --ray, leave it out")


def _announce(study: Sweep, plan: SweepPlan) -> None:
    """Print the question, and what is to be known of the plan."""
    if study.file.question:
        aside(study.file.question)
    for note in outlook.notes_of(plan):
        remark("note", note)
    for warning in outlook.warnings_of(plan):
        remark("warning", warning)


def _show_runs(plan: SweepPlan, tuned: Sequence[str], choices: Mapping[str, Choice], *, as_json: bool) -> None:
    """Print the table of the runs that a sweep has now; runs of other values in its folder are none of them."""
    own = [run.stored for run in plan.runs if run.stored is not None and not plan.waits(run)]
    if not own:
        return
    others = {run.folder for path in runs_below(plan.folder) if (run := read_run(path)).role is None}
    others -= {run.folder for run in own}
    notes = at_most([choice.text for choice in choices.values()], _MOST_CHOICES, "such choices")
    if others:
        folder = shlex.quote(str(plan.folder))
        notes.append(f"{counted(len(others), 'run')} of other values left out: bnexp compare {folder} shows all")
    first, *rest = compare_runs(own, keys=tuned, notes=notes)
    show(first, "json" if as_json else "table", *rest)


def _save(study: Sweep, file: Path, *, quiet: bool) -> None:
    """Write a sweep as a sweep file; one that says something else is never replaced.

    Raises:
        ConfigError: there is such a file, or none can be written there.
    """
    text = dump_sweep(study, file)
    try:
        if os.path.lexists(file) and (not file.is_file() or file.read_bytes() != text.encode()):
            raise ConfigError(f"--save {file}: something else is there; expected the name of a new file")
        write_text_atomically(file, text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"--save {file}: cannot be written: {reason}; expected such as --save study.yaml") from None
    if not quiet:
        named = "" if study.name == run_name_of(file.stem) else f" --name {study.name}"
        print(f"saved: bnexp sweep {shlex.quote(str(file))}{named}", file=sys.stderr)


def _tell(study: Sweep, plan: SweepPlan, options: SweepOptions, *, as_json: bool) -> None:
    """Print the runs of a sweep with what the disk holds of each, and about how long the rest takes."""
    slots = 0
    if options.ray is not None:  # refused now, where it would be refused then
        with contextlib.closing(_cluster(options.ray, study, options)) as cluster:
            slots = cluster.slots
    if as_json:
        print(json.dumps(outlook.record_of(study.name, plan, _measured(plan, options)[1]), indent=2))
        return
    show(outlook.table_of(plan), "table")
    say(outlook.total(plan))
    for choice in plan.choices.values():
        say(choice.text)
    say(outlook.time_left(plan, *_measured(plan, options)))
    if options.stack != 1:
        say("that time is measured without stacks; seeds that are stacked take less where it pays")
    if slots:
        say(f"the cluster has room for {counted(slots, 'run')} at a time; that time is measured for this machine alone")


def _measured(plan: SweepPlan, options: SweepOptions) -> tuple[Division, float | None]:
    """Return how the machine would be divided, and about how many seconds what is left takes."""
    division, runs = Division(options.workers or 1, 1), plan.to_do
    if not runs:
        return division, 0.0
    offline = [replace(run, blueprint=without_download(run.blueprint)) for run in runs]
    with LocalWorkers(1, [run.blueprint for run in offline], options.data_dir) as workers:
        first = _task_of(options, division, itertools.count(), offline[0])
        judged = _refuse_here(workers, first, runs, options.stack, offline=True)
        division = division_of(None, options.workers, workers, first, len(runs))
        _stack_rule(plan, runs, options.stack, division, judged)
        return division, estimate(workers, offline, division, partial(_task_of, options, division, itertools.count()))


def _refuse_here(
    workers: LocalWorkers, task: Task, runs: Sequence[PlannedRun], stack: AskedStack, *, offline: bool = False
) -> Judged:
    """Refuse arms that cannot be trained on this machine, all at once, and warn of those that may not.

    `offline` fetches no dataset, and says which will be.

    Raises:
        ConfigError: the memory is too small, or data are not here.
    """
    arms = {run.arm.name: run.blueprint for run in runs}
    judged = judge(workers, task, [without_download(one) if offline else one for one in arms.values()], stack)
    for name, doubts in judged.doubted.items():
        for doubt in doubts:
            remark("warning", f"{name}: {doubt}")
    missing = [name for name, reason in judged.refused.items() if ": not found" in reason] if offline else []
    datas = {name: arms[name].config.data for name in missing}
    absent = {name: data.dataset for name, data in datas.items() if getattr(data, "download", False)}
    for dataset in dict.fromkeys(absent.values()):
        remark("note", f"dataset {dataset} is not here; it is fetched when the sweep starts")
    if refused := {name: reason for name, reason in judged.refused.items() if name not in absent}:
        raise _refusal(refused, runs)
    return judged


def _refusal(reasons: Mapping[str, str], runs: Sequence[PlannedRun]) -> ConfigError:
    """Return the error that refuses arms, for the reasons given by their names."""
    told = {run.arm.name: run.arm.told for run in runs}
    return ConfigError(told_together({name: told[name](reason) for name, reason in reasons.items()}, len(told)))


def _stack_rule(
    plan: SweepPlan, runs: Sequence[PlannedRun], stack: AskedStack, division: Division, judged: Judged
) -> StackRule:
    """Return how runs are stacked, and print notes on what is not stacked or does not pay.

    Raises:
        ConfigError: more seeds are asked for than fit into memory.
    """
    counts = Counter(run.arm.name for run in runs)
    rule = rule_for(stack, counts, division, judged, plan.tuned_for)
    if refused := beyond_memory(stack, rule, counts, judged):
        raise _refusal(refused, runs)
    for text in remarks_on(stack, rule, counts, judged) if stack != 1 else ():
        remark("note", text)
    return rule


def _task_of(options: SweepOptions, division: Division, turns: Iterator[int], run: PlannedRun) -> Task:
    """Return the task of a run; several GPUs are taken in turns."""
    device = None if options.device == "auto" else options.device
    if division.gpus > 1 and device in (None, "cuda"):
        device = f"cuda:{next(turns) % division.gpus}"
    return Task(
        run.key,
        run.blueprint,
        run.folder,
        run.mode or "resume",  # of another process, to be taken over
        data_dir=options.data_dir,
        device=device,
        threads=division.threads,
        role=run.role,
        chosen=run.arm.chosen,
        argv=tuple(sys.argv),
    )


def _do(study: Sweep, planner: Planner, plan: SweepPlan, options: SweepOptions, choices: dict[str, Choice]) -> Outcome:
    """Do what is left of a sweep, or of a part of it, and add the choices that are made."""

    def chosen(choice: Choice, runs: Sequence[PlannedRun]) -> None:
        choices[choice.arm.name] = choice
        display.standing.total += len(runs) - len(study.seeds)  # the disk may hold some of them already
        display.chosen(choice)

    tasks = SweepTasks(planner, plan, chosen, lambda run: task_of(run))
    left = len(tasks.known) + tasks.to_come
    if not left:
        if not options.quiet:
            print(f"nothing is left to do: {outlook.total(plan)}", file=sys.stderr)
        return Outcome()
    cluster = _cluster(options.ray, study, options) if options.ray is not None else None
    try:
        keep_asked(study, plan)
    except OSError as error:
        raise ConfigError(
            f"{plan.folder}: cannot be written: {error.strerror}; --runs-dir names another place"
        ) from None
    executor: Executor
    if cluster is not None:
        executor, division = cluster, Division(cluster.slots, max(int(study.file.resources.cpus), 1))
    else:
        executor, division = _workers_here(plan, options, left)
    task_of = partial(_task_of, options, division, itertools.count())
    done = [run for run in plan.runs if run.status in COMPLETE]
    display = display_for(study.name, Standing(left, min(executor.slots, left), done), quiet=options.quiet)
    with contextlib.closing(display):
        return carry_out(tasks, executor, display, Rules(options.retries, options.fail_fast, plan.seconds))


def _workers_here(plan: SweepPlan, options: SweepOptions, left: int) -> tuple[Executor, Division]:
    """Return the workers of this machine, with stacks for them if asked for, and how they divide it."""
    workers = LocalWorkers(1, [run.blueprint for run in plan.to_do], options.data_dir)
    if not options.quiet:
        print(f"{counted(left, 'run')} to do; loading torch and the data once for all", file=sys.stderr)
    runs = plan.to_do or plan.held or plan.runs
    first = _task_of(options, Division(1, 1), itertools.count(), runs[0])
    with contextlib.ExitStack() as unless_it_begins:
        unless_it_begins.push(workers)
        judged = _refuse_here(workers, first, runs, options.stack)
        division = division_of(plan.folder, options.workers, workers, first, left)
        rule = _stack_rule(plan, runs, options.stack, division, judged)
        unless_it_begins.pop_all()
    workers.slots = min(division.workers, left)
    if options.stack == 1 or {run.arm.name for run in runs} <= set(rule.apart):
        return workers, division
    return Stacks(workers, rule), division


def _cluster(address: str, study: Sweep, options: SweepOptions) -> Executor:
    """Return the executor on a Ray cluster; Ray is imported here and nowhere else."""
    if options.device.startswith("cuda") and not study.file.resources.gpus:
        raise ConfigError(
            f"--device {options.device}: a run sees the GPUs alone that it asks for, and resources.gpus is 0; "
            "expected such as resources: {gpus: 1} in the sweep file"
        )
    try:
        from bnexp.sweep.ray_cluster import RayCluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError("--ray: Ray is not installed; pip install 'bnexp[ray]'") from None
    return RayCluster(address, study.file.resources, options.data_dir)


def _conclude(outcome: Outcome, plan: SweepPlan) -> None:
    """Say what is left, and end with the exit code that it has."""
    failed = outcome.of("failed", "lost")
    again = f"the same command does what is left: {shlex.join(['bnexp', *sys.argv[1:]])}"
    if outcome.stopped and outcome.exit_code > 1:
        raise Interrupted(f"{outcome.stopped}; {again}", outcome.exit_code)
    if failed:
        reasons: dict[str, list[str]] = {}
        for one in failed:
            reasons.setdefault((one.error or "no reason").replace(str(plan.folder / one.key), "RUN"), []).append(
                one.key
            )
        named = "\n".join(f"{first_few(keys, 4)}: {reason}" for reason, keys in list(reasons.items())[:_MOST_REASONS])
        raise BnexpError(f"{counted(len(failed), 'run')} failed:\n{named}\n{again}")
    if outcome.stopped:
        print(f"{outcome.stopped}; {again}", file=sys.stderr)
        return
    before = [run.key for run in (*plan.tuning, *plan.runs) if run.status == "running" and not _is_complete(run.folder)]
    others = [*before, *(one.key for one in outcome.of("elsewhere") if not _is_complete(plan.folder / one.key))]
    if others:
        named = f"{first_few(others, 4)}: trained by another process, and not at the end yet"
        raise BnexpError(f"{named}; when that one has ended, {again}")


def _is_complete(folder: Path) -> bool:
    return read_run(folder).status in COMPLETE
