"""One run from start to end: build, claim a folder, train, test once, and leave the records of it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bnexp.config.loading import dump_config
from bnexp.config.plan import Plan
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, Interrupted
from bnexp.store.metrics import MetricsWriter
from bnexp.store.run_folder import CONFIG, METRICS, SUMMARY, claim_run_folder, write_json, write_text_atomically
from bnexp.store.tensorboard import TensorBoardWriter
from bnexp.store.writers import Writers
from bnexp.training.build import Experiment, build
from bnexp.training.device import reproducible
from bnexp.training.display import Display, SilentDisplay
from bnexp.training.loop import Outcome, copy_of_weights, put_weights, score_of, train
from bnexp.training.records import circumstances, note_status, summary_of

HPARAM_METRICS = ["accuracy/val", "loss/val", "accuracy/test", "loss/test", "accuracy/test_best", "loss/test_best"]


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, what summary.json holds, and the trained network."""

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
    run = build(config, data_dir=data_dir, device=device)
    folder = claim_run_folder(runs_dir, config.name, config.seed)
    meta = circumstances(run, argv)
    try:
        write_text_atomically(folder / CONFIG, dump_config(config))
        note_status(folder, meta, "running")
        with reproducible():
            summary = _train_and_test(run, folder, show)
        write_json(folder / SUMMARY, summary)
        note_status(folder, meta, summary["status"])
    except KeyboardInterrupt:
        note_status(folder, meta, "interrupted")
        raise Interrupted(f"interrupted; what was logged until then stays in {folder}") from None
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk takes the note as little as what came before it
            note_status(folder, meta, "failed", f"{type(error).__name__}: {error}")
        if isinstance(error, OSError):
            raise BnexpError(f"{folder}: the records cannot be written: {error.strerror or error}") from None
        raise
    return RunResult(folder, summary, run.network)


def _train_and_test(run: Experiment, folder: Path, show: Callable[[str, Plan], Display]) -> dict[str, Any]:
    """Train with all writers open, evaluate the test set once, and return the summary."""
    board = TensorBoardWriter(folder)
    board.hyperparameters(_flat(run.config.model_dump(mode="json", exclude_none=True)), HPARAM_METRICS)
    display = show(f"{run.config.name} {folder.name}", run.plan)
    writer = Writers([MetricsWriter(folder / METRICS), board, display])
    try:
        outcome = train(run, writer, display)
        test = _test(run, outcome)
        for weights, score in (test or {}).items():
            where = "test" if weights == "final" else "test_best"
            board.scalars(outcome.steps, {f"{figure}/{where}": value for figure, value in score.items()})
    finally:
        writer.close()
    return summary_of(run, outcome, test)


def _test(run: Experiment, outcome: Outcome) -> dict[str, dict[str, float]] | None:
    """Score the test set with the final weights and with the best on validation; the network keeps the final ones."""
    if outcome.divergence is not None or outcome.best is None:
        return None
    with outcome.clock.evaluating():
        final = score_of(run, run.dataset.test)
        best = final
        if outcome.best.step != outcome.steps:
            kept = copy_of_weights(run)
            put_weights(run, outcome.best.weights)
            best = score_of(run, run.dataset.test)
            put_weights(run, kept)
    return {"final": asdict(final), "best": asdict(best)}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the leaves of nested sections as `section.key`, for TensorBoard's table of hyperparameters."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{above}{key}.")
        else:
            leaves[f"{above}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return leaves
