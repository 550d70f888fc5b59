"""The life of one run in one process: begin, train, score the test set once, and leave the records of it."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bnexp.blueprint import Blueprint
from bnexp.config.division import told_of_division
from bnexp.config.loading import dump_config
from bnexp.data.load import load_dataset
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError, Interrupted
from bnexp.runs.checkpoints import CheckpointFolder, Loaded
from bnexp.runs.claim import claim_exactly, claim_run_folder
from bnexp.runs.folder import METRICS, SUMMARY, Status, how_to_resume, write_json
from bnexp.runs.lengthening import former_ends
from bnexp.runs.lock import run_lock
from bnexp.runs.own_lock import HeldLock, LostLock
from bnexp.runs.plugins import keep_copies, sources_of
from bnexp.runs.rows import MetricsWriter, Rows, Writers, names_in
from bnexp.runs.run import OUT_OF_MEMORY
from bnexp.runs.seal import seal_of_figures
from bnexp.session.board import TensorBoardWriter
from bnexp.session.checkpoint import Checkpointer
from bnexp.session.display import Display
from bnexp.session.faults import faults_explained
from bnexp.session.metadata import circumstances, note_status, summary_of
from bnexp.session.run_log import RunLog
from bnexp.session.several import Assignment
from bnexp.session.signals import StopRequest
from bnexp.session.terms import Terms
from bnexp.training.ahead import Stretch
from bnexp.training.build import TrainingRun, build
from bnexp.training.clock import Clock
from bnexp.training.compiling import warm_up
from bnexp.training.device import choose_device, computing_as
from bnexp.training.distributed import refuse_indivisible
from bnexp.training.evaluation import as_row, scores_at_end
from bnexp.training.loop import steps, train
from bnexp.training.profile import Profile, Profiler
from bnexp.training.progress import Progress
from bnexp.training.room import doubts_about_memory, refuse_without_room, smaller_evaluation
from bnexp.training.world import together


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, what summary.json holds, the trained network in inference mode, a profile if any."""

    folder: Path
    summary: dict[str, Any]
    network: nn.Module
    profile: Profile | None = None


Life = Generator[Stretch, None, RunResult]
"""A run as it is begun or resumed, trained and recorded; stacked, it yields the stretches that others take for it."""


def start(blueprint: Blueprint, terms: Terms, folder: Path | None = None) -> RunResult:
    """Train the network of a blueprint, and keep the records in a new folder of its own: `folder`, or the next one.

    Raises:
        Taken: another run has `folder`.
        ConfigError: the device is not there, or cannot compute in the config's precision; no folder was made.
        Interrupted: by Ctrl-C or a signal; the records say so, and the run can be resumed.
        BnexpError: the dataset is corrupt; or the records cannot be written, the memory is too small or the GPU is
            gone, and the run can be resumed.
    """
    stop = StopRequest()
    with stop.listening():
        return alone(begin(blueprint, terms, stop, folder))


def alone(life: Life) -> RunResult:
    """Return what comes of a run that takes all its steps itself."""
    try:
        next(life)
    except StopIteration as end:
        result: RunResult = end.value
        return result
    raise RuntimeError("a stacked run was left to itself")


def begin(blueprint: Blueprint, terms: Terms, stop: StopRequest, folder: Path | None = None) -> Life:
    """Train as `start` does, until `stop` is asked for. Raises as that does."""
    config, data_dir, log = blueprint.config, terms.data_dir or data_folder(None), log_of(blueprint, terms)
    with faults_explained(config, world=terms.world):
        run = built(blueprint, data_dir, terms.device or "auto", log.terms)
    meta = circumstances(run, terms, data_dir)
    text = dump_config(config)
    claimed = (
        claim_run_folder(terms.runs_dir, config.name, config.seed, text)
        if folder is None
        else claim_exactly(folder, text)
    )
    with run_lock(claimed) as lock:
        return (yield from run_session(run, claimed, meta, log, stop, lock))


def log_of(blueprint: Blueprint, terms: Terms) -> RunLog:
    """Return the log of a run to be, with the warnings of its config, which were printed already."""
    log = RunLog(terms)
    for warning in blueprint.warnings:
        log.quietly(f"warning: {warning}")
    return log


def fingerprint_now(blueprint: Blueprint, terms: Terms) -> str:
    """Return the fingerprint of the data of a blueprint as they lie there now.

    Raises:
        BnexpError: they cannot be read.
    """
    data_dir = terms.data_dir or data_folder(None)
    config, info, plan = blueprint.config, blueprint.info, blueprint.plan
    return load_dataset(config.data, info, plan, data_dir, torch.device("cpu")).fingerprint


def built(blueprint: Blueprint, data_dir: Path, device: str, terms: Terms) -> TrainingRun:
    """Warn of what may not fit into the memory of a device, and build a run, together with the other processes if any.

    Raises:
        ConfigError: not even the weights fit, the device is not there, or the processes cannot divide the batches.
        BnexpError: as for `build`.
    """
    own = device if terms.world is None else terms.world.device_word(device)
    weigh(blueprint, own, terms)
    if note := told_of_division(blueprint.layout, blueprint.plan.batch_size, terms.processes):
        terms.note(note)
    if terms.world is not None:
        refuse_indivisible(blueprint, terms.processes)
        terms.world.tell(Assignment(blueprint, data_dir, device))
    with together(terms.world):
        return build(blueprint, data_dir=data_dir, device=own, world=terms.world)


def weigh(blueprint: Blueprint, device: str, terms: Terms) -> None:
    """Warn of what may not fit into the memory of a device.

    Raises:
        ConfigError: not even the weights fit, or the device is not there.
    """
    chosen = choose_device(device)
    refuse_without_room(blueprint, chosen)
    for doubt in doubts_about_memory(blueprint, chosen):
        terms.warn(doubt)


def run_session(
    run: TrainingRun,
    folder: Path,
    meta: Mapping[str, Any],
    log: RunLog,
    stop: StopRequest,
    lock: HeldLock,
    start: Loaded | None = None,
) -> Life:
    """Train a run to its end, and keep its status in meta.json, however it ends.

    The run is in the state of `start`, the checkpoint that it is resumed from, or at its beginning; its folder is this
    process's alone by its `lock`. `meta` is what meta.json says beside the status. `log` has the terms.

    Raises:
        LostLock: another process took the lock; nothing was written after that.
        Interrupted: by Ctrl-C or a signal; the run can be resumed.
        BnexpError: the records cannot be written, the memory is too small, the GPU is gone; the run can be resumed.
    """
    terms = log.terms
    fewer_at_once = smaller_evaluation(run.config, run.plan, run.subject.layout, run.device)
    explained = faults_explained(run.config, folder, fewer_at_once, run.world)
    with contextlib.closing(log), _status_at_end(folder, meta, stop, lock, log), explained:
        log.begin(folder, lock, meta)
        keep_copies(folder, sources_of(run.config))
        note_status(folder, meta, "running")
        with computing_as(run.config.training):
            taken = 0 if start is None else start.values["step"]
            profiler = Profiler(run, folder, terms.profile, taken) if terms.profile else None
            summary, written = yield from _train_and_test(run, folder, log, stop, lock, start, profiler)
        lock.refuse_lost()
        if ends := former_ends(meta):
            summary["lengthened_from"] = ends
        write_json(folder / SUMMARY, summary)
        note_status(folder, {**meta, **seal_of_figures(folder, written)}, summary["status"])
        log.ended(summary)
    return RunResult(folder, summary, run.network.eval(), profiler.profile if profiler else None)


@contextlib.contextmanager
def _status_at_end(
    folder: Path, meta: Mapping[str, Any], stop: StopRequest, lock: HeldLock, log: RunLog
) -> Iterator[None]:
    """Note the status of a run that does not come to its end, and say how to resume it."""

    def note_end(status: Status, error: str | None = None) -> None:
        # A full disk takes this note as little as what came before it, and a lost run is another's.
        with contextlib.suppress(OSError, LostLock):
            lock.refuse_lost()
            note_status(folder, meta, status, error)

    try:
        yield
    except LostLock:
        raise  # the records are another process's
    except KeyboardInterrupt:
        stop.leave()
        note_end("interrupted")
        log.line(f"interrupted; {how_to_resume(folder)}")
        raise Interrupted(f"interrupted; {how_to_resume(folder)}", stop.exit_code) from None
    except BnexpError as error:
        stop.leave()
        note_end("failed", str(error))
        log.line(f"failed: {error}")
        where = "with more memory, " if str(error).startswith(OUT_OF_MEMORY) else ""
        raise BnexpError(f"{error}\n{where}{how_to_resume(folder)}") from None
    except BaseException as error:
        note_end("failed", f"{type(error).__name__}: {error}")
        log.bug(error)
        raise


def _train_and_test(
    run: TrainingRun,
    folder: Path,
    log: RunLog,
    stop: StopRequest,
    lock: HeldLock,
    start: Loaded | None,
    profiler: Profiler | None,
) -> Generator[Stretch, None, tuple[dict[str, Any], Rows]]:
    """Train with all writers open, score the test set once, and return the summary and what metrics.jsonl holds."""
    terms = log.terms
    with (
        contextlib.closing(MetricsWriter(folder / METRICS, lock.refuse_lost)) as rows,
        contextlib.closing(TensorBoardWriter(folder)) as board,
        contextlib.closing(terms.show(f"{run.config.name} {folder.name}", run.plan)) as display,
    ):
        writer = Writers([rows, board, display])
        if start is None:
            board.config(run.config)
        else:
            board.resume_after(start.values["step"], names_in(folder / METRICS))
        compile_s = _warmed_up(run, display)
        progress = Progress.start(run, writer)
        display.watch(progress.log)
        if run.world is not None:
            run.world.tell(start.values if start else None)
        checkpointer = Checkpointer(run, CheckpointFolder(folder, start.path if start else None), rows)
        if start is None:
            checkpointer.save(progress)
        else:
            progress.load_state_dict(start.values["progress"], start.values["step"])
            display.waiting(f"resumes after step {progress.steps:,}")
        with stop.finishing_the_step():
            if not progress.ended and terms.stacked > 1:
                yield from steps(
                    run, progress, display.step, checkpointer.save_if_due, _stops(run, stop), ahead=True, alone=False
                )
            elif not progress.ended:
                _train(run, progress, display, checkpointer, stop, profiler)
            checkpointer.save(progress)
        if stop:
            raise KeyboardInterrupt
        scores = scores_at_end(run, progress)
        progress.clock.stop()
        if scores:
            writer.scalars(progress.steps, as_row(run.plan.epoch_at(progress.steps), scores))
        board.ended(progress.steps, diverged=progress.diverged)
        written = rows.flushed()
    return summary_of(run, progress, scores, compile_s), written


def _warmed_up(run: TrainingRun, display: Display) -> float | None:
    """Do what else would slow the first steps down; return the seconds that compilation took, if there was any."""
    compile_s = None
    if run.train_step.compiled:
        display.waiting("compiling the network, which takes a minute or so")
        compile_s = warm_up(run.train_step, run.batches, run.plan)
    run.probes.warm_up(run.device)
    return compile_s


def _train(
    run: TrainingRun,
    progress: Progress,
    display: Display,
    checkpointer: Checkpointer,
    stop: StopRequest,
    profiler: Profiler | None,
) -> None:
    """Take all steps that are left, with the other processes if there are any, and profile some if asked for."""
    note_step = _both(display.step, profiler.step) if profiler else display.step
    watched = profiler.watched if profiler else ()
    with together(run.world), contextlib.closing(profiler or contextlib.ExitStack()):
        train(run, progress, note_step, checkpointer.save_if_due, _stops(run, stop), display.waiting, watched)


def _both(first: Callable[[int, Clock], None], second: Callable[[int, Clock], None]) -> Callable[[int, Clock], None]:
    """Return what tells two of a finished step."""

    def note(step: int, clock: Clock) -> None:
        first(step, clock)
        second(step, clock)

    return note


def _stops(run: TrainingRun, stop: StopRequest) -> Callable[[], bool]:
    """Return what tells, after a step, whether a signal stops the run there, of whichever process it came to."""
    return stop.__bool__ if run.world is None else run.world.stop_together(lambda: stop.number, stop.take)
