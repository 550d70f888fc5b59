"""`bnexp ls`: which runs there are, and how far each has come."""

from datetime import UTC, datetime
from pathlib import Path

from bnexp.analysis.listing import list_runs
from bnexp.document.show import Output, show
from bnexp.runs.find import find_runs, place_of_runs
from bnexp.runs.run import read_run


def ls(folder: Path = Path("runs"), *, now: datetime | None = None, output: Output = "table") -> None:
    """Print one line per run, the newest first: its state, how far it has come and what it has reached.

    Args:
        folder: where to look: a folder above runs, or a run.
        now: the time, with its zone; by default the clock's, in the local zone.
        output: `table` draws for a terminal and writes plain aligned text into a pipe.
    """
    folder = place_of_runs(folder)
    runs = [read_run(path) for path in find_runs([], folder)]
    show(list_runs(runs, folder, now or datetime.now(UTC).astimezone()), output)
