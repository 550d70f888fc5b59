"""The display of a training: a live bar in a terminal, one plain line per evaluation elsewhere."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bnexp.config.plan import Plan
from bnexp.document.writing import clock_duration
from bnexp.streams import encodable
from bnexp.training.clock import Clock

if TYPE_CHECKING:
    from bnexp.measure.evaluation import Score

REFRESH_SECS = 0.1
_OF_TRAINING = ("loss/train", "accuracy/train", "gradient_norm/total", "examples_per_s/train")
_OF_VALIDATION = ("loss/val", "accuracy/val")


class Recent(Protocol):
    """The training loss between rows, as `training.log.StepLog` has it; None before the first step."""

    def recent_loss(self) -> float | None:
        """Return the mean over the steps since the last row."""

    def recent(self, most: int) -> "Score | None":
        """Return loss and accuracy over the last `most` steps."""


class Display:
    """Shows a training: takes its rows like a writer, and is called after each step. This one shows nothing.

    A figure is shown where it is current, or with the time that it is of, or not at all.
    """

    log: Recent | None = None

    def watch(self, log: Recent) -> None:
        """Take the log, which is asked for the training loss between rows."""
        self.log = log

    def waiting(self, reason: str) -> None:
        """Show what the run waits for before its first step."""

    def step(self, step: int, clock: Clock) -> None:
        """Take note of a finished step; must return at once when there is nothing new to show."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Take the figures of a row."""

    def histograms(self, step: int, values: dict[str, Any]) -> None:
        """Take histograms, which no display shows."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class LineDisplay(Display):
    """Prints one plain line per evaluation, for logs and pipes."""

    def __init__(self, name: str, plan: Plan, write: Callable[[str], None]) -> None:
        self._name, self._plan, self._write = name, plan, write
        self._evaluated: dict[str, float] | None = None
        self._shown_at = 0

    def waiting(self, reason: str) -> None:
        """Print the reason."""
        self._write(f"{self._name}  {reason}")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Remember a row with a validation score, which is shown at the next step's call."""
        if "loss/val" in values:
            self._evaluated = values

    def step(self, step: int, clock: Clock) -> None:
        """Print the line of an evaluation: the figures of its own row, and the training loss since the last line."""
        if self._evaluated is None:
            return
        row, self._evaluated = self._evaluated, None
        if self.log is not None and (score := self.log.recent(step - self._shown_at)) is not None:
            row = {**row, "loss/train": score.loss, "accuracy/train": score.accuracy}
        self._shown_at = step
        eta = clock_duration(clock.remaining_s(step, *left(self._plan, step)))
        self._write(f"{self._name}  {position(self._plan, step)}  {figures(row)}  ETA {eta}")


class LiveDisplay(Display):
    """A progress bar over two lines of figures, redrawn in place, as long as the terminal is there.

    Its window may be closed while the run trains or writes its last checkpoint: that is no fault of the run.
    """

    def __init__(self, name: str, plan: Plan, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._name, self._plan, self._now = name, plan, now
        self._shown_at = -math.inf
        self._row: tuple[int, dict[str, float]] = (0, {})
        self._scores: tuple[int, dict[str, float]] = (0, {})
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def waiting(self, reason: str) -> None:
        """Show the reason until there is a step to show."""
        self._draw(Text.assemble((self._name, "bold"), f"  {reason}"))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Remember the newest row of training figures, and the newest scores."""
        if "loss/train" in values:
            self._row = step, {name: value for name, value in values.items() if name in _OF_TRAINING}
        if "loss/val" in values:
            self._scores = step, {name: value for name, value in values.items() if name in _OF_VALIDATION}

    def step(self, step: int, clock: Clock) -> None:
        """Redraw, a few times a second at most."""
        now = self._now()
        if now - self._shown_at < REFRESH_SECS and step != self._plan.total_steps:
            return
        self._shown_at = now
        eta = clock_duration(clock.remaining_s(step, *left(self._plan, step)))
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(ProgressBar(total=self._plan.total_steps, completed=step), f"ETA {eta}")
        where = Text.assemble((self._name, "bold"), f"  {position(self._plan, step)}", overflow="fold")
        self._draw(Group(line, where, Text(self._figures(step), style="cyan")))

    def _figures(self, step: int) -> str:
        """Return the training loss of now, and the figures of the last row and evaluation with the time they are of."""
        (row_step, row), (score_step, scores) = self._row, self._scores
        parts = []
        if row_step != step:
            loss = self.log.recent_loss() if self.log else None
            parts += [] if loss is None else [figures({"loss/train": loss})]
        if row:
            parts.append(("" if row_step == step else f"step {row_step:,}: ") + figures(row))
        if scores:
            epoch = f"epoch {self._plan.epoch_at(score_step):.1f}: "
            parts.append(("" if score_step == step else epoch) + figures(scores))
        return "  ".join(parts)

    def close(self) -> None:
        """Take the bar away."""
        with contextlib.suppress(OSError):
            self._live.stop()

    def _draw(self, shown: RenderableType) -> None:
        with contextlib.suppress(OSError):
            self._live.update(shown, refresh=True)


def display_for(name: str, plan: Plan) -> Display:
    """Return the display that suits where stdout goes."""
    console = Console()
    return LiveDisplay(name, plan, console) if console.is_terminal else LineDisplay(name, plan, say)


def say(text: str) -> None:
    """Print, where it can be printed: a pipe that `head` has closed or a full disk must not end a training."""
    try:
        print(encodable(text, getattr(sys.stdout, "encoding", None)), flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  it stays open to the end


def left(plan: Plan, step: int) -> tuple[int, int]:
    """Return the steps and the evaluations still to come, the two on the test set at the end among them."""
    return plan.total_steps - step, plan.evaluations_until(plan.total_steps) - plan.evaluations_until(step) + 2


def position(plan: Plan, step: int) -> str:
    """Return where a run is, such as `epoch 2.5/10  step 1055/4220`."""
    epochs = plan.epoch_at(plan.total_steps)
    return f"epoch {plan.epoch_at(step):.1f}/{epochs:.4g}  step {step:,}/{plan.total_steps:,}"


def figures(latest: dict[str, float]) -> str:
    """Write figures of a training on one line."""
    forms = {
        "loss/train": "loss {}",
        "accuracy/train": "accuracy {:.2%}",
        "gradient_norm/total": "gradient norm {:.3g}",
        "loss/val": "val loss {}",
        "accuracy/val": "val accuracy {:.2%}",
        "examples_per_s/train": "{:,.0f} examples/s",
    }
    return "  ".join(
        form.format(loss_text(latest[name]) if name.startswith("loss/") else latest[name])
        for name, form in forms.items()
        if name in latest
    )


def loss_text(value: float) -> str:
    """Write a loss with four decimals, or three digits where it is very large."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"
