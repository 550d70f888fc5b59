"""The terms of a run: its folders, its device, its display and its warnings."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bnexp.config.plan import Plan
from bnexp.errors import visible
from bnexp.session import display
from bnexp.session.display import Display

Show = Callable[[str, Plan], Display]
"""Makes the display of a run, from its name and plan."""


def show_nothing(name: str, plan: Plan) -> Display:
    """Return a display that shows nothing."""
    return Display()


def warn_nobody(warning: str) -> None:
    """Drop a warning."""


def print_warning(warning: str) -> None:
    """Print a warning to stderr."""
    print(f"warning: {visible(warning)}", file=sys.stderr)


@dataclass(frozen=True)
class Terms:
    """Where and how a run is trained.

    One value, which can be handed to another process where `show` and `warn` are functions of a module.

    Attributes:
        runs_dir: folder of all runs.
        data_dir: where datasets lie. None: the default place, and for a resumed run where they lay when it began.
        device: auto, cpu, cuda, cuda:N or mps. None: auto, and for a resumed run the one that it was trained on.
        show: makes the display.
        warn: is called with each warning.
        argv: the command line, for the records.
        resume: whether the newest unfinished run of the same config is resumed, if there is one.
    """

    runs_dir: Path = Path("runs")
    data_dir: Path | None = None
    device: str | None = None
    show: Show = show_nothing
    warn: Callable[[str], None] = warn_nobody
    argv: tuple[str, ...] = ()
    resume: bool = False


def terms_of_command(
    *,
    quiet: bool,
    runs_dir: Path = Path("runs"),
    data_dir: Path | None = None,
    device: str | None = None,
    resume: bool = False,
) -> Terms:
    """Return the terms of a run that is started from the command line: it shows its progress there unless quiet."""
    return Terms(
        runs_dir=runs_dir,
        data_dir=data_dir,
        device=device,
        show=show_nothing if quiet else display.display_for,
        warn=print_warning,
        argv=tuple(sys.argv),
        resume=resume,
    )
