"""The life of one run in one process: begin, train, score the test set once, and leave the records of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bnexp.blueprint import Blueprint
from bnexp.config.division import told_of_division
from bnexp.config.loading import dump_config
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError, Interrupted
from bnexp.runs.checkpoints import CheckpointFolder, Loaded
from bnexp.runs.claim import claim_run_folder
from bnexp.runs.folder import METRICS, SUMMARY, Status, how_to_resume, write_json
from bnexp.runs.lock import run_lock
from bnexp.runs.rows import MetricsWriter, Writers, names_in
from bnexp.runs.run import OUT_OF_MEMORY
from bnexp.session.board import TensorBoardWriter
from bnexp.session.checkpoint import Checkpointer
from bnexp.session.faults import faults_explained
from bnexp.session.metadata import circumstances, note_status, summary_of
from bnexp.session.several import Assignment
from bnexp.session.signals import StopRequest
from bnexp.session.terms import Show, Terms
from bnexp.training.build import TrainingRun, build
from bnexp.training.compiling import warm_up
from bnexp.training.device import choose_device, reproducible
from bnexp.training.distributed import refuse_indivisible
from bnexp.training.evaluation import as_row, scores_at_end
from bnexp.training.loop import train
from bnexp.training.progress import Progress
from bnexp.training.room import doubts_about_memory, refuse_without_room
from bnexp.training.world import together


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, what summary.json holds, and the trained network in inference mode."""

    folder: Path
    summary: dict[str, Any]
    network: nn.Module


def start(blueprint: Blueprint, terms: Terms) -> RunResult:
    """Train the network of a blueprint, and keep the records in a new folder of its own.

    Raises:
        ConfigError: the device is not there, or cannot compute in the config's precision; no folder was made.
        Interrupted: by Ctrl-C or a signal; the records say so, and the run can be resumed.
        BnexpError: the dataset is corrupt; or the records cannot be written, the memory is too small or the GPU is
            gone, and the run can be resumed.
    """
    config, data_dir = blueprint.config, terms.data_dir or data_folder(None)
    stop = StopRequest()
    with stop.listening():
        with faults_explained(config, world=terms.world):
            run = built(blueprint, data_dir, terms.device or "auto", terms)
        meta = circumstances(run, terms.argv, data_dir)
        folder = claim_run_folder(terms.runs_dir, config.name, config.seed, dump_config(config))
        with run_lock(folder):
            return run_session(run, folder, meta, terms.show, stop)


def built(blueprint: Blueprint, data_dir: Path, device: str, terms: Terms) -> TrainingRun:
    """Warn of what may not fit into the memory of a device, and build a run, together with the other processes if any.

    Raises:
        ConfigError: not even the weights fit, the device is not there, or the processes cannot divide the batches.
        BnexpError: as for `build`.
    """
    own = device if terms.world is None else terms.world.device_word(device)
    chosen = choose_device(own)
    refuse_without_room(blueprint, chosen)
    for doubt in doubts_about_memory(blueprint, chosen):
        terms.warn(doubt)
    if note := told_of_division(blueprint.layout, blueprint.plan.batch_size, terms.processes):
        terms.note(note)
    if terms.world is not None:
        refuse_indivisible(blueprint, terms.processes)
        terms.world.tell(Assignment(blueprint, data_dir, device))
    with together(terms.world):
        return build(blueprint, data_dir=data_dir, device=own, world=terms.world)


def run_session(
    run: TrainingRun, folder: Path, meta: Mapping[str, Any], show: Show, stop: StopRequest, start: Loaded | None = None
) -> RunResult:
    """Train a run to its end, and keep its status in meta.json, however it ends.

    The run is in the state of `start`, the checkpoint that it is resumed from, or at its beginning; its folder is this
    process's alone. `meta` is what meta.json says beside the status.

    Raises:
        Interrupted: by Ctrl-C or a signal; the run can be resumed.
        BnexpError: the records cannot be written, the memory is too small, the GPU is gone; the run can be resumed.
    """
    with _status_at_end(folder, meta, stop), faults_explained(run.config, folder, run.world):
        note_status(folder, meta, "running")
        with reproducible():
            summary = _train_and_test(run, folder, show, stop, start)
        write_json(folder / SUMMARY, summary)
        note_status(folder, meta, summary["status"])
    return RunResult(folder, summary, run.network.eval())


@contextlib.contextmanager
def _status_at_end(folder: Path, meta: Mapping[str, Any], stop: StopRequest) -> Iterator[None]:
    """Note the status of a run that does not come to its end, and say how to resume it."""

    def note_end(status: Status, error: str | None = None) -> None:
        with contextlib.suppress(OSError):  # a full disk takes this note as little as what came before it
            note_status(folder, meta, status, error)

    try:
        yield
    except KeyboardInterrupt:
        stop.leave()
        note_end("interrupted")
        raise Interrupted(f"interrupted; {how_to_resume(folder)}", stop.exit_code) from None
    except BnexpError as error:
        stop.leave()
        note_end("failed", str(error))
        where = "with more memory, " if str(error).startswith(OUT_OF_MEMORY) else ""
        raise BnexpError(f"{error}\n{where}{how_to_resume(folder)}") from None
    except BaseException as error:
        note_end("failed", f"{type(error).__name__}: {error}")
        raise


def _train_and_test(
    run: TrainingRun, folder: Path, show: Show, stop: StopRequest, start: Loaded | None
) -> dict[str, Any]:
    """Train with all writers open, score the test set once, and return the summary."""
    with (
        contextlib.closing(MetricsWriter(folder / METRICS)) as rows,
        contextlib.closing(TensorBoardWriter(folder)) as board,
        contextlib.closing(show(f"{run.config.name} {folder.name}", run.plan)) as display,
    ):
        writer = Writers([rows, board, display])
        if start is None:
            board.config(run.config)
        else:
            board.resume_after(start.values["step"], names_in(folder / METRICS))
        compile_s = None
        if run.train_step.compiled:
            display.waiting("compiling the network, which takes a minute or so")
            compile_s = warm_up(run.train_step, run.batches, run.plan)
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
            if not progress.ended:
                with together(run.world):
                    train(run, progress, display.step, checkpointer.save_if_due, _stops(run, stop))
            checkpointer.save(progress)
        if stop:
            raise KeyboardInterrupt
        scores = scores_at_end(run, progress)
        progress.clock.stop()
        if scores:
            writer.scalars(progress.steps, as_row(run.plan.epoch_at(progress.steps), scores))
        board.ended(progress.steps, diverged=progress.diverged)
    return summary_of(run, progress, scores, compile_s)


def _stops(run: TrainingRun, stop: StopRequest) -> Callable[[], bool]:
    """Return what tells, after a step, whether a signal stops the run there, of whichever process it came to."""
    return stop.__bool__ if run.world is None else run.world.stop_together(lambda: stop.number, stop.take)
