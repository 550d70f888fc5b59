"""Show a sweep: one plain line as each run ends, for logs and pipes."""

from collections.abc import Callable

from bnexp.document.writing import clock_duration
from bnexp.errors import visible
from bnexp.sweep.tuning import Choice
from bnexp.sweep.work import Ended, Event, Task, Warned


class SweepLines:
    """Prints a line for each run that ends, with its place among all.

    Args:
        total: runs that are to be done, those to come with the choices among them.
        write: prints a line.
    """

    def __init__(self, total: int, write: Callable[[str], None]) -> None:
        self._total, self._write = total, write
        self._done = 0

    def chosen(self, choice: Choice) -> None:
        """Print which values an arm got."""
        self._write(choice.text)

    def started(self, task: Task) -> None:
        """Take note of an attempt that begins."""

    def take(self, event: Event) -> None:
        """Print the end of a run, or what it warns of."""
        if isinstance(event, Warned):
            self._write(f"{event.key}  warning: {visible(event.warning)}")
        if not isinstance(event, Ended):
            return
        self._done += 1
        self._write(f"[{self._done}/{self._total}] {event.key}  {event.end} in {clock_duration(event.seconds)}")
        if event.error is not None:
            self._write("    " + "\n    ".join(event.error.splitlines()))
        if event.output:
            self._write("    its last output:\n    " + "\n    ".join(event.output.splitlines()[-10:]))

    def tick(self) -> None:
        """Do nothing: lines need no redrawing."""
