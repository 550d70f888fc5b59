"""Lists runs: what state each is in, and how far it has come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bnexp.analysis.datasets import on_changed_data
from bnexp.document.table import NOTHING, Cell, Column, Row, Table, word
from bnexp.document.writing import at_most, clock_duration, epochs, loss, percent
from bnexp.runs.columns import Tail, read_tail
from bnexp.runs.folder import resume_command
from bnexp.runs.namesakes import differences
from bnexp.runs.run import COMPLETE, DEAD, Run

_MOST_NOTES = 8

COLUMNS = (
    Column("run", "run", whole=True),
    Column("status", "status"),
    Column("role", "role", give_up=7),
    Column("epochs", "epoch", "number", give_up=2),
    Column("steps", "step", "number", give_up=4),
    Column("val_loss", "val loss", "number", give_up=1),
    Column("val_accuracy", "val %", "number"),
    Column("val_accuracy_best", "val % best", "number", give_up=3),
    Column("test_accuracy", "test %", "number", give_up=5),
    Column("started", "started", whole=True),  # the order of the rows, which never goes
    Column("took_s", "took", "number", give_up=0),
    Column("parameters", "parameters", "number", audience="machines"),
    Column("data_fingerprint", "data", audience="machines"),
    Column("differs", "differs"),  # hangs below its row where there is no room
)


def list_runs(runs: Sequence[Run], root: Path, now: datetime) -> Table:
    """Return one row per run, the newest first; runs whose start is not known come last.

    The folder `root` is left out of their names; `now`, with its zone, says how long runs in progress have taken.
    """
    differs = differences(runs)
    there = {"differs": bool(differs), "role": any(run.role for run in runs)}
    columns = tuple(
        column if there.get(column.key, True) else replace(column, audience="machines") for column in COLUMNS
    )
    newest_first = sorted(runs, key=lambda run: run.started.timestamp() if run.started else 0.0, reverse=True)
    rows, problems = [], []
    for run in newest_first:
        tail, problem = (Tail(), None) if run.status in COMPLETE else read_tail(run.metrics_path)
        rows.append({**_row(run, tail, root, now), "differs": word(differs.get(run.folder, ""))})
        problems += [*run.problems, *([problem] if problem else [])]
        if run.status == "failed" and run.first_line_of_error:
            problems.append(f"{run.folder} failed: {run.first_line_of_error}")
    on_data = at_most(list(on_changed_data(runs)), _MOST_NOTES, "such notes")
    order = ["sorted by started, the newest first"] if len(runs) > 1 else []
    notes = (*order, *at_most(problems, _MOST_NOTES, "such notes"), *on_data, *_on_resuming(newest_first))
    return Table(columns, tuple(rows), notes)


def _on_resuming(runs: Sequence[Run]) -> list[str]:
    """Say once how to resume runs that were interrupted or failed; a dead one has a note of its own."""
    stopped = [run.folder for run in runs if run.status != DEAD and run.can_resume]
    if not stopped:
        return []
    which = "1 run can be resumed" if len(stopped) == 1 else f"{len(stopped)} runs can be resumed, such as the newest"
    return [f"{which}: {resume_command(stopped[0])}"]


def _row(run: Run, tail: Tail, root: Path, now: datetime) -> Row:
    """Make the cells of a run, its progress from its summary, or from the end of its metrics.jsonl."""
    if run.status in COMPLETE:
        step, epoch, val_loss, val_accuracy = map(run.figures.get, ("steps", "epochs", "val_loss", "val_accuracy"))
    else:
        step, epoch, last = tail.step, tail.epoch, tail.evaluation
        val_loss, val_accuracy = (last.loss, last.accuracy) if last else (None, None)
    return {
        "run": Cell(_name_below(run.folder, root), run.folder.as_posix()),
        "status": word(run.status),
        "role": Cell() if run.role is None else word(run.role),
        "epochs": _epoch_cell(run, epoch),
        "steps": _step_cell(run, None if step is None else int(step)),
        "val_loss": Cell() if val_loss is None else Cell(loss(val_loss), val_loss),
        "val_accuracy": _percent_cell(val_accuracy),
        "val_accuracy_best": _percent_cell(run.figures.get("val_accuracy_best")),
        "test_accuracy": _percent_cell(run.figures.get("test_accuracy")),
        "started": _started_cell(run, now),
        "took_s": _took_cell(run, now),
        "data_fingerprint": Cell(NOTHING, run.data.fingerprint),
        "parameters": Cell() if run.parameters is None else Cell(f"{run.parameters:,}", run.parameters),
    }


def _name_below(folder: Path, root: Path) -> str:
    """Name a run by its path below the listed folder; the listed folder itself by its last two parts."""
    if folder == root:
        return "/".join(folder.resolve().parts[-2:])
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)


def _epoch_cell(run: Run, epoch: float | None) -> Cell:
    if epoch is None:
        return Cell()
    planned = run.total_steps / run.steps_per_epoch if run.total_steps and run.steps_per_epoch else None
    return Cell(epochs(epoch) + (f"/{epochs(planned)}" if planned else ""), epoch)


def _step_cell(run: Run, step: int | None) -> Cell:
    if step is None:
        return Cell(f"0/{run.total_steps}", 0) if run.status == "running" and run.total_steps else Cell()
    return Cell(f"{step}" + (f"/{run.total_steps}" if run.total_steps else ""), step)


def _percent_cell(fraction: float | None) -> Cell:
    return Cell() if fraction is None else Cell(percent(fraction), fraction)


def _started_cell(run: Run, now: datetime) -> Cell:
    """Show the start in the zone of `now`: the time for today, else the day, else the year too."""
    if run.started is None:
        return Cell()
    local = run.started.astimezone(now.tzinfo)
    if local.date() == now.date():
        shown = f"{local:%H:%M}"
    else:
        shown = f"{local:%m-%d %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d}"
    return Cell(shown, run.started.isoformat())


def _took_cell(run: Run, now: datetime) -> Cell:
    """Show how long all sessions of a run took, without the pauses between them."""
    end = run.ended or (now if run.status == "running" else None)
    seconds = None if end is None else run.took_until(end)
    return Cell() if seconds is None else Cell(clock_duration(seconds), seconds)
