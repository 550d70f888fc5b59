"""The terms of a run: its folders, its device, its display and its warnings."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bnexp.config.plan import Plan
from bnexp.errors import ConfigError, visible
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
    role: str | None = None  # of the run in its sweep, for the records
    resume: bool = False  # the newest unfinished run of the same config, if there is one


_LAUNCHERS = {
    "torchrun": ("WORLD_SIZE", "RANK"),
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    "mpiexec": ("PMI_SIZE", "PMI_RANK"),
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
}
"""What starts one command in several processes, and where it says how many there are and which this one is."""


def refuse_several_processes(environment: Mapping[str, str], words: Sequence[str]) -> None:
    """Refuse to be one of several processes, each of which would train the same run.

    Raises:
        ConfigError: a launcher started more than one; says how to start without it.
    """
    for launcher, (size, rank) in _LAUNCHERS.items():
        count = environment.get(size, "")
        if count.isdecimal() and int(count) > 1 and rank in environment:
            raise ConfigError(
                f"{launcher} started {int(count)} processes ({size}={count}), and each would train the same run: bnexp "
                f"trains in one. Start it without {launcher}: {shlex.join(['bnexp', *words])}"
            )


def on_the_command_line(terms: Terms, *, quiet: bool) -> Terms:
    """Return the terms of a run that a command starts: its warnings are printed, and its progress unless quiet."""
    show = show_nothing if quiet else display.display_for
    return replace(terms, show=show, warn=print_warning, argv=tuple(sys.argv))
