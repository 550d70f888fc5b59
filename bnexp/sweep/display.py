"""Show a sweep: live in a terminal, one plain line as each run ends elsewhere."""

import contextlib
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bnexp.document.writing import clock_duration, counted, first_few
from bnexp.errors import visible
from bnexp.session.display import REFRESH_SECS, figures, say
from bnexp.sweep.standing import Running, Standing
from bnexp.sweep.tuning import Choice
from bnexp.sweep.work import Ended, Event, Task, Warned

_MOST_SHOWN = 16
"""Workers with a line of their own."""
_OUTPUT_LINES = 10


class SweepDisplay:
    """Follows a sweep without a word; the others say more."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing

    def started(self, task: Task) -> None:
        """Take note of an attempt that begins."""
        self.standing.started(task)

    def take(self, event: Event) -> None:
        """Take note of an event."""
        self.standing.take(event)

    def ended(self, event: Ended, *, again: bool) -> None:
        """Take note of an end, after which there may be another attempt."""
        if not again:
            self.standing.close(event)

    def held(self, task: Task, holder: int) -> None:
        """Take note that another process trains a run, which is waited for."""
        self.standing.held[task.key] = holder

    def let_go(self, key: str) -> None:
        """Take note that this process has ended."""
        del self.standing.held[key]

    def chosen(self, choice: Choice) -> None:
        """Take note of the values that an arm got."""

    def tick(self) -> None:
        """Redraw, where there is something to redraw."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class SweepLines(SweepDisplay):
    """Prints a line for each run that ends, with its place among all, for logs and pipes."""

    def __init__(self, standing: Standing, write: Callable[[str], None] = say) -> None:
        super().__init__(standing)
        self._write = write

    def take(self, event: Event) -> None:
        """Print what a run warns of."""
        super().take(event)
        if isinstance(event, Warned):
            self._write(f"{event.key}  warning: {visible(event.warning)}")

    def ended(self, event: Ended, *, again: bool) -> None:
        """Print how an attempt ended, and where it failed with what."""
        super().ended(event, again=again)
        standing = self.standing
        eta = standing.eta_s()
        rest = f"  ETA {clock_duration(eta)}" if eta is not None and standing.ended < standing.total else ""
        for line in (f"[{standing.ended}/{standing.total}]  {end_line(event, again=again)}{rest}", *why(event)):
            self._write(line)

    def held(self, task: Task, holder: int) -> None:
        """Print which process trains a run."""
        super().held(task, holder)
        self._write(f"{task.key}  is trained by another process ({holder}); this sweep waits for it")

    def chosen(self, choice: Choice) -> None:
        """Print which values an arm got."""
        self._write(choice.text)


class SweepLive(SweepLines):
    """A bar over all runs, a line a running one, and the arm that is ahead, redrawn below the lines of what ended."""

    def __init__(self, name: str, standing: Standing, console: Console) -> None:
        super().__init__(standing, self._print)
        self._name, self._console = name, console
        self._drawn_at = -1.0
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def ended(self, event: Ended, *, again: bool) -> None:
        """Print what did not come well to its end; the rest shows in the bar."""
        SweepDisplay.ended(self, event, again=again)
        if again or event.end != "finished":
            for line in (end_line(event, again=again), *why(event)):
                self._print(line)

    def held(self, task: Task, holder: int) -> None:
        """Take note of it; it shows below those that run."""
        SweepDisplay.held(self, task, holder)

    def tick(self) -> None:
        """Redraw, a few times a second at most."""
        if (now := time.monotonic()) - self._drawn_at >= REFRESH_SECS:
            self._drawn_at = now
            with contextlib.suppress(OSError):
                self._live.update(Group(*self._parts()), refresh=True)

    def close(self) -> None:
        """Take the bar away."""
        with contextlib.suppress(OSError):
            self._live.stop()

    def _parts(self) -> list[Table | Text]:
        standing = self.standing
        eta = standing.eta_s()
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        place = f"{standing.ended}/{standing.total}"
        bar.add_row(
            Text(place, style="bold"),
            ProgressBar(total=max(standing.total, 1), completed=standing.ended),
            f"ETA {'-' if eta is None else clock_duration(eta)}",
        )
        head = Text.assemble((self._name, "bold"), f"  {self._ends()}", overflow="ellipsis", no_wrap=True)
        lines = [_line_of(run) for run in list(standing.running.values())[:_MOST_SHOWN]]
        if (hidden := len(standing.running) - _MOST_SHOWN) > 0:
            lines.append(Text(f"and {hidden} more"))
        return [head, bar, *lines, *self._others(), *self._leader()]

    def _ends(self) -> str:
        return ", ".join(f"{count} {end}" for end, count in self.standing.counts.items())

    def _others(self) -> list[Text]:
        """Return the line of the runs that other processes train."""
        held = self.standing.held
        if not held:
            return []
        whose = "run is trained by another process" if len(held) == 1 else "runs are trained by other processes"
        pids = ", ".join(str(pid) for pid in dict.fromkeys(held.values()))
        words = f"  {len(held)} {whose} ({pids}): {first_few(list(held), 3)}"
        return [Text(words, overflow="ellipsis", no_wrap=True)]

    def _leader(self) -> list[Text]:
        leader = self.standing.leader
        if leader is None:
            return []
        seeds = counted(leader.seeds, "seed")
        lost = f", {leader.diverged} diverged" if leader.diverged else ""
        words = f"ahead so far: {leader.arm}  {leader.accuracy:.2%} on validation ({seeds}{lost})"
        return [Text(words, style="cyan", overflow="ellipsis", no_wrap=True)]

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(Text(line), soft_wrap=True)


def display_for(name: str, standing: Standing, *, quiet: bool) -> SweepDisplay:
    """Return the display that suits where stdout goes."""
    if quiet:
        return SweepDisplay(standing)
    console = Console()
    return SweepLive(name, standing, console) if console.is_terminal else SweepLines(standing)


def end_line(event: Ended, *, again: bool = False) -> str:
    """Say how an attempt ended."""
    reached = f"  val accuracy {event.accuracy:.2%}" if event.accuracy is not None else ""
    words = {"lost": "died", "elsewhere": "is trained by another process"}.get(event.end, event.end)
    more = "; it is tried again" if again else ""
    when = "in another process" if event.by_another else f"after {clock_duration(event.seconds)}"
    return f"{event.key}  {words} {when}{reached}{more}"


def why(event: Ended) -> list[str]:
    """Return the lines that say why a run did not come to its end, and what its process printed at last."""
    lines = [f"    {line}" for line in (event.error or "").splitlines()]
    if event.output:
        printed = event.output.splitlines()[-_OUTPUT_LINES:]
        lines += ["    the end of its output:", *(f"      {visible(line)}" for line in printed)]
    return lines


def _line_of(run: Running) -> Text:
    """Return the line of a running run: its name, how far it is, and its latest figures."""
    progress = run.progress
    if progress is None:
        return Text(f"  {run.task.key}  starts", overflow="ellipsis", no_wrap=True)
    share = f"{progress.step / max(progress.total_steps, 1):4.0%}"
    eta = "" if progress.eta_s is None else f"  ETA {clock_duration(progress.eta_s)}"
    text = f"  {run.task.key}  {share}{eta}  {figures(dict(progress.figures))}"
    return Text(text, overflow="ellipsis", no_wrap=True)
