"""Find the run that a config has, done or to be continued, and complete the records of one whose process was killed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.files import unfinished_files
from bnexp.runs.find import runs_below
from bnexp.runs.folder import META, SUMMARY, resume_command, seed_of, write_json
from bnexp.runs.identity import first_difference
from bnexp.runs.lengthening import as_long_as, why_fixed
from bnexp.runs.lock import run_lock
from bnexp.runs.plugins import other_code
from bnexp.runs.run import COMPLETE, Run, read_run, records_of
from bnexp.runs.seal import load_stored


def newest_run_of(config: Config, runs_dir: Path, parts: int = 1, *, prefer_complete: bool = False) -> Run | None:
    """Return the newest unfinished run of a config and its seed; where all are complete, the newest; else None.

    With `prefer_complete` it is the newest complete run, else the newest unfinished one. Runs that took statistics over
    another number of `parts` of a batch do not count.
    """
    found = [(run, own) for run, own in _runs_of_seed(config, runs_dir) if run.parts == parts]
    runs = [run for run, own in found if first_difference(own, config) is None]
    preferred = [run for run in runs if (run.status in COMPLETE) is prefer_complete]
    return max(preferred or runs, key=lambda run: run.recency, default=None)


def other_config(config: Config, runs_dir: Path) -> str | None:
    """Say why the newest run of this name and seed, one that did not finish before the others, is not continued."""
    for run in reversed(list(_read_of_seed(config, runs_dir))):
        if other := other_code(run.folder):
            return other
    runs = [(run, own) for run, own in _runs_of_seed(config, runs_dir) if first_difference(own, config) is not None]
    for run, own in sorted(runs, key=lambda pair: (pair[0].status not in COMPLETE, pair[0].recency), reverse=True):
        if (difference := first_difference(own, config)) is not None:
            key, before, now = difference
            other = f"has another config: {key} is {before}, here {now}"
            if run.status not in COMPLETE:
                return f"{run.folder} did not finish, but {other}"
            return f"{run.folder} is {run.status}, and {other}{_how_longer(run, own, config)}"
    return None


def _how_longer(run: Run, own: Config, config: Config) -> str:
    """Say how a run that ended gets the length of a config, or why it does not; nothing where it differs in more."""
    if first_difference(as_long_as(own, config), config) is not None:
        return ""
    if why := why_fixed(own):
        return f"; it is not made longer: {why}"
    training = config.training
    length = f"epochs={training.epochs}" if training.steps is None else f"steps={training.steps}"
    return f"; {resume_command(run.folder)} --set training.{length} makes it longer"


def _runs_of_seed(config: Config, runs_dir: Path) -> Iterator[tuple[Run, Config]]:
    """Yield the runs of a config's name and seed, each with its own config, where that can be read."""
    for run in _read_of_seed(config, runs_dir):
        with suppress(ConfigError):
            yield run, load_stored(run.folder)[0]


def _read_of_seed(config: Config, runs_dir: Path) -> Iterator[Run]:
    """Yield the runs of a config's name and seed; those whose folder is called after another seed are not read."""
    for folder in runs_below(runs_dir / config.name):
        if seed_of(folder)[0] in (None, config.seed) and (run := read_run(folder)).seed == config.seed:
            yield run


def complete_meta(folder: Path) -> None:
    """Complete meta.json by the end that summary.json records, where the process was killed between the two.

    Raises:
        BnexpError: another process trains the run.
        OSError: it cannot be written.
    """
    if _completed_meta(folder) is None:
        return
    with run_lock(folder):
        completed = _completed_meta(folder)  # once more: the process that held the lock may have written it itself
        if completed is not None:
            write_json(folder / META, completed)
        for leftover in unfinished_files(folder):
            leftover.unlink(missing_ok=True)


def _completed_meta(folder: Path) -> dict[str, Any] | None:
    """Return meta.json with the status of summary.json; None where they agree, or where one is missing."""
    meta, summary = (record.values for record in records_of(folder))
    if not meta or not summary or meta.get("status") == summary.get("status"):
        return None
    ended = datetime.fromtimestamp((folder / SUMMARY).stat().st_mtime, UTC).isoformat(timespec="seconds")
    return {**meta, "status": summary.get("status"), "ended": ended, "error": None}
