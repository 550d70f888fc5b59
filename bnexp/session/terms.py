"""The terms of a run: its folders, its device, its display and its warnings."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.config.plan import Plan
from bnexp.document.show import remark
from bnexp.errors import ConfigError, visible
from bnexp.session import display
from bnexp.session.display import Display

if TYPE_CHECKING:
    from bnexp.training.world import World  # which loads torch

Show = Callable[[str, Plan], Display]
"""Makes the display of a run, from its name and plan."""


def show_nothing(name: str, plan: Plan) -> Display:
    """Return a display that shows nothing."""
    return Display()


def warn_nobody(warning: str) -> None:
    """Drop a warning."""


def print_note(note: str) -> None:
    """Print a note to stderr."""
    remark("note", visible(note))


def print_warning(warning: str) -> None:
    """Print a warning to stderr."""
    remark("warning", visible(warning))


@dataclass(frozen=True)
class Terms:
    """Where and how a run is trained: a value that can be handed to another process."""

    runs_dir: Path = Path("runs")
    data_dir: Path | None = None  # None: the default place, and for a resumed run where it was when that began
    device: str | None = None  # auto, cpu, cuda, cuda:N or mps. None: auto, and for a resumed run the one it began on
    show: Show = show_nothing
    warn: Callable[[str], None] = warn_nobody
    note: Callable[[str], None] = warn_nobody
    echo: Callable[[str], object] = warn_nobody  # takes each line of the log
    argv: tuple[str, ...] = ()  # the command line, for the records
    role: str | None = None  # of the run in its sweep, for the records
    chosen: Mapping[str, Any] | None = None  # by the tuning of its sweep, for the records
    resume: bool = False  # the newest unfinished run of the same config, if there is one
    again: bool = False  # also where a run of the same config is complete
    profile: int = 0  # steps to profile
    world: "World | None" = None  # the processes that train it together, where there are several
    stacked: int = 1  # how many runs are trained as one vectorized network, this one among them

    @property
    def processes(self) -> int:
        """How many processes train it."""
        return 1 if self.world is None else self.world.size


_OTHER_LAUNCHERS = {
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    "mpiexec": ("PMI_SIZE", "PMI_RANK"),
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
}
"""What starts one command in several processes, and where it says how many there are and which this one is."""


def is_one_of_several(environment: Mapping[str, str], words: Sequence[str]) -> bool:
    """Tell whether this is one of several processes that train together, as torchrun starts them.

    Raises:
        ConfigError: a launcher started several that do not know of each other, so that each would train the same run.
    """
    if (count := _several(environment, "WORLD_SIZE", "RANK")) is not None:
        wrong = _not_as_torchrun_sets_it(environment, count)
        if not wrong:
            return True
        raise ConfigError(
            f"WORLD_SIZE={count} says that {count} processes train together, but {' and '.join(wrong)}. "
            + _lines_to_type(count, words)
        )
    for launcher, (size, rank) in _OTHER_LAUNCHERS.items():
        if (count := _several(environment, size, rank)) is not None and environment.get("WORLD_SIZE") != "1":
            raise ConfigError(
                f"{launcher} started {count} processes ({size}={count}), and each would train the same run. "
                + _lines_to_type(count, words)
            )
    return False


def _several(environment: Mapping[str, str], size: str, rank: str) -> int | None:
    """Return how many processes two variables tell of; None where that is one, or nothing."""
    count = environment.get(size, "")
    return int(count) if count.isdecimal() and int(count) > 1 and rank in environment else None


def _not_as_torchrun_sets_it(environment: Mapping[str, str], count: int) -> list[str]:
    """Say which variables of a process group are missing or make no sense."""
    wrong = [f"{name} is not set" for name in ("MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    ranks = {"RANK": count, "LOCAL_RANK": count, "LOCAL_WORLD_SIZE": count + 1, "MASTER_PORT": 65536}
    for name, end in ranks.items():
        value = environment.get(name) or "0"
        if not (value.isdecimal() and int(value) < end):
            wrong.append(f"{name} is {value}, expected a number from 0 to {end - 1}")
    return wrong


def _lines_to_type(count: int, words: Sequence[str]) -> str:
    line = f"torchrun --nproc-per-node {count} -m bnexp {shlex.join(words)}"
    return f"One run in {count} processes: {line}. In one: {shlex.join(['bnexp', *words])}"


def print_line(line: str) -> None:
    """Print a line of the log to stderr."""
    print(line, file=sys.stderr)


def on_the_command_line(terms: Terms, *, quiet: bool, verbose: bool = False) -> Terms:
    """Return the terms of a run that a command starts: its warnings are printed, and its progress unless quiet.

    With `verbose`, all that its log gets is printed in place of the progress.

    Raises:
        ConfigError: both are asked for.
    """
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose: choose one of them")
    show = show_nothing if quiet or verbose else display.display_for
    echo = print_line if verbose else terms.echo
    return replace(terms, show=show, warn=print_warning, note=print_note, echo=echo, argv=tuple(sys.argv))
