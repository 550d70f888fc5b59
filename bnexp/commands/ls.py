"""`bnexp ls`: which runs there are, and how far each has come."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from bnexp.analysis.listing import list_runs
from bnexp.analysis.selection import where
from bnexp.document.show import Output, show
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.find import find_runs, place_of_runs
from bnexp.runs.folder import Status
from bnexp.runs.run import DAMAGED, DEAD, UNKNOWN, read_run

_STATUSES = (*get_args(Status), DEAD, DAMAGED, UNKNOWN)


def ls(
    folder: Path = Path("runs"),
    *,
    statuses: Sequence[str] = (),
    conditions: Sequence[str] = (),
    now: datetime | None = None,
    output: Output = "table",
) -> None:
    """Print one line per run, the newest first: its state, how far it has come and what it has reached.

    Args:
        folder: where to look: a folder above runs, or a run.
        statuses: only runs of one of these, such as `failed`; none for all.
        conditions: on the config, such as `model.norm=bn`, that all must hold.
        now: the time, with its zone; by default the clock's, in the local zone.
        output: `table` draws for a terminal and writes plain aligned text into a pipe.

    Raises:
        ConfigError: there is no such folder, no such status, or no run has such a value in its config.
    """
    _refuse_unknown(statuses)
    folder = place_of_runs(folder)
    runs, notes = where([read_run(path) for path in find_runs([], folder)], conditions)
    chosen = [run for run in runs if run.status in statuses] if statuses else runs
    if not chosen:
        counts = Counter(run.status for run in runs)
        there = ", ".join(f"{counts[status]} {status}" for status in _STATUSES if status in counts)
        notes.append(f"no run with status {' or '.join(statuses)}; there are: {there}")
    table = list_runs(chosen, folder, now or datetime.now(UTC).astimezone())
    show(replace(table, notes=(*notes, *table.notes)), output)


def _refuse_unknown(statuses: Sequence[str]) -> None:
    for status in statuses:
        if status not in _STATUSES:
            hint = did_you_mean(status, _STATUSES)
            raise ConfigError(f"--status {status}: no such status.{hint} Known: {', '.join(_STATUSES)}")
