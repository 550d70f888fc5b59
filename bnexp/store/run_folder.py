"""The run folder: who may write it, what lies in it, and how its records are written and read.

runs/<name>/seed<k>/
  config.yaml      the resolved config
  meta.json        status and circumstances, rewritten in one move whenever the status changes
  metrics.jsonl    one row per logged step
  checkpoints/     the last two and the best
  .lock            held by the process that trains the run
  summary.json     the figures of the finished run, written last, in one move
"""

import json
import math
from pathlib import Path
from typing import Any, Literal

from bnexp.errors import BnexpError
from bnexp.store.atomic import write_text_atomically
from bnexp.store.waiting import read_file

CONFIG, META, METRICS, SUMMARY = "config.yaml", "meta.json", "metrics.jsonl", "summary.json"
FORMAT = 1
"""Version of the layout of the records, kept in meta.json."""

Status = Literal["running", "finished", "diverged", "failed", "interrupted"]


def claim_run_folder(runs_dir: Path, name: str, seed: int) -> Path:
    """Make and return a folder that no other run has: `seed0`, or `seed0-2`, `seed0-3`, ... where it is taken.

    The folder is made by an exclusive create, so two processes never get the same one.

    Raises:
        BnexpError: the place cannot be written.
    """
    parent = runs_dir / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            folder = parent / (f"seed{seed}" if number == 1 else f"seed{seed}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise BnexpError(
            f"{parent}: cannot make the run's folder: {error.strerror}; --runs-dir names another place"
        ) from None
    raise BnexpError(f"{parent}: no free folder for seed {seed}")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a record as strict JSON in one move; a figure that is not finite becomes null."""
    write_text_atomically(path, json.dumps(finite_or_null(values), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a record of ours, or None where it is missing or damaged."""
    try:
        values = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def finite_or_null(value: Any) -> Any:
    """Replace every nan and infinity below `value` by None: strict JSON has no other word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite_or_null(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(below) for below in value]
    return value
