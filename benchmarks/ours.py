"""bnexp's own training as it is timed: default probes and rows, metrics.jsonl, TensorBoard's file, checkpoints."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Round
from bnexp.blueprint import Blueprint
from bnexp.runs.checkpoints import CheckpointFolder
from bnexp.runs.folder import METRICS
from bnexp.runs.rows import MetricsWriter, Writers
from bnexp.session.board import TensorBoardWriter
from bnexp.session.checkpoint import Checkpointer
from bnexp.training.build import TrainingRun, build
from bnexp.training.clock import Clock
from bnexp.training.compiling import warm_up
from bnexp.training.device import computing_as
from bnexp.training.loop import train
from bnexp.training.progress import Progress

NOWHERE = Path("unused")
"""Generated images come from no folder."""
Show = Callable[[int, Clock], None]


@dataclass(frozen=True)
class Session:
    """A training that is ready to begin, with all that a run writes."""

    run: TrainingRun
    progress: Progress
    checkpointer: Checkpointer
    writer: Writers
    compile_s: float

    def train(self, show: Show = lambda step, clock: None, note: Callable[[str], None] = lambda text: None) -> None:
        """Train to the end of the plan."""
        train(self.run, self.progress, show, save_if_due=self.checkpointer.save_if_due, note=note)

    def end(self) -> None:
        """Write what a run writes at its end."""
        self.checkpointer.save(self.progress)
        self.writer.close()


@contextlib.contextmanager
def session_of(run: TrainingRun) -> Iterator[Session]:
    """Get a training ready as `bnexp train` does, in a folder that goes away when the context ends."""
    with tempfile.TemporaryDirectory() as name, computing_as(run.config.training):
        compile_s = warm_up(run.train_step, run.batches, run.plan) if run.train_step.compiled else 0.0
        run.probes.warm_up(run.device)
        folder = Path(name)
        rows = MetricsWriter(folder / METRICS)
        writer = Writers([rows, TensorBoardWriter(folder)])
        progress = Progress.start(run, writer)
        checkpointer = Checkpointer(run, CheckpointFolder(folder), rows)
        checkpointer.save(progress)  # that of the start, which takes the fingerprint of the data
        yield Session(run, progress, checkpointer, writer, compile_s)


def bnexp_epoch(blueprint: Blueprint, device: str) -> Round:
    """Return an epoch of bnexp's own training, the mean of its config's."""

    def epoch() -> float:
        run = build(blueprint, data_dir=NOWHERE, device=device)
        with session_of(run) as session:
            start = time.perf_counter()
            session.train()
            session.end()
            return (time.perf_counter() - start) / (run.plan.total_steps / run.plan.steps_per_epoch)

    return epoch
