"""The terms of a run: its folders, its device, its display and its warnings."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    """Where and how a run is trained: a value that can be handed to another process."""

    runs_dir: Path = Path("runs")
    data_dir: Path | None = None  # None: the default place, and for a resumed run where it was when that began
    device: str | None = None  # auto, cpu, cuda, cuda:N or mps. None: auto, and for a resumed run the one it began on
    show: Show = show_nothing
    warn: Callable[[str], None] = warn_nobody
    argv: tuple[str, ...] = ()  # the command line, for the records
    resume: bool = False  # the newest unfinished run of the same config, if there is one


def on_the_command_line(terms: Terms, *, quiet: bool) -> Terms:
    """Return the terms of a run that a command starts: its warnings are printed, and its progress unless quiet."""
    show = show_nothing if quiet else display.display_for
    return replace(terms, show=show, warn=print_warning, argv=tuple(sys.argv))
