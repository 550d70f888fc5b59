"""Tell what a sweep is and what is left of it, before anything is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bnexp.config.wording import brief
from bnexp.document.table import Cell, Column, Row, Table, word
from bnexp.document.writing import clock_duration, counted, first_few
from bnexp.runs.run import DAMAGED, DEAD, UNKNOWN
from bnexp.sweep.estimate import Division
from bnexp.sweep.plan import MISSING, SHORTER, PlannedRun, SweepPlan

_ORDER = ("finished", "diverged", SHORTER, "running", "interrupted", "failed", DEAD, DAMAGED, UNKNOWN, MISSING)
_MOST_ARMS = 3


def record_of(name: str, plan: SweepPlan, estimate_s: float | None) -> dict[str, Any]:
    """Return the runs of a sweep for programs."""
    runs = [
        {
            "arm": run.arm.name,
            "seed": run.seed,
            "folder": str(run.folder),
            "status": run.status,
            "role": run.role or "final",
        }
        for run in plan.all_runs
    ]
    return {"sweep": name, "runs": runs, "estimate_s": estimate_s}


def table_of(plan: SweepPlan) -> Table:
    """Return a row per arm: which of its seeds came to their end, and which are left."""
    runs = plan.all_runs
    counts = Counter(run.status for run in runs)
    present = [status for status in _ORDER if counts[status]]
    columns = (
        Column("arm", "arm"),
        *(Column(status, status, "number") for status in present),
        Column("left", "to do", "number"),
        Column("seeds", "seeds to do", give_up=0),
    )
    arms: dict[str, list[PlannedRun]] = {}
    for run in runs:
        arms.setdefault(run.key.rpartition("/")[0], []).append(run)
    return Table(columns, tuple(_row(name, of_arm) for name, of_arm in arms.items()))


def _row(name: str, runs: Sequence[PlannedRun]) -> Row:
    counts = Counter(run.status for run in runs)
    left = [run.seed for run in runs if run.mode is not None]
    cells = {status: Cell(f"{count:,}", count) for status, count in counts.items()}
    return {"arm": word(name), **cells, "left": Cell(f"{len(left):,}", len(left)), "seeds": word(spans(left))}


def spans(numbers: Sequence[int]) -> str:
    """Write numbers in order as spans: `0-2, 5`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)


def total(plan: SweepPlan) -> str:
    """Say in a line how many runs there are, and what has become of them."""
    runs = plan.all_runs
    counts = Counter(run.status for run in runs)
    states = ", ".join(f"{counts[status]:,} {status}" for status in _ORDER if counts[status])
    tuned = f", {len(plan.tuning):,} of them for tuning" if plan.tuning else ""
    arms = len({run.arm_name for run in plan.runs})
    return f"{counted(arms, 'arm')}, {counted(len(runs), 'run')}{tuned}: {states}"


def time_left(plan: SweepPlan, division: Division, seconds: float | None) -> str:
    """Say about how long what is left takes, and on what."""
    left = len(plan.to_do)
    if not left:
        return "nothing is left to do"
    how = f"{counted(division.workers, 'run')} at a time, {counted(division.threads, 'thread')} each"
    gpus = f", on {counted(division.gpus, 'GPU')}" if division.gpus else ""
    about = "a time that could not be measured" if seconds is None else f"about {clock_duration(seconds)}"
    return f"{counted(left, 'run')} to do, {how}{gpus}: {about}"


def warnings_of(plan: SweepPlan) -> list[str]:
    """Return each warning once, with the arms that it is about."""
    every = {run.arm_name for run in plan.tuning or plan.runs}
    return [f"{warning}{_about(names, len(every))}" for warning, names in plan.warnings.items()]


def _about(names: Sequence[str], arms: int) -> str:
    if len(names) >= arms:
        return "" if arms == 1 else " (every arm)"
    return f" ({first_few(list(names), _MOST_ARMS)})"


def notes_of(plan: SweepPlan) -> list[str]:
    """Say how configs were read, which arms are known under another name, and which runs lie beside others of it."""
    read: dict[str, None] = {}
    renamed, beside = dict[str, str](), dict[str, str]()
    for run in plan.runs:
        read |= dict.fromkeys(run.arm.notes)
        if plan.waits(run):
            continue  # the values of the base stand in for its own, and lie elsewhere
        if run.arm.name != run.arm_name:
            renamed[run.arm_name] = run.arm.name
        if run.status == MISSING and "-" in run.folder.name and not plan.waits(run):
            beside.setdefault(run.arm.name, run.folder.name)
    notes = list(read)
    if renamed:
        first = next(iter(renamed))
        notes.append(f"{first} has its runs in {renamed[first]}/ and keeps that name{_more(renamed)}")
    if beside:
        first = next(iter(beside))
        other = f"{first}/ holds runs of another config: the new ones are {first}/{beside[first]}, ..."
        notes.append(f"{other}{_more(beside)}; --name starts a sweep of its own")
    return [brief(note, 300) for note in notes]


def _more(found: Mapping[str, str]) -> str:
    return f", and {counted(len(found) - 1, 'arm')} likewise" if len(found) > 1 else ""
