"""`bnexp board`: TensorBoard over the runs, for this machine only unless another address is asked for."""

import contextlib
import io
import ipaddress
import logging
import os
import sys
import threading
from pathlib import Path

from bnexp.document.writing import at_most, counted
from bnexp.errors import BnexpError, ConfigError, visible
from bnexp.files import open_file
from bnexp.runs.find import runs_below
from bnexp.runs.folder import METRICS
from bnexp.runs.seal import read_config

HOST = "127.0.0.1"
_SHOWN = 4
_BEGINNING = 1 << 17
"""Bytes of a metrics.jsonl that hold its first row."""


def board(folder: Path, *, host: str = HOST, port: int | None = None) -> None:
    """Start TensorBoard on `folder`, print its address, and serve until Ctrl-C.

    The arguments are those of `bnexp board --help`.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; `bnexp train configs/mnist_mlp_bn.yaml` makes the first run")
    if not _is_loopback(host):
        reads = "everyone who reaches this machine's port can read the runs: TensorBoard asks for no password"
        print(f"warning: --host {visible(host)}: {reads}", file=sys.stderr)
    if old := sum(_has_only_the_uncentered_rank(run / METRICS) for run in runs_below(folder)):
        one = "effective_rank of bnexp 0.1.0, about 0 and not about the mean: compare it with uncentered_rank of others"
        print(f"note: {counted(old, 'run')} logged the {one}", file=sys.stderr)
    for problem in at_most([told for run in runs_below(folder) if (told := read_config(run)[1])], _SHOWN, "such notes"):
        print(f"note: {visible(problem)}", file=sys.stderr)
    url = start_tensorboard(folder, host, port)
    print(f"TensorBoard on {visible(str(folder))}: {visible(url)}\nCtrl-C stops it.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _has_only_the_uncentered_rank(metrics: Path) -> bool:
    """Tell whether a run began before `effective_rank` was centered."""
    with contextlib.suppress(OSError), open_file(metrics) as file:
        beginning = file.read(_BEGINNING)
        return b'"effective_rank/' in beginning and b'"uncentered_rank/' not in beginning
    return False


def _is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address; of names, only localhost is known to be such."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def start_tensorboard(folder: Path, host: str, port: int | None) -> str:
    """Serve `folder` from a thread of this process, and return the address."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorboard import program

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    server = program.TensorBoard()
    # In one word each, so that a folder whose name begins with -- stays a folder.
    arguments = [f"--logdir={folder}", f"--host={host}", *([f"--port={port}"] if port else [])]
    stderr = io.StringIO()
    try:
        server.configure(argv=["tensorboard", *arguments])
        with contextlib.redirect_stderr(stderr):  # an advertisement of its data server
            return str(server.launch())
    except program.TensorBoardServerException as error:
        raise BnexpError(f"TensorBoard cannot start: {error.msg}") from None
    except SystemExit:  # how its server ends where it cannot listen, such as at an address of another machine
        reason = (stderr.getvalue().splitlines() or ["no reason given"])[-1]
        raise BnexpError(f"TensorBoard cannot start: --host {host}: {reason}") from None
