"""The end of a run stands in two records: summary.json, which tells it first, and meta.json, which follows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bnexp.files import unfinished_files
from bnexp.runs.folder import META, SUMMARY, read_json, write_json
from bnexp.runs.lock import run_lock


def follow_the_summary(folder: Path) -> None:
    """Note in meta.json the end that summary.json tells of, where the process was killed between the two.

    Raises:
        BnexpError: another process trains the run.
        OSError: it cannot be written.
    """
    if _completed(folder) is None:
        return
    with run_lock(folder):
        completed = _completed(folder)  # once more: the process that held the lock may have noted it itself
        if completed is not None:
            write_json(folder / META, completed)
        for leftover in unfinished_files(folder):
            leftover.unlink(missing_ok=True)


def _completed(folder: Path) -> dict[str, Any] | None:
    """Return meta.json with the end that summary.json tells of; None where it has it, or where one is missing."""
    meta, summary = read_json(folder / META), read_json(folder / SUMMARY)
    if meta is None or summary is None or meta.get("status") == summary.get("status"):
        return None
    ended = datetime.fromtimestamp((folder / SUMMARY).stat().st_mtime, UTC).isoformat(timespec="seconds")
    return {**meta, "status": summary.get("status"), "ended": ended, "error": None}
