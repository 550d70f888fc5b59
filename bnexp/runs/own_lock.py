"""A lock of our own, for file systems without flock: a file that only one process can make, and that says who did.

The holder touches it every few seconds. Where that stops, nobody can be sure that the holder has ended, but on this
machine; on others a person decides, with `bnexp resume RUN --break-lock`.
"""

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from bnexp.errors import BnexpError
from bnexp.files import write_atomically
from bnexp.runs.folder import read_json, resume_command
from bnexp.runs.process import is_gone, this_process

OWN_LOCK = ".lock.json"
_TOUCHED_EVERY_S = 15.0
ALIVE_S = 60.0
"""A holder that touched its lock within this time is alive."""


@contextlib.contextmanager
def own_lock(folder: Path, why: str, *, break_lock: bool) -> Iterator[None]:
    """Hold the lock of a run by a file; `why` says why flock does not.

    Raises:
        BnexpError: another process holds it, and is alive or may be.
        OSError: the file cannot be written.
    """
    path = folder / OWN_LOCK
    refuse_own_lock(folder, why, break_lock=break_lock)
    own = json.dumps({**this_process(), "token": secrets.token_hex(8)}).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise BnexpError(f"{folder}: another process has just taken the run; wait for it to end, or stop it") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(own)
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        with contextlib.suppress(OSError):  # the folder may be gone by now
            if path.read_bytes() == own:
                path.unlink()


def _beat(path: Path, ended: threading.Event) -> None:
    """Touch a file until the run ends."""
    while not ended.wait(_TOUCHED_EVERY_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def refuse_own_lock(folder: Path, why: str, *, break_lock: bool) -> None:
    """Raise a BnexpError where a process holds a run by a file; take the file away where that process has ended."""
    path = folder / OWN_LOCK
    age_s = _age_s(path)
    if age_s is None:
        return
    holder = read_json(path) or {}
    host, pid = holder.get("host"), holder.get("pid")
    known = isinstance(host, str) and isinstance(pid, int)
    who = f"process {pid} on host {host}" if known else "another process"
    if known and is_gone(host, pid, holder.get("process_started")):
        _take_away(path, holder)
    elif age_s < ALIVE_S:
        sign = f"its last sign of life was {age_s:.0f} s ago"
        raise BnexpError(f"{folder}: {who} is training this run right now ({sign}); wait for it to end, or stop it")
    elif break_lock:
        _take_away(path, holder)
    else:
        what = f"holds the lock, a file of its own{f' ({why})' if why else ''}"
        advice = f"If it has ended: {resume_command(folder)} --break-lock"
        raise BnexpError(f"{folder}: {who} {what}, but gave no sign of life for {_spoken(age_s)}. {advice}")


def _take_away(path: Path, holder: object) -> None:
    """Delete the lock of a holder, and not one that another process made in its place meanwhile."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if (read_json(aside) or {}) != holder:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _age_s(path: Path) -> float | None:
    """Return the seconds since a file was touched, by the clock of its own file system; None where there is none."""
    now = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        touched = path.lstat().st_mtime
        write_atomically(now, [])
        age_s = now.lstat().st_mtime - touched
        now.unlink()
    except FileNotFoundError:
        return None
    return max(age_s, 0.0)


def _spoken(seconds: float) -> str:
    """Return a time as a person says it."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'s' * (count != 1)}"
    return f"{seconds:.0f} s"
