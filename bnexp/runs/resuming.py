"""Where a run that stopped goes on, and with which command; told from the names of its checkpoints, without torch."""

import re
import shlex
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints."""
_NAME = re.compile(r"step(\d{1,18})\.pt")


def newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints in a run's folder, that of the most steps first, without looking inside."""
    found = _by_step(folder)
    return [found[step] for step in sorted(found, reverse=True)]


def how_to_go_on(folder: Path) -> str:
    """Say after which step a run can go on, and with which command."""
    if not folder.is_dir():
        return "where it was moved to, it can go on"
    found = _by_step(folder)
    if not found:
        return f"no checkpoint is there yet, it can begin anew: {resume_command(folder)}"
    return f"it can go on after step {max(found):,}: {resume_command(folder)}"


def resume_command(folder: Path) -> str:
    """Return the command that continues a run, as a shell takes it."""
    return f"bnexp resume {shlex.quote(str(folder))}"


def _by_step(folder: Path) -> dict[int, Path]:
    try:
        names = list((folder / CHECKPOINTS).iterdir())
    except OSError:
        return {}
    return {int(match[1]): path for path in names if (match := _NAME.fullmatch(path.name))}
