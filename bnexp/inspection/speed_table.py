"""How fast a config trains in other ways of computing it, as a table for people."""

from collections.abc import Sequence
from operator import itemgetter

from bnexp.blueprint import Blueprint
from bnexp.document.table import Cell, Column, Table, word
from bnexp.document.writing import clock_duration, counted
from bnexp.inspection.speed import Moment, Speed

AS_IT_STANDS = "(as it stands)"
_WORTH_SAYING = 1.1
"""A way is named as faster from this factor on; less than that is the noise of a moment."""


def speed_table(blueprint: Blueprint, speeds: Sequence[Speed]) -> Table:
    """Return a row for each way that was measured, and what was refused as notes."""
    own = speeds[0].moment.step_s if speeds[0].moment else None
    longest = max(len(word) for speed in speeds for word in (speed.way.label or AS_IT_STANDS).split())
    columns = [
        Column("way", "computed with", least=longest),  # what a person copies is not broken
        Column("step_ms", "ms a step", "number"),
        Column("speed", "speed", "number"),
        Column("examples_per_s", "examples/s", "number", give_up=1),
        Column("device_mib", "GPU MiB", "number", give_up=2),
        Column("compile_s", "compiling", "number", give_up=0),
        Column("run_s", "whole run", "number"),
    ]
    rows = [_row(speed, speed.moment, own) for speed in speeds if speed.moment]
    used = [column for column in columns if any(row[column.key].value is not None for row in rows)]
    return Table(tuple(used), tuple(rows), notes=tuple(_notes(blueprint, speeds)))


def _row(speed: Speed, moment: Moment, own: float | None) -> dict[str, Cell]:
    times = own / moment.step_s if own else None
    return {
        "way": word(speed.way.label or AS_IT_STANDS),
        "step_ms": Cell(f"{1e3 * moment.step_s:.3g}", 1e3 * moment.step_s),
        "speed": Cell("" if times is None else f"x {times:.2f}", times),
        "examples_per_s": Cell(f"{speed.examples_per_s:,.0f}", speed.examples_per_s),
        "device_mib": Cell("" if speed.device_mib is None else f"{speed.device_mib:,.0f}", speed.device_mib),
        "compile_s": Cell("" if speed.compile_s is None else clock_duration(speed.compile_s), speed.compile_s),
        "run_s": Cell(clock_duration(speed.run_s or 0.0), speed.run_s),
    }


def _notes(blueprint: Blueprint, speeds: Sequence[Speed]) -> list[str]:
    """Say what the table is of, what could not be measured, and which way would end the run first."""
    steps = counted(blueprint.plan.total_steps, "step")
    notes = [
        "half a second of training each, rows and probes included, beside whatever else this machine did; whole run: "
        f"{steps} with evaluations"
    ]
    notes += [f"{speed.way.label or AS_IT_STANDS}: {speed.refusal}" for speed in speeds if speed.refusal]
    own = speeds[0].run_s
    if own is None:
        return notes
    run_s, best = min(((speed.run_s, speed) for speed in speeds if speed.run_s), key=itemgetter(0))
    if own > _WORTH_SAYING * run_s:
        notes.append(f"{best.way.label} ends first; {_price(best)}")
    else:
        notes.append(f"nothing here ends the run more than {_WORTH_SAYING - 1:.0%} earlier than as it stands")
    return notes


def _price(speed: Speed) -> str:
    """Say what a way of computing changes beside the time."""
    changes = speed.way.changes
    if "precision" in changes:
        return "its figures are of another precision: compare arms of one precision only"
    if changes.get("deterministic") is False:
        return "the same config then gives other bits each time"
    return "its figures are the same up to rounding"
