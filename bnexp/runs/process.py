"""Tell whether the process of a run still lives. Numbers are used again, so one counts only with its time of start."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

_POSIX, _LINUX = os.name == "posix", sys.platform == "linux"
_LARGEST_PID = 2**31 - 1
_ENDED = ("Z", "X")
"""States of a process that has ended: a zombie only waits for its parent to collect the exit code."""


def this_process() -> dict[str, Any]:
    """Return what identifies this process: `host`, `pid` and `process_started`.

    `process_started` is a text to compare and nothing more; None where the system does not tell it.
    """
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "process_started": _look_up(pid).started}


def is_gone(host: object, pid: object, started: object) -> bool:
    """Tell whether a process that `this_process` described has certainly ended.

    It has where, on this host, its number is free, or belongs to a zombie or to a process with another time of start,
    or where the host was restarted since. Another host, another container and senseless values prove nothing.
    """
    if not _POSIX or not host or host != platform.node() or not _is_process_number(pid):
        return False
    then = started if isinstance(started, str) else None
    if _LINUX:
        place, here = _place(then), _here()
        if place is None or here is None:
            then = None
        elif place[0] != here[0]:
            return True
        elif place != here:
            return False
    if _is_free(pid):
        return True
    process = _look_up(pid)
    return process.state in _ENDED or (None not in (then, process.started) and process.started != then)


def is_suspended(host: object, pid: object) -> bool:
    """Tell whether a process of this host is suspended, by Ctrl-Z or a signal."""
    return _POSIX and host == platform.node() and _is_process_number(pid) and _look_up(pid).state == "T"


def _here() -> tuple[str, str] | None:
    """Return boot and container: a process number is valid on Linux within one container, until the next boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return None


def _place(started: str | None) -> tuple[str, str] | None:
    """Return the first two parts of `<boot>:<container>:<ticks>`."""
    parts = (started or "").split(":")
    return (parts[0], parts[1]) if len(parts) == 3 and all(parts) else None


class _Process(NamedTuple):
    """Time of start and state of a process; None where the system does not tell them."""

    started: str | None = None
    state: str | None = None


def _look_up(pid: int) -> _Process:
    if _LINUX:
        return _from_proc(pid)
    return _from_ps(pid) if _POSIX else _Process()


def _from_proc(pid: int) -> _Process:
    """Read the state and the start, in clock ticks since the boot: fields 3 and 22 in proc_pid_stat(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return _Process()
    # Field 2 is the name in parentheses; it may itself hold spaces and parentheses.
    fields = stat.rpartition(b")")[2].decode("ascii", "replace").split()
    here = _here()
    if here is None or len(fields) < 20:
        return _Process()
    return _Process(":".join([*here, fields[19]]), fields[0])


def _from_ps(pid: int) -> _Process:
    """Read state and start from ps, in one language and one time zone, since the text of a time depends on both."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        answer = subprocess.run(  # noqa: S603  no shell
            command, capture_output=True, timeout=10, check=False, env={**os.environ, "LC_ALL": "C", "TZ": "UTC0"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return _Process()
    state, _, started = answer.stdout.decode("ascii", "replace").strip().partition(" ")
    return _Process(" ".join(started.split()), state[:1]) if started else _Process()


def _is_process_number(pid: object) -> TypeGuard[int]:
    return isinstance(pid, int) and not isinstance(pid, bool) and 0 < pid <= _LARGEST_PID


def _is_free(pid: int) -> bool:
    """Tell whether no process has the number; /proc alone may hide the processes of other users."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False
