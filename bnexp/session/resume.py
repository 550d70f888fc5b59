"""Resume a run that stopped from its last whole checkpoint."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnexp.blueprint import draw
from bnexp.config.loading import check_stored, check_values
from bnexp.config.schema import Config
from bnexp.config.yaml_text import read_yaml, read_yaml_file
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError, ConfigError
from bnexp.files import unfinished_files
from bnexp.runs.checkpoints import BEST, Loaded, load_newest
from bnexp.runs.data import recorded_data_dir
from bnexp.runs.folder import CHECKPOINTS, CONFIG, META, METRICS, SUMMARY, newest_checkpoints, read_json, resume_command
from bnexp.runs.identity import first_difference
from bnexp.runs.lock import run_lock
from bnexp.runs.rows import Rows, cut_after
from bnexp.runs.seal import load_stored
from bnexp.session.board import PATTERN
from bnexp.session.checkpoint import restore_run
from bnexp.session.faults import faults_explained
from bnexp.session.life import RunResult, run_session
from bnexp.session.metadata import circumstances, continued, machine_changes
from bnexp.session.signals import StopRequest
from bnexp.session.terms import Terms
from bnexp.training.build import TrainingRun, build


def resume(folder: Path, terms: Terms, *, from_start: bool = False) -> RunResult:
    """Resume a run after its last whole checkpoint and train it to its end; on the CPU as if it had never stopped.

    Rows after the checkpoint are cut from metrics.jsonl, and TensorBoard drops them. A run that was stopped before its
    first checkpoint begins anew in its folder; `from_start` does so whatever checkpoints there are.

    Raises:
        ConfigError: config.yaml is missing or wrong, or asks for something that cannot be.
        Interrupted: by Ctrl-C or a signal; the run can be resumed.
        BnexpError: another process trains the run, or has brought it to its end; no checkpoint is whole; config, data
            or rows are not those that the checkpoint belongs to; or as for a new run.
    """
    stop = StopRequest()
    with stop.listening(f"interrupted before it went on: {resume_command(folder)}"), run_lock(folder):
        if not from_start and _has_ended(folder):
            raise BnexpError(f"{folder}: the run has come to its end, nothing is left to do; --from-start begins anew")
        config = _unchanged_config(folder)
        start = None if from_start else _newest(folder)
        before = read_json(folder / META) or {}
        with faults_explained(config, folder):
            data_dir = terms.data_dir or recorded_data_dir(folder) or data_folder(None)
            device = terms.device or _former_device(before)
            run = build(draw(config, data_dir), data_dir=data_dir, device=device)
            meta = circumstances(run, terms.argv, data_dir)
            if start is not None:
                for warning in (*start.damaged, *machine_changes(before, meta)):
                    terms.warn(warning)
                _restore(run, folder, start)
                meta = continued(meta, before, start.values)
            _clear(folder, whole=start is None)
        return run_session(run, folder, meta, terms.show, stop, start)


def _unchanged_config(folder: Path) -> Config:
    """Return the config in config.yaml; what makes no other run, such as `checkpoints`, may have been changed in it."""
    values, _ = read_yaml_file(folder / CONFIG)
    began_with, problem = load_stored(folder)
    if problem:
        raise BnexpError(f"{problem}: put them back, or start a new run with these")
    return check_stored(values, (), str(folder / CONFIG)) if isinstance(values, dict) else began_with


def _has_ended(folder: Path) -> bool:
    """Tell whether summary.json holds the end; another process may have written it before the lock was free."""
    match read_json(folder / SUMMARY):
        case {"status": "diverged"}:
            return True
        case {"status": "finished", "final": {"accuracy": float(accuracy)}}:
            return 0 <= accuracy <= 1
    return False


def _newest(folder: Path) -> Loaded | None:
    """Return the newest whole checkpoint; None for a run that was stopped before its first, and thus before any row."""
    try:
        newest = load_newest(folder)
    except BnexpError as error:
        raise BnexpError(f"{folder}: {error}\n{_advice_to_begin_anew(folder)}") from None
    rows = folder / METRICS
    if newest is None and rows.exists() and rows.stat().st_size:
        advice = _advice_to_begin_anew(folder)
        raise BnexpError(f"{folder}: no checkpoint is there any more, although rows were written.\n{advice}")
    return newest


def _advice_to_begin_anew(folder: Path) -> str:
    return f"The run can begin anew, and loses its rows: {resume_command(folder)} --from-start"


def _clear(folder: Path, *, whole: bool) -> None:
    """Delete what an earlier session left half done; `whole` also all that it wrote, but config and meta.json."""
    paths = [*unfinished_files(folder), *unfinished_files(folder / CHECKPOINTS), folder / SUMMARY]
    if whole:
        paths += [*newest_checkpoints(folder), folder / CHECKPOINTS / BEST, folder / METRICS, *folder.glob(PATTERN)]
    for path in paths:
        path.unlink(missing_ok=True)


def _former_device(before: Mapping[str, Any]) -> str:
    device = before.get("device")
    return device if isinstance(device, str) and re.fullmatch(r"cpu|mps|cuda(:\d+)?", device) else "auto"


def _restore(run: TrainingRun, folder: Path, start: Loaded) -> None:
    """Put a run in the state of a checkpoint, and cut the rows of later steps."""
    state = start.values
    try:
        _refuse_another_config(run.config, state["config"], folder)
        if state["dataset"] != run.dataset.fingerprint:
            what = f"the dataset {run.config.data.dataset} is not the one that the run began with"
            raise BnexpError(f"{folder}: {what}; put that back, or start a new run")
        if start.path.stem != f"step{state['step']}":
            raise ValueError(f"step: found {state['step']}, expected that in the name of the file")
        restore_run(run, state)
        rows = Rows(**state["rows"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError, IndexError) as error:
        raise BnexpError(f"{start.path}: no checkpoint of this run: {type(error).__name__}: {error}") from None
    try:
        cut_after(folder / METRICS, rows)
    except BnexpError as error:
        raise BnexpError(f"{error}\n{_advice_to_begin_anew(folder)}") from None


def _refuse_another_config(config: Config, stored: str, folder: Path) -> None:
    """Refuse a config.yaml that was changed since."""
    values, _ = read_yaml(stored, "the config in the checkpoint")
    try:
        began_with = check_values(values, {}, "the config in the checkpoint")
    except ConfigError as error:
        raise BnexpError(f"{folder}: the run was made by another version of bnexp: {error}") from None
    if difference := first_difference(began_with, config):
        key, then, now = difference
        raise BnexpError(
            f"{folder / CONFIG}: {key} is {now}, but the run began with {then}; a run has one config: put it back, or "
            "start a new run with this one"
        )
