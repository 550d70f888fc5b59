"""What one process does for a run: train from where the run stands, test once, and leave the records of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.config.section import dotted
from bnexp.errors import BnexpError, Interrupted
from bnexp.runs.checkpoints import CheckpointFolder, Loaded
from bnexp.runs.folder import METRICS, SUMMARY, Status, write_json
from bnexp.runs.resuming import how_to_go_on
from bnexp.runs.rows import MetricsWriter, Writers, names_in
from bnexp.session.board import Hyperparameter, TensorBoardWriter
from bnexp.session.checkpointing import Checkpointer, restore_progress
from bnexp.session.display import Display, SilentDisplay
from bnexp.session.faults import faults_in_words
from bnexp.session.metadata import note_status, summary_of
from bnexp.session.stopping import StopRequest
from bnexp.training.build import Experiment
from bnexp.training.compiling import warm_up
from bnexp.training.device import reproducible
from bnexp.training.evaluation import as_row, scores_on_test
from bnexp.training.loop import train
from bnexp.training.progress import Progress

HPARAM_METRICS = ["accuracy/val", "loss/val", "accuracy/test", "loss/test", "accuracy/test_best", "loss/test_best"]
HPARAMS_AHEAD = ["model.block", "model.norm", "model.activation", "optimizer.lr", "data.batch_size"]
"""What arms differ in most often, and all that TensorBoard's table shows unasked."""

Show = Callable[[str, Plan], Display]
"""Makes the display, from the run's name and plan."""


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, what summary.json holds, and the trained network in inference mode."""

    folder: Path
    summary: dict[str, Any]
    network: nn.Module


def show_nothing(name: str, plan: Plan) -> Display:
    """Return a display that shows nothing."""
    return SilentDisplay()


def carry_out(
    run: Experiment, folder: Path, meta: Mapping[str, Any], show: Show, stop: StopRequest, start: Loaded | None = None
) -> RunResult:
    """Train a run to its end, and keep its status in meta.json, however it ends.

    Args:
        run: the experiment, in the state of `start`.
        folder: of the run, which this process has to itself.
        meta: what meta.json says beside the status.
        show: makes the display.
        stop: ends the training after the step in which it comes.
        start: the checkpoint that the run goes on from; None to begin.

    Raises:
        Interrupted: by Ctrl-C or a signal; the run can go on.
        BnexpError: the records cannot be written, the memory is too small, the GPU is gone; the run can go on.
    """
    with _status_at_end(folder, meta, stop), faults_in_words(run.config, folder):
        note_status(folder, meta, "running")
        with reproducible():
            summary = _train_and_test(run, folder, show, stop, start)
        write_json(folder / SUMMARY, summary)
        note_status(folder, meta, summary["status"])
    return RunResult(folder, summary, run.network.eval())


@contextlib.contextmanager
def _status_at_end(folder: Path, meta: Mapping[str, Any], stop: StopRequest) -> Iterator[None]:
    """Note how a run ended that did not come to its end, and say how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        stop.leave()
        _note_end(folder, meta, "interrupted")
        raise Interrupted(f"interrupted; {how_to_go_on(folder)}", stop.exit_code) from None
    except BnexpError as error:
        _note_end(folder, meta, "failed", str(error))
        raise BnexpError(f"{error}\n{how_to_go_on(folder)}") from None
    except BaseException as error:
        _note_end(folder, meta, "failed", f"{type(error).__name__}: {error}")
        raise


def _note_end(folder: Path, meta: Mapping[str, Any], status: Status, error: str | None = None) -> None:
    with contextlib.suppress(OSError):  # a full disk takes this note as little as what came before it
        note_status(folder, meta, status, error)


def _train_and_test(
    run: Experiment, folder: Path, show: Show, stop: StopRequest, start: Loaded | None
) -> dict[str, Any]:
    """Train with all writers open, evaluate the test set once, and return the summary."""
    with (
        contextlib.closing(MetricsWriter(folder / METRICS)) as rows,
        contextlib.closing(TensorBoardWriter(folder)) as board,
        contextlib.closing(show(f"{run.config.name} {folder.name}", run.plan)) as display,
    ):
        writer = Writers([rows, board, display])
        _begin_board(board, run, folder, start)
        compile_s = None
        if run.compiled:
            display.waiting("compiling the network, which takes a minute or so")
            compile_s = warm_up(run)
        progress = Progress.start(run, writer)
        checkpointer = Checkpointer(run, CheckpointFolder(folder, start.path if start else None), rows)
        if start is None:
            checkpointer.save(progress)
        else:
            restore_progress(progress, start.values, run.device)
            display.waiting(f"goes on after step {progress.steps:,}")
        with stop.finishing_the_step():
            if not progress.ended:
                train(run, progress, display, checkpointer, stop.__bool__)
            checkpointer.save(progress)
        if stop:
            raise KeyboardInterrupt
        scores = scores_on_test(run, progress)
        progress.clock.stop()
        if scores:
            writer.scalars(progress.steps, as_row(run.plan.epoch_at(progress.steps), scores))
    return summary_of(run, progress, scores, compile_s)


def _begin_board(board: TensorBoardWriter, run: Experiment, folder: Path, start: Loaded | None) -> None:
    """Write in TensorBoard's view where a continued run goes on; for one that begins, what can move its figures."""
    if start is not None:
        board.go_on_after(start.values["step"], names_in(folder / METRICS))
    else:
        board.hyperparameters(_hyperparameters(run.config), HPARAM_METRICS, HPARAMS_AHEAD)


def _hyperparameters(config: Config) -> dict[str, Hyperparameter]:
    """Return what can move the figures: neither the name, nor what is looked at, nor when a checkpoint is written."""
    values = config.model_dump(mode="json", exclude_none=True, exclude={"name", "probes", "checkpoints"})
    return {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in dotted(values)}
