"""Compute many values on all cores, in processes that are copies of this one.

A copy has everything in memory already, and imports nothing again. It is made where that is safe: on Linux, by a
process with one thread of Python and without torch. Elsewhere, and where a copy ends before its work does, the values
are computed here, so that results and errors are those of a plain loop.
"""

import contextlib
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import BinaryIO, TypeVar

_MOST = 8
_PIPE_BYTES = 1 << 20
"""What a copy may be ahead of who takes its values; the usual 64 KiB may be less than one of them."""
_Given = TypeVar("_Given")
_Computed = TypeVar("_Computed")


@dataclass(frozen=True)
class _Copy:
    pid: int
    values: BinaryIO


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(compute: Callable[[_Given], _Computed], given: Sequence[_Given]) -> Iterator[_Computed]:
    """Begin to compute a value of each that is given, and return them one at a time, in order.

    Values are sent from process to process, by pickle; who calls may do something else before it takes the first.
    """
    number, copies = min(usable_cores(), len(given), _MOST), list[_Copy]()
    if number > 1 and sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules:
        with contextlib.suppress(OSError):  # no process more, no file more, ...
            for first in range(number):
                copies.append(_copied(compute, given[first::number]))
    if len(copies) == number:
        return _taken(compute, given, copies)
    _end(copies)
    return map(compute, given)


def _taken(
    compute: Callable[[_Given], _Computed], given: Sequence[_Given], copies: Sequence[_Copy]
) -> Iterator[_Computed]:
    """Yield what the copies computed, each in its turn; what they did not is computed here."""
    try:
        for one, copy in zip(given, cycle(copies), strict=False):
            try:
                value: _Computed = pickle.load(copy.values)  # noqa: S301 - of our own copy
            except (EOFError, OSError, pickle.UnpicklingError):
                value = compute(one)
            yield value
    finally:
        _end(copies)


def _copied(compute: Callable[[_Given], _Computed], given: Sequence[_Given]) -> _Copy:
    """Copy this process; the copy computes a value of each that is given, sends them, and ends."""
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of numpy, idle, hold nothing that is needed
            pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid:
        os.close(writing)
        return _Copy(pid, open(reading, "rb"))
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says that it was interrupted
        os.close(reading)
        _send(map(compute, given), writing)
    finally:
        os._exit(0)  # nothing of the first process is run twice, such as what it does at its end


def _send(values: Iterator[object], writing: int) -> None:
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # more than this user may have
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with open(writing, "wb") as pipe:
        for value in values:
            pipe.write(pickle.dumps(value))
            pipe.flush()


def _end(copies: Sequence[_Copy]) -> None:
    for copy in copies:
        copy.values.close()
        with contextlib.suppress(OSError):  # it has ended, and whoever handles that signal knows
            os.kill(copy.pid, signal.SIGKILL)
            os.waitpid(copy.pid, 0)
