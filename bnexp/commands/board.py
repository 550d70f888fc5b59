"""`bnexp board`: TensorBoard over the runs, for this machine only unless another address is asked for."""

import contextlib
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path

from bnexp.document.show import remark
from bnexp.document.writing import at_most, counted
from bnexp.errors import ConfigError, visible
from bnexp.files import open_file
from bnexp.runs.find import place_of_runs, runs_below
from bnexp.runs.folder import CONFIG, METRICS
from bnexp.runs.seal import read_config
from bnexp.session.board_server import FIRST_PORT, is_loopback, start_tensorboard

HOST = "127.0.0.1"
_SHOWN = 4
_BEGINNING = 1 << 17
"""Bytes of a metrics.jsonl that hold its first row."""
_MOST_DRAWN, _MOST_IN_SERIES = 40, 500
"""Runs that TensorBoard 2.21 draws as a page opens, and as Time Series does; of more it draws none."""


def board(folder: Path, *, host: str = HOST, port: int | None = None, open: bool = False) -> None:
    """Start TensorBoard on `folder`, print its address, and serve until Ctrl-C.

    The arguments are those of `bnexp board --help`.
    """
    if port is not None and not 0 < port < 1 << 16:
        raise ConfigError(f"--port {port}: expected 1 to 65535; without --port, the first free one from {FIRST_PORT}")
    folder = place_of_runs(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; `bnexp train demo` makes the first run")
    if not is_loopback(host):
        reads = "everyone who reaches this machine's port can read the runs: TensorBoard asks for no password"
        remark("warning", f"--host {host}: {reads}")
    runs = list(runs_below(folder))
    served = start_tensorboard(folder, host, port)
    for note in (*served.notes, *_notes_on(runs)):
        remark("note", note)
    charts = f"{served.url}#custom_scalars" if runs else served.url
    print(f"TensorBoard on {visible(str(folder))}: {visible(served.url)}")
    if runs:
        print(f"The most telling charts: {visible(charts)}")
    print("Ctrl-C stops it.", flush=True)
    if open and not webbrowser.open(charts):
        remark("note", "no browser was found; open the address yourself")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _notes_on(runs: Sequence[Path]) -> Iterator[str]:
    """Yield what a person should know of these runs before looking at them."""
    if not runs:
        yield "no run is here yet: they appear as they begin"
    if len(runs) > _MOST_DRAWN:
        click = f"click TOGGLE ALL RUNS below the list of runs, or filter the list down to {_MOST_DRAWN}"
        yield f"of more than {_MOST_DRAWN} runs TensorBoard draws none at first: {click}"
    if len(runs) > _MOST_IN_SERIES:
        yield f"on Time Series, of more than {_MOST_IN_SERIES}: tick the box at the head of the list of runs"
    if old := sum(_has_only_the_uncentered_rank(run / METRICS) for run in runs):
        one = "effective_rank of bnexp 0.1.0, about 0 and not about the mean: compare it with uncentered_rank of others"
        yield f"{counted(old, 'run')} logged the {one}"
    changed = [visible(told) for run in runs if (run / CONFIG).exists() and (told := read_config(run)[1])]
    yield from at_most(changed, _SHOWN, "such notes")


def _has_only_the_uncentered_rank(metrics: Path) -> bool:
    """Tell whether a run began before `effective_rank` was centered."""
    with contextlib.suppress(OSError), open_file(metrics) as file:
        beginning = file.read(_BEGINNING)
        return b'"effective_rank/' in beginning and b'"uncentered_rank/' not in beginning
    return False
