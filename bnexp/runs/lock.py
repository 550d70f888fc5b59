"""Let one process at a time train a run: it holds a lock, which the system releases however the process ends."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bnexp.errors import BnexpError
from bnexp.files import refuse_link, with_advice
from bnexp.runs.folder import META, read_json
from bnexp.runs.own_lock import Held, HeldLock, own_lock
from bnexp.runs.process import is_gone, is_suspended

try:
    import fcntl
except ImportError:  # Windows has other locks, which every file system there knows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_WAIT_S = 0.5
"""A process that is just ending gets this long to release the lock."""


@contextlib.contextmanager
def run_lock(folder: Path, *, break_lock: bool = False) -> Iterator[HeldLock]:
    """Hold the lock of a run against all other processes and threads; the file that stays behind means nothing.

    It is flock, where the file system takes it, and a file that says who holds it (`own_lock`), which other machines
    see in any case; `break_lock` takes that of a process away which gives no sign of life.

    Raises:
        Held: another process holds the lock.
        BnexpError: the folder is missing or cannot be written.
    """
    if not folder.is_dir():
        raise BnexpError(f"{folder}: no such folder; expected the folder of a run")
    lock = FileLock(folder / LOCK)
    with contextlib.ExitStack() as held:
        try:
            if (why := _why_no_flock(folder / LOCK)) is None:
                lock.acquire(timeout=_WAIT_S)
                held.callback(_release, lock)
            own = held.enter_context(own_lock(folder, why, break_lock=break_lock))
        except Timeout:
            raise Held(f"{folder}: {_who_trains(folder)}") from None
        except OSError as error:
            raise BnexpError(f"{folder / LOCK}: the run cannot be locked: {with_advice(error)}") from None
        yield own


@contextlib.contextmanager
def turn_in(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Make a folder, and wait for whoever else took a turn in it, after `on_wait`; the file that stays means nothing.

    Where no turn can be taken, such as on a file system without flock, there is none: runs have their own locks.
    """
    lock = FileLock(folder / LOCK)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if _why_no_flock(folder / LOCK) is None:
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    on_wait()
                    lock.acquire(poll_interval=_WAIT_S)
                held.callback(_release, lock)
        yield


def _release(lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # the folder may be gone by now; closing the file releases the lock
        lock.release()


def _why_no_flock(path: Path) -> str | None:
    """Try a lock and let it go; return what the file system says where it takes none, else None."""
    if fcntl is None:
        return None
    refuse_link(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held = error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
        return None if held else f"the file system takes no flock: {error.strerror}"
    finally:
        os.close(descriptor)
    return None


def _who_trains(folder: Path) -> str:
    """Name the process in meta.json; if that one has ended, the holder has not written its own number yet."""
    meta = read_json(folder / META) or {}
    host, pid = meta.get("host"), meta.get("pid")
    if not isinstance(host, str) or not isinstance(pid, int) or is_gone(host, pid, meta.get("process_started")):
        return "another process is training this run right now; wait for it to end, or stop it"
    if is_suspended(host, pid):
        return f"process {pid} on host {host} is training this run, but is suspended; kill -CONT {pid} lets it continue"
    return f"process {pid} on host {host} is training this run right now; wait for it to end, or stop it"
