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
from pathlib import Path
from typing import Any, Literal

from bnexp.errors import BnexpError
from bnexp.files import finite_or_null, parse_json, read_file, with_advice, write_text_atomically

CONFIG, META, METRICS, SUMMARY = "config.yaml", "meta.json", "metrics.jsonl", "summary.json"
MAX_RECORD_BYTES = 10_000_000
"""Far more than meta.json and summary.json ever hold."""
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
            f"{parent}: cannot make the run's folder: {with_advice(error)}; --runs-dir names another place"
        ) from None
    raise BnexpError(f"{parent}: no free folder for seed {seed}")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a record as strict JSON in one move; a figure that is not finite becomes null."""
    write_text_atomically(path, json.dumps(finite_or_null(values), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a record of ours, or None where it is missing or damaged."""
    try:
        return parse_json(read_file(path, MAX_RECORD_BYTES))
    except (OSError, ValueError):
        return None
