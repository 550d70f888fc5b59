"""Ctrl-C and the signals that end a process: at the first a training finishes its step, at the second it stops at once.

A scheduler announces the end of the time with a signal of its own choice, such as SIGUSR1 (Slurm's `--signal=USR1@60`),
SIGUSR2 or SIGXCPU. Each does the same, but for its being heard once only: it may come again, and asks for no more.

Exit codes are those of the shell: 128 + the number of the signal, 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1 and
140 for SIGUSR2 on Linux.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from bnexp.errors import Interrupted


def _numbers(*names: str) -> list[int]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


ANNOUNCEMENTS = _numbers("SIGUSR1", "SIGUSR2", "SIGXCPU")
_SIGNALS = [*_numbers("SIGINT", "SIGTERM", "SIGHUP"), *ANNOUNCEMENTS]


class StopRequest:
    """The request to stop, which a signal makes: false until one has come."""

    def __init__(self, *, speaks: bool = True) -> None:
        self._speaks = speaks
        self._signal: int | None = None
        self._waits = 0  # for the steps of how many runs a first signal waits
        self._leaves = False

    def __bool__(self) -> bool:
        return self._signal is not None

    @property
    def number(self) -> int:
        """The number of the signal; 0 before any has come."""
        return self._signal or 0

    def take(self, number: int) -> None:
        """Take the signal that another process of the same run was asked to stop by, where none has come here."""
        self._signal = self._signal or number

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        return 128 + (self._signal or signal.SIGINT)

    @contextlib.contextmanager
    def listening(self, nothing_done: str = "interrupted before the training began") -> Iterator[None]:
        """Handle signals until the context ends; those that the process ignores stay ignored.

        Only the main thread of a process can: in any other, nothing changes.

        Raises:
            Interrupted: by one that came where nothing had begun yet, with the words of `nothing_done`.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._receive) for number in heard}
        try:
            yield
        except KeyboardInterrupt:
            self.leave()
            raise Interrupted(nothing_done, self.exit_code) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def finishing_the_step(self) -> Iterator[None]:
        """Let a first signal wait for the end of the step, until the context ends; outside, it interrupts at once."""
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    def leave(self) -> None:
        """Ignore signals from now on: a Ctrl-C held down would come amid the last records, too."""
        self._leaves = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; one that does not wait is a KeyboardInterrupt."""
        left = self._leaves and not self._waits  # of stacked runs one may have ended while the others take steps
        if left or (self._signal is not None and number in ANNOUNCEMENTS):
            return
        first, self._signal = self._signal is None, number
        if not (first and self._waits):
            raise KeyboardInterrupt
        if not self._speaks:
            return
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # nobody reads, or the signal came amid a print
            again = "" if number in ANNOUNCEMENTS else "; once more leaves at once"
            print(f"finishing the step and writing a checkpoint{again}", file=sys.stderr, flush=True)
