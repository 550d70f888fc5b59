"""The run folder: its names, who may make it, and how its records are written and read.

runs/<name>/seed<k>/
  config.yaml      the resolved config
  config.json      a sealed copy of it, which is read faster and tells what was changed (seal.py)
  meta.json        status and circumstances, rewritten in one move whenever the status changes
  metrics.jsonl    one row per logged step
  checkpoints/     the last two and the best
  .lock            held by the process that trains the run; .lock.json says which one that is
  summary.json     the figures of the finished run, written last, in one move
  trace.json       with --profile: what torch's profiler saw, for Perfetto; profile.json has the costliest operations
"""

import errno
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bnexp.files import finite_or_null, parse_json, read_file, refuse_link, write_text_atomically

CONFIG, META, METRICS, SUMMARY = "config.yaml", "meta.json", "metrics.jsonl", "summary.json"
LOG = "log.txt"
PROFILE, TRACE = "profile.json", "trace.json"
CONFIG_COPY, CHECKPOINTS = "config.json", "checkpoints"
MAX_RECORD_BYTES = 10_000_000
"""Far more than meta.json and summary.json ever hold."""
FORMAT = 1
"""Version of the layout of the records, kept in meta.json."""

Status = Literal["running", "finished", "diverged", "failed", "interrupted"]

CLAIMED = re.compile(r"seed(\d{1,18})(?:-(\d{1,18}))?")
"""The name of a claimed folder: the seed, and the number of the repeat."""
_CHECKPOINT = re.compile(r"step(\d{1,18})\.pt")


def seed_of(folder: Path) -> tuple[int | None, int]:
    """Return the seed and the number of the repeat in a folder's name: `seed3-2` is (3, 2), other names (None, 1)."""
    match = CLAIMED.fullmatch(folder.name)
    return (int(match[1]), int(match[2] or 1)) if match else (None, 1)


def newest_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first; the files are not opened. OSError as `checkpoints_by_step`."""
    return [path for _, path in sorted(checkpoints_by_step(folder).items(), reverse=True)]


def how_to_resume(folder: Path) -> str:
    """Say after which step a run can be resumed, and with which command."""
    if not folder.is_dir():
        return "the folder is gone; if it was moved, the run can be resumed there"
    try:
        checkpoints = checkpoints_by_step(folder)
    except OSError as error:
        return f"{unreadable_checkpoints(folder, error)}; then it can be resumed: {resume_command(folder)}"
    if not checkpoints:
        return f"no checkpoint is there yet, it can begin anew: {resume_command(folder)}"
    return f"it can be resumed after step {max(checkpoints):,}: {resume_command(folder)}"


def unreadable_checkpoints(folder: Path, error: OSError) -> str:
    """Say why the checkpoints of a run cannot be listed, and what mends it; nothing says that they are gone."""
    place = folder / CHECKPOINTS
    mend = (
        f"; make it readable: chmod u+rwx {shlex.quote(str(place))}"
        if error.errno in (errno.EACCES, errno.EPERM)
        else ""
    )
    return f"{place}: cannot be read: {error.strerror or error}{mend}"


def resume_command(folder: Path) -> str:
    """Return the shell command that resumes a run, in as many processes as it began with."""
    meta = read_json(folder / META) or {}
    processes = meta.get("processes")
    count = processes.get("count") if isinstance(processes, dict) else None
    together = f"torchrun --nproc-per-node {count} -m " if isinstance(count, int) and count > 1 else ""
    return " ".join([f"{together}bnexp resume {shlex.quote(str(folder))}", *_plugin_files(meta)])


def _plugin_files(meta: Mapping[str, Any]) -> list[str]:
    """Return the options that name the files of a run's own norms and activations once more."""
    named = meta.get("plugins")
    records = [one for one in named.values() if isinstance(one, dict)] if isinstance(named, dict) else []
    given = {str(one.get("path")) for one in records if one.get("distribution") is None}
    return [f"--plugin {shlex.quote(path)}" for path in sorted(given)]


def checkpoints_by_step(folder: Path) -> dict[int, Path]:
    """Return the checkpoints of a run by their steps; the files are not opened.

    Raises:
        OSError: the folder of them cannot be read, or is a link; where there is none, that is no error.
    """
    place = folder / CHECKPOINTS
    refuse_link(place)
    try:
        paths = list(place.iterdir())
    except FileNotFoundError:
        return {}
    return {int(match[1]): path for path in paths if (match := _CHECKPOINT.fullmatch(path.name))}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a record as strict JSON in one move; a figure that is not finite becomes null."""
    write_text_atomically(path, json.dumps(finite_or_null(values), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a record, or None where it is missing or damaged."""
    try:
        return parse_json(read_file(path, MAX_RECORD_BYTES, links=False))
    except (OSError, ValueError):
        return None
