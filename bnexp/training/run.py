"""One run from start to end: build, claim a folder, train, test once, and leave the records of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bnexp.config.loading import dump_config
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, Interrupted
from bnexp.store.checkpoint import CHECKPOINTS, save_checkpoint
from bnexp.store.hyperparameters import Hyperparameter
from bnexp.store.metrics import MetricsWriter
from bnexp.store.run_folder import CONFIG, METRICS, SUMMARY, Status, claim_run_folder, write_json, write_text_atomically
from bnexp.store.tensorboard import TensorBoardWriter
from bnexp.store.writers import Writers
from bnexp.training.build import Experiment, build
from bnexp.training.compiling import warm_up
from bnexp.training.device import reproducible
from bnexp.training.display import Display, SilentDisplay
from bnexp.training.loop import Outcome, score_of, train
from bnexp.training.records import circumstances, note_status, summary_of
from bnexp.training.weights import copy_of_weights, put_weights

HPARAM_METRICS = ["accuracy/val", "loss/val", "accuracy/test", "loss/test", "accuracy/test_best", "loss/test_best"]
HPARAMS_AHEAD = ["model.block", "model.norm", "model.activation", "optimizer.lr", "data.batch_size"]
"""What arms differ in most often, and all that TensorBoard's table shows unasked."""


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, what summary.json holds, and the trained network in inference mode."""

    folder: Path
    summary: dict[str, Any]
    network: nn.Module


def run_experiment(
    config: Config,
    *,
    runs_dir: Path = Path("runs"),
    data_dir: Path = Path("data"),
    device: str = "auto",
    show: Callable[[str, Plan], Display] = lambda name, plan: SilentDisplay(),
    argv: Sequence[str] = (),
) -> RunResult:
    """Train the network of a config and keep the records in a folder of its own.

    Args:
        config: the resolved config.
        runs_dir: folder of all runs.
        data_dir: where datasets lie.
        device: auto, cpu, cuda, cuda:N or mps.
        show: makes the display, from the run's name and plan.
        argv: the command line, for the records.

    Raises:
        ConfigError: what the config asks for cannot be; no folder was made.
        Interrupted: by Ctrl-C; the records say so.
        BnexpError: the dataset is corrupt, or the records cannot be written.
    """
    with _memory_in_words(config):
        run = build(config, data_dir=data_dir, device=device)
    meta = circumstances(run, argv)
    folder = claim_run_folder(runs_dir, config.name, config.seed)
    try:
        write_text_atomically(folder / CONFIG, dump_config(config))
        note_status(folder, meta, "running")
        with reproducible(), _memory_in_words(config):
            summary = _train_and_test(run, folder, show)
        write_json(folder / SUMMARY, summary)
        note_status(folder, meta, summary["status"])
    except KeyboardInterrupt:
        _note_end(folder, meta, "interrupted")
        raise Interrupted(f"interrupted; what was logged until then stays in {folder}") from None
    except BaseException as error:
        _note_end(folder, meta, "failed", f"{type(error).__name__}: {error}")
        if isinstance(error, OSError):
            raise BnexpError(f"{folder}: the records cannot be written: {error.strerror or error}") from None
        raise
    return RunResult(folder, summary, run.network.eval())


def _note_end(folder: Path, meta: dict[str, Any], status: Status, error: str | None = None) -> None:
    with contextlib.suppress(OSError):  # a full disk takes this note as little as what came before it
        note_status(folder, meta, status, error)


@contextlib.contextmanager
def _memory_in_words(config: Config) -> Iterator[None]:
    """Turn torch's words for too little memory into a message that says what to set."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        sizes = f"data.batch_size {config.data.batch_size}, data.eval_batch_size {config.data.eval_batch_size}"
        raise BnexpError(f"out of memory with {sizes}; a smaller batch or a smaller network needs less") from None


def _train_and_test(run: Experiment, folder: Path, show: Callable[[str, Plan], Display]) -> dict[str, Any]:
    """Train with all writers open, evaluate the test set once, and return the summary."""
    rows, board = MetricsWriter(folder / METRICS), TensorBoardWriter(folder)
    board.hyperparameters(_hyperparameters(run.config), HPARAM_METRICS, HPARAMS_AHEAD)
    display = show(f"{run.config.name} {folder.name}", run.plan)
    with contextlib.closing(Writers([rows, board, display])) as writer:
        compile_s = None
        if run.compiled:
            display.waiting("compiling the network, which takes a minute or so")
            compile_s = warm_up(run)
        outcome = train(run, writer, display)
        _store(run, outcome, folder)
        test = _test(run, outcome)
        outcome.clock.stop()
        if test:
            writer.scalars(outcome.steps, _named(run.plan.epoch_at(outcome.steps), test))
    return summary_of(run, outcome, test, compile_s)


def _store(run: Experiment, outcome: Outcome, folder: Path) -> None:
    """Keep the final weights, and those that were best on the validation part."""
    kept = {"final": (outcome.steps, copy_of_weights(run.network))}
    if outcome.best is not None:
        kept["best"] = (outcome.best.evaluated.step, outcome.best.weights)
    for name, (step, weights) in kept.items():
        save_checkpoint(folder / CHECKPOINTS / f"{name}.pt", {"step": step, "weights": weights})


def _test(run: Experiment, outcome: Outcome) -> dict[str, dict[str, float]] | None:
    """Score the test set with the final weights and with the best on validation; the network keeps the final ones."""
    if outcome.divergence is not None or outcome.best is None:
        return None
    with outcome.clock.evaluating():
        final = score_of(run, run.dataset.test)
        best = final
        if outcome.best.evaluated.step != outcome.steps:
            kept = copy_of_weights(run.network)
            put_weights(run.network, outcome.best.weights)
            best = score_of(run, run.dataset.test)
            put_weights(run.network, kept)
    return {"final": asdict(final), "best": asdict(best)}


def _named(epoch: float, test: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the test scores as a row: `loss/test` with the final weights, `loss/test_best` with the best."""
    places = {"final": "test", "best": "test_best"}
    return {"epoch": epoch} | {
        f"{figure}/{places[which]}": value for which in test for figure, value in test[which].items()
    }


def _hyperparameters(config: Config) -> dict[str, Hyperparameter]:
    """Return what can move the figures, for TensorBoard's table: neither the name nor what is looked at."""
    return _flat(config.model_dump(mode="json", exclude_none=True, exclude={"name", "probes"}))


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Hyperparameter]:
    """Return the leaves of nested sections as `section.key`."""
    leaves: dict[str, Hyperparameter] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{above}{key}.")
        else:
            leaves[f"{above}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return leaves
