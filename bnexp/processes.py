"""Compute many values on all cores, in processes that are copies of this one.

A copy has everything in memory already, and imports nothing again. It is made where that is safe: on Linux, by a
process with one thread of Python and without torch. Elsewhere, and where a copy ends before its work does, the values
are computed here, so that results and errors are those of a plain loop.
"""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

_MOST = 8
_Given = TypeVar("_Given")
_Computed = TypeVar("_Computed")
_NOTHING: tuple[Callable[[Any], Any], Sequence[Any]] = (lambda nothing: None, ())
_work = _NOTHING
"""What the copies that are being made are to compute: they find it in memory, since not all of it can be sent."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(compute: Callable[[_Given], _Computed], given: Sequence[_Given]) -> Iterator[_Computed]:
    """Begin to compute a value of each that is given, and return them one at a time, in order.

    Values are sent from process to process, by pickle; who calls may do something else before it takes the first.
    """
    number = min(usable_cores(), len(given), _MOST)
    if number <= 1 or sys.platform != "linux" or threading.active_count() > 1 or "torch" in sys.modules:
        return map(compute, given)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    global _work
    _work = compute, given
    pool = ProcessPoolExecutor(number, get_context("fork"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of numpy, idle, hold nothing that is needed
            values = [pool.submit(_nth, index) for index in range(len(given))]
    except OSError:  # no process more, no file more, ...
        pool.shutdown(cancel_futures=True)
        return map(compute, given)
    finally:
        _work = _NOTHING  # all copies are made with the first value
    return _taken(compute, given, values, pool)


def _nth(index: int) -> Any:
    """Compute one value, in a copy."""
    compute, given = _work
    return compute(given[index])


def _taken(
    compute: Callable[[_Given], _Computed], given: Sequence[_Given], values: "Sequence[Future[_Computed]]", pool: Any
) -> Iterator[_Computed]:
    """Yield what the copies computed; what they did not is computed here."""
    from concurrent.futures.process import BrokenProcessPool

    try:
        for one, value in zip(given, values, strict=True):
            try:
                yield value.result()
            except BrokenProcessPool:
                yield compute(one)
    finally:
        pool.shutdown(cancel_futures=True)
