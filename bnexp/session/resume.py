"""Resume a run that stopped from its last whole checkpoint."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bnexp.blueprint import Blueprint, draw
from bnexp.config.division import divided_norms, parts_of_batch
from bnexp.config.layout import layout_of
from bnexp.config.loading import check_stored, check_values, dump_config
from bnexp.config.schema import Config
from bnexp.config.yaml_text import read_yaml, read_yaml_file
from bnexp.data.sources.place import data_folder, moved
from bnexp.errors import BnexpError, ConfigError
from bnexp.files import refuse_link, unfinished_files, write_text_atomically
from bnexp.runs.checkpoints import BEST, DamagedCheckpoint, Loaded, Unshared, load_newest
from bnexp.runs.data import recorded_data_dir, where_data_lay
from bnexp.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    META,
    METRICS,
    SUMMARY,
    newest_checkpoints,
    read_json,
    resume_command,
    unreadable_checkpoints,
)
from bnexp.runs.identity import first_difference, network_of, parts_of
from bnexp.runs.lengthening import LENGTHENED, as_long_as, length_of, lengthened_from, passes, with_length
from bnexp.runs.lock import run_lock
from bnexp.runs.own_lock import HeldLock
from bnexp.runs.rows import Rows, cut_after, refuse_other_rows
from bnexp.runs.run import records_of
from bnexp.runs.seal import SEAL, load_stored, seal_of, write_config
from bnexp.session.board import PATTERN
from bnexp.session.checkpoint import restore_run
from bnexp.session.faults import faults_explained
from bnexp.session.life import Life, RunResult, alone, built, log_of, run_session
from bnexp.session.metadata import circumstances, continued, machine_changes, note_status
from bnexp.session.signals import StopRequest
from bnexp.session.terms import Terms
from bnexp.training.build import TrainingRun

_ALL_THAT_MAY_CHANGE = (
    "a run has one config; only data.eval_batch_size, training.graph and checkpoints may change in it"
)


def resume(
    folder: Path, terms: Terms, *, from_start: bool = False, config: Config | None = None, break_lock: bool = False
) -> RunResult:
    """Resume a run after its last whole checkpoint and train it to its end; on the CPU as if it had never stopped.

    Rows after the checkpoint are cut from metrics.jsonl, and TensorBoard drops them. A run that was stopped before its
    first checkpoint begins anew in its folder; `from_start` does so whatever checkpoints there are. A `config` replaces
    the run's own, and may differ from it in what moves no figure.

    Raises:
        ConfigError: config.yaml is missing or wrong, or asks for something that cannot be.
        Interrupted: by Ctrl-C or a signal; the run can be resumed.
        BnexpError: another process trains the run, or has brought it to its end; no checkpoint is whole; config, data
            or rows are not those that the checkpoint belongs to; or as for a new run.
    """
    stop = StopRequest()
    with stop.listening(f"interrupted before it went on: {resume_command(folder)}"):
        return alone(resuming(folder, terms, stop, from_start=from_start, config=config, break_lock=break_lock))


def resuming(
    folder: Path,
    terms: Terms,
    stop: StopRequest,
    *,
    from_start: bool = False,
    config: Config | None = None,
    break_lock: bool = False,
) -> Life:
    """Train on as `resume` does, until `stop` is asked for. Raises as that does."""
    with run_lock(folder, break_lock=break_lock) as lock:
        own = own_config(folder)
        config = config or own
        _refuse_another_experiment(folder, own, config)
        if not from_start and _has_ended(folder):
            raise BnexpError(f"{folder}: the run has come to its end, nothing is left to do; --from-start begins anew")
        return (yield from _resume_with(folder, terms, own, config, stop, lock, from_start=from_start))


def lengthen(folder: Path, terms: Terms, config: Config, *, break_lock: bool = False) -> RunResult:
    """Train a run on to the greater length of a config; on the CPU it is then the run of that config, bit for bit.

    It goes on from its newest checkpoint that the longer training comes through, too; rows after that are cut. Where it
    had come to its end, its test set is then scored once more, and meta.json and summary.json say where that was.
    Killed on the way, it is either the run of before or the longer one, which is resumed as any other.

    Raises:
        ConfigError: it cannot be made so long, or the config is that of another run.
        Interrupted, BnexpError: as for `resume`.
    """
    stop = StopRequest()
    with stop.listening(f"interrupted before it went on: {folder}"):
        return alone(lengthening(folder, terms, config, stop, break_lock=break_lock))


def lengthening(folder: Path, terms: Terms, config: Config, stop: StopRequest, *, break_lock: bool = False) -> Life:
    """Train on as `lengthen` does, until `stop` is asked for. Raises as that does."""
    with run_lock(folder, break_lock=break_lock) as lock:
        own, _ = load_stored(folder)  # in config.yaml, which is written first, the length may be the new one already
        _refuse_another_network(folder, own, config)
        try:
            longer = with_length(own, config)
        except ConfigError as error:
            raise ConfigError(f"{folder}: {error}. A new run: {train_anew(folder, config)}") from None
        if longer.training == own.training and _has_ended(folder):
            raise _no_longer(folder, own, longer)
        return (yield from _resume_with(folder, terms, own, longer, stop, lock))


def is_of_another_length(folder: Path, config: Config) -> bool:
    """Tell whether a config differs from a run's own in its length.

    Raises:
        ConfigError: it does, and in more.
    """
    own, _ = load_stored(folder)
    if config.training == as_long_as(config, own).training:
        return False
    if as_long_as(own, config) != config:
        raise ConfigError(f"{folder}: {length_of(config)}: the length of a run is set alone, without other keys")
    return True


def train_anew(folder: Path, config: Config) -> str:
    """Return the command that trains a run anew with the length of a config."""
    training = config.training
    length = f"epochs={training.epochs}" if training.steps is None else f"steps={training.steps}"
    return f"bnexp train {shlex.quote(str(folder / CONFIG))} --set training.{length}"


def _resume_with(
    folder: Path,
    terms: Terms,
    own: Config,
    config: Config,
    stop: StopRequest,
    lock: HeldLock,
    *,
    from_start: bool = False,
) -> Life:
    """Train a run on from a checkpoint, with a config that takes the place of its own."""
    before = read_json(folder / META) or {}
    with faults_explained(config, folder, world=terms.world):
        data_dir = terms.data_dir or recorded_data_dir(folder) or data_folder(None)
        device = terms.device or _former_device(before, terms)
        blueprint = _drawn(config, data_dir, folder)
        _refuse_other_parts(folder, before, blueprint, terms)
        if not from_start:
            _refuse_lost_checkpoints(folder)
        log = log_of(blueprint, terms)
        terms = log.terms
        run = built(blueprint, data_dir, device, terms)
        # Its data may lie elsewhere now: meta.json says where, and the config stays as it was.
        meta = {
            **circumstances(run, terms, data_dir, before),
            SEAL: seal_of(config.model_dump(mode="json", exclude_none=True)),
            **({LENGTHENED: before[LENGTHENED]} if LENGTHENED in before else {}),
        }
        run = replace(run, config=config)
        changes = own.training != config.training
        if changes and run.plan.total_steps <= own.training.total_steps(run.plan.steps_per_epoch):
            raise _no_longer(folder, own, config)
        lengthened = changes or bool(lengthened_from(before))
        start = None if from_start else _restored(run, folder, lengthened=lengthened)
        if start is not None:
            for warning in (*start.damaged, *machine_changes(before, meta)):
                terms.warn(warning)
            meta = continued(meta, before, start.values)
        if changes:
            _become_longer(run, own, folder, meta)
        if start is not None:
            cut_after(folder / METRICS, Rows(**start.values["rows"]))
        _clear(folder, whole=start is None)
        if config != own:
            write_config(folder, dump_config(config))
            _say_what_changes(own, config, terms)
    return (yield from run_session(run, folder, meta, log, stop, lock, start))


def _no_longer(folder: Path, own: Config, config: Config) -> ConfigError:
    anew = f"A new run: {train_anew(folder, config)}"
    return ConfigError(f"{folder}: {length_of(config)} is no longer than {length_of(own)}, which it has. {anew}")


def _become_longer(run: TrainingRun, own: Config, folder: Path, meta: dict[str, Any]) -> None:
    """Put down that a run is now a longer one, and where it had ended, if it had.

    The records change one after the other: a run begins with what config.yaml or its copy says under the seal of
    meta.json. With that, the run is the longer one, and the summary of its former end is superseded.
    """
    summary = records_of(folder)[1]
    former = {"steps": summary.count("steps"), "length": length_of(own), "summary_sha256": summary.sha256 or None}
    meta[LENGTHENED] = [*lengthened_from(meta), {**former, "when": meta["continued"]}]
    write_text_atomically(folder / CONFIG, dump_config(run.config))
    note_status(folder, meta, "running")


def _drawn(config: Config, data_dir: Path, folder: Path) -> Blueprint:
    """Return the blueprint of a run, whose own data may lie in another folder by now."""
    try:
        return draw(config.model_copy(update={"data": moved(config.data, data_dir)}), data_dir)
    except ConfigError as error:
        lay = where_data_lay(folder)
        raise ConfigError(f"{error}{lay}: {resume_command(folder)} --data-dir FOLDER" if lay else str(error)) from None


def own_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the config in config.yaml, with `key=value` pairs over it; what makes no other run may be changed in it.

    Raises:
        ConfigError: it cannot be read or is wrong.
        BnexpError: it is not what the run began with.
    """
    problem = load_stored(folder)[1]
    values, _ = read_yaml_file(folder / CONFIG, links=False)
    if problem:
        raise BnexpError(f"{problem}: put them back, or start a new run with these")
    return check_stored(values if isinstance(values, dict) else {}, overrides, str(folder / CONFIG))


def _refuse_another_experiment(folder: Path, own: Config, config: Config) -> None:
    """Refuse a config that asks for more than a run may change on its way."""
    if difference := first_difference(own, config):
        key, then, now = difference
        what = f"{key} cannot become {now}: the run began with {then}; {_ALL_THAT_MAY_CHANGE}"
        anew = f"bnexp train {shlex.quote(str(folder / CONFIG))} --set {shlex.quote(f'{key}={now}')}"
        raise ConfigError(f"{folder}: {what}. A new run with it: {anew}")


def _refuse_another_network(folder: Path, own: Config, config: Config) -> None:
    """Refuse a config whose network is not the one of a run; it may be written in another way."""
    if own.model == config.model:
        return
    info = draw(own, recorded_data_dir(folder) or data_folder(None)).info
    layouts = [layout_of(one.model, info.shape, info.classes) for one in (own, config)]
    built, asked = (network_of(layout, own.data.batch_size)["layout"] for layout in layouts)
    if built != asked:
        raise ConfigError(f"{folder}: the config asks for another network than the one that the run has")


def _say_what_changes(own: Config, config: Config, terms: Terms) -> None:
    """Warn of scores that another size of the batches in evaluation moves."""
    before, now = own.data.eval_batch_size, config.data.eval_batch_size
    if before != now:
        moves = "scores are the same up to rounding, those with recomputed statistics differ a little"
        terms.warn(f"data.eval_batch_size is {now:,} from here on, {before:,} before: {moves}")


def _has_ended(folder: Path) -> bool:
    """Tell whether summary.json holds the end; another process may have written it before the lock was free."""
    match records_of(folder)[1].values:
        case {"status": "diverged"}:
            return True
        case {"status": "finished", "final": {"accuracy": float(accuracy)}}:
            return 0 <= accuracy <= 1
    return False


def _refuse_lost_checkpoints(folder: Path) -> None:
    """Refuse a run that wrote rows, and thus checkpoints before them, and has none any more."""
    try:
        lost = not newest_checkpoints(folder)
    except OSError as error:
        raise BnexpError(unreadable_checkpoints(folder, error)) from None
    rows = folder / METRICS
    if lost and rows.exists() and rows.stat().st_size:
        advice = _advice_to_begin_anew(folder)
        raise BnexpError(f"{folder}: no checkpoint is there any more, although rows were written.\n{advice}")


def _restored(run: TrainingRun, folder: Path, *, lengthened: bool) -> Loaded | None:
    """Put a run in the state of its newest checkpoint that is whole and its own; None where it has none yet."""
    try:
        loaded = load_newest(folder, partial(_restore, run, folder, lengthened))
    except DamagedCheckpoint as error:
        raise BnexpError(f"{folder}: {error}\n{_advice_to_begin_anew(folder)}") from None
    if loaded is None and lengthened:
        gone = "no checkpoint is left from which the longer training goes on"
        raise BnexpError(f"{folder}: {gone}.\n{_advice_to_begin_anew(folder)}")
    return loaded


def _refuse_shorter(run: TrainingRun, began_with: Config, step: int) -> None:
    """Pass over the last checkpoint of a shorter training that a longer one does not come through.

    Raises:
        Unshared: it is one.
    """
    ended = began_with.training.total_steps(run.plan.steps_per_epoch)
    if not passes(step, ended, run.plan, run.config.training.log_every):
        raise Unshared(f"step {step}: the end of a shorter training")


def _advice_to_begin_anew(folder: Path) -> str:
    return f"The run can begin anew, and loses its rows: {resume_command(folder)} --from-start"


def _clear(folder: Path, *, whole: bool) -> None:
    """Delete what an earlier session left half done; `whole` also all that it wrote, but config and meta.json."""
    refuse_link(folder / CHECKPOINTS)
    paths = [*unfinished_files(folder), *unfinished_files(folder / CHECKPOINTS), folder / SUMMARY]
    if whole:
        paths += [*newest_checkpoints(folder), folder / CHECKPOINTS / BEST, folder / METRICS, *folder.glob(PATTERN)]
    for path in paths:
        path.unlink(missing_ok=True)


def _refuse_other_parts(folder: Path, before: Mapping[str, Any], blueprint: Blueprint, terms: Terms) -> None:
    """Refuse to go on with batch statistics over other parts of the batch than those that the run began with."""
    then, now = parts_of(before), parts_of_batch(blueprint.layout, terms.processes)
    if then != now:
        name = min(divided_norms(blueprint.layout).values())
        whose = f"{name} took the statistics of {_parts(then)}, and would now take those of {_parts(now)}"
        raise ConfigError(f"{folder}: {whose}: another experiment. As it began: {resume_command(folder)}")


def _parts(count: int) -> str:
    return "whole batches" if count == 1 else f"each of {count} processes' parts of a batch"


def _former_device(before: Mapping[str, Any], terms: Terms) -> str:
    device = before.get("device")
    if terms.world is not None and isinstance(device, str):
        device = device.partition(":")[0]  # each process has its own
    return device if isinstance(device, str) and re.fullmatch(r"cpu|mps|cuda(:\d+)?", device) else "auto"


def _restore(run: TrainingRun, folder: Path, lengthened: bool, path: Path, state: dict[str, Any]) -> None:
    """Put a run in the state of a checkpoint.

    Raises:
        Unshared: it is the end of a shorter training.
        DamagedCheckpoint: it is of no run, or of another, or the rows that it follows on are no longer there.
        BnexpError: config or data are not those that the run began with.
    """
    try:
        began_with = _began_with(run.config, state["config"], folder, lengthened=lengthened)
        if state["dataset"] != run.dataset.fingerprint:
            what = f"the dataset {run.config.data.dataset} is not the one that the run began with"
            raise BnexpError(f"{folder}: {what}; put that back, or start a new run")
        if path.stem != f"step{state['step']}":
            raise ValueError(f"step: found {state['step']}, expected that in the name of the file")
        _refuse_shorter(run, began_with, state["step"])
        restore_run(run, state)
        rows = Rows(**state["rows"])
    except BnexpError:
        raise
    except Exception as error:  # a file may hold anything; what it makes the code stumble over is no bug
        what = f"{type(error).__name__}: {error}"
        raise DamagedCheckpoint(f"{path}: no checkpoint of this run: {what}") from None
    try:
        refuse_other_rows(folder / METRICS, rows)
    except BnexpError as error:
        raise DamagedCheckpoint(f"{path.name}: {error}") from None


def _began_with(config: Config, stored: str, folder: Path, *, lengthened: bool) -> Config:
    """Return the config in a checkpoint; refuse one that is not the run's, which may be `lengthened` since."""
    values, _ = read_yaml(stored, "the config in the checkpoint")
    try:
        began_with = check_values(values, {}, "the config in the checkpoint")
    except ConfigError as error:
        raise BnexpError(f"{folder}: the run was made by another version of bnexp: {error}") from None
    compared = as_long_as(began_with, config) if lengthened else began_with
    if difference := first_difference(compared, config):
        raise _another_config(folder, difference)
    return began_with


def _another_config(folder: Path, difference: tuple[str, Any, Any]) -> BnexpError:
    key, then, now = difference
    return BnexpError(
        f"{folder / CONFIG}: {key} is {now}, but the run began with {then}; {_ALL_THAT_MAY_CHANGE}: put it back, or "
        "start a new run with this one"
    )
