"""Hold a run by a file beside flock, for file systems without flock and for machines that do not see another's.

Every holder creates the file, which only one process can, and touches it every few seconds. A holder that no longer
touches it has surely ended only where its process on this machine is gone, or where it held flock and that is free
again. Otherwise a person decides, with `bnexp resume RUN --break-lock`. A holder that wakes up after that finds another
token in the file, and writes nothing more.
"""

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bnexp.errors import BnexpError
from bnexp.files import read_file, write_atomically
from bnexp.runs.folder import read_json, resume_command
from bnexp.runs.process import is_gone, this_process

OWN_LOCK = ".lock.json"
_MOST_BYTES = 10_000
_TOUCHED_EVERY_S = 15.0
_LOOKED_EVERY_S = 0.5
ALIVE_S = 60.0
"""A holder that touched its lock within this time is alive."""


class Held(BnexpError):
    """Another process trains the run."""


class LostLock(BnexpError):
    """Another process took the lock of a run: this one may not write to the run any more."""


class HeldLock:
    """The file by which this process holds a run, and its content."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self._content = path, content

    def refuse_lost(self) -> None:
        """Raise a LostLock where the file is no longer this process's; asked before each record is written.

        Where the file cannot be read, or the whole folder is gone, the record itself cannot be written either.
        """
        with contextlib.suppress(OSError):
            if self.is_own() or not self.path.parent.is_dir():
                return
            folder = self.path.parent
            raise LostLock(
                f"{folder}: another process took the lock of this run while this one gave no sign of life; it writes "
                "nothing more, and what came after its last checkpoint is trained anew by the other"
            )

    def is_own(self) -> bool:
        """Tell whether the file is there and says what this process wrote; OSError where it cannot be read."""
        try:
            return read_file(self.path, _MOST_BYTES, links=False) == self._content
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def own_lock(folder: Path, why_no_flock: str | None, *, break_lock: bool) -> Iterator[HeldLock]:
    """Hold a run by a file; `why_no_flock` is None where this process holds flock, too.

    Raises:
        BnexpError: another process holds it, and is alive or may be.
        OSError: the file cannot be written.
    """
    refuse_own_lock(folder, why_no_flock, break_lock=break_lock)
    content = json.dumps({**this_process(), "flock": why_no_flock is None, "token": secrets.token_hex(8)}).encode()
    held = HeldLock(folder / OWN_LOCK, content)
    try:
        descriptor = os.open(held.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise Held(f"{folder}: another process has just taken the run; wait for it to end, or stop it") from None
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(held, ended), daemon=True)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        heart.start()
        yield held
    finally:
        ended.set()
        if heart.ident is not None:
            heart.join()
        with contextlib.suppress(OSError):  # the folder may be gone by now
            if held.is_own() or not held.path.stat().st_size:
                held.path.unlink()


def holder_here(folder: Path) -> int | None:
    """Return the number of the process of this machine that trains a run; None where none does, or gives a sign of it.

    A holder that is suspended, on another machine, or of an earlier version is none: only an attempt tells of those.
    """
    path = folder / OWN_LOCK
    holder = read_json(path) or {}
    host, pid = holder.get("host"), holder.get("pid")
    if host != platform.node() or not isinstance(pid, int) or is_gone(host, pid, holder.get("process_started")):
        return None
    with contextlib.suppress(OSError):
        return pid if time.time() - path.lstat().st_mtime < ALIVE_S else None
    return None


def _beat(held: HeldLock, ended: threading.Event) -> None:
    """Touch the file of a lock until the run ends, or another process has taken it."""
    while not ended.wait(_TOUCHED_EVERY_S):
        with contextlib.suppress(OSError):
            if held.is_own():
                os.utime(held.path)


def refuse_own_lock(folder: Path, why_no_flock: str | None, *, break_lock: bool) -> None:
    """Raise a BnexpError where a process holds a run by a file; take the file away where that process has ended."""
    path = folder / OWN_LOCK
    age_s = _age_s(path)
    if age_s is None:
        return
    holder = read_json(path) or {}
    host, pid = holder.get("host"), holder.get("pid")
    known = isinstance(host, str) and isinstance(pid, int)
    who = f"process {pid} on host {host}" if known else "another process"
    if known and (is_gone(host, pid, holder.get("process_started")) or _let_go(path, holder, why_no_flock, age_s)):
        _take_away(path, holder)
    elif age_s < ALIVE_S:
        sign = f"its last sign of life was {age_s:.0f} s ago"
        raise Held(f"{folder}: {who} is training this run right now ({sign}); wait for it to end, or stop it")
    elif break_lock:
        _take_away(path, holder)
    else:
        what = f"holds the lock, a file of its own{f' ({why_no_flock})' if why_no_flock else ''}"
        advice = f"If it has ended: {resume_command(folder)} --break-lock"
        raise Held(f"{folder}: {who} {what}, but gave no sign of life for {_spoken(age_s)}. {advice}")


def _let_go(path: Path, holder: Mapping[str, Any], why_no_flock: str | None, age_s: float) -> bool:
    """Tell whether a holder has ended, by the flock that it held and this process holds now.

    On some mounts other machines do not see a flock, so a holder with a recent sign of life is watched for the next.
    """
    if why_no_flock is not None or holder.get("flock") is not True:
        return False
    if age_s >= ALIVE_S:
        return True
    touched, until = path.stat().st_mtime_ns, time.monotonic() + 1.5 * _TOUCHED_EVERY_S
    while time.monotonic() < until:
        time.sleep(_LOOKED_EVERY_S)
        if not path.exists():
            return True
        if path.stat().st_mtime_ns != touched:
            return False
    return True


def _take_away(path: Path, holder: object) -> None:
    """Delete the lock of a holder, unless another process has meanwhile replaced it by its own."""
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
    """Return a duration in its largest unit, such as `3 hours`."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'s' * (count != 1)}"
    return f"{seconds:.0f} s"
