"""Let one process at a time train a run: it holds a lock, which the system releases however the process ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bnexp.errors import BnexpError
from bnexp.files import with_advice
from bnexp.runs.folder import META, read_json
from bnexp.runs.process import is_gone, is_suspended

LOCK = ".lock"
_WAIT_S = 0.5
"""A process that is just ending gets this long to release the lock."""


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run against all other processes and threads; the file that stays behind means nothing.

    Raises:
        BnexpError: another process holds the lock, or the folder is missing or takes no lock.
    """
    if not folder.is_dir():
        raise BnexpError(f"{folder}: no such folder; expected the folder of a run")
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_WAIT_S)
    except Timeout:
        raise BnexpError(f"{folder}: {_who_trains(folder)}") from None
    except OSError as error:
        raise BnexpError(f"{folder / LOCK}: the run cannot be locked: {with_advice(error)}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone by now; closing the file releases the lock
            lock.release()


def _who_trains(folder: Path) -> str:
    """Name the process in meta.json; if that one has ended, the holder has not written its own number yet."""
    meta = read_json(folder / META) or {}
    host, pid = meta.get("host"), meta.get("pid")
    if not isinstance(host, str) or not isinstance(pid, int) or is_gone(host, pid, meta.get("process_started")):
        return "another process is training this run right now; wait for it to end, or stop it"
    if is_suspended(host, pid):
        return f"process {pid} on host {host} is training this run, but is suspended; kill -CONT {pid} lets it continue"
    return f"process {pid} on host {host} is training this run right now; wait for it to end, or stop it"
