"""Writes the checkpoints of a run when they are due."""

import time
from collections.abc import Callable

from bnexp.store.checkpoints import CheckpointFolder
from bnexp.store.metrics import MetricsWriter
from bnexp.training.build import Experiment
from bnexp.training.progress import Progress
from bnexp.training.state import state_of


class Checkpointer:
    """Writes a checkpoint every so many epochs, and every so many minutes where epochs are long.

    Args:
        run: the experiment.
        folder: takes the checkpoints.
        rows: what a checkpoint counts on is flushed to the disk before it.
        now: the time in seconds; an argument so that tests need not wait.
    """

    def __init__(
        self,
        run: Experiment,
        folder: CheckpointFolder,
        rows: MetricsWriter,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._folder, self._rows, self._now = run, folder, rows, now
        self._saved_at = now()
        self._stored_best: int | None = None

    def is_due(self, step: int) -> bool:
        """Tell whether a checkpoint is due after this step, counted from 1; the last one of the plan is not."""
        when, plan = self._run.config.checkpoints, self._run.plan
        waited = self._now() - self._saved_at >= 60 * when.every_minutes
        return step < plan.total_steps and (waited or plan.regularly_at(step, when.every_epochs))

    def save(self, progress: Progress) -> None:
        """Write a checkpoint of where the run stands, and the best weights where they are new.

        Raises:
            OSError: the disk is full, the folder is gone, ...; the checkpoints before are whole.
        """
        with progress.clock.saving():
            self._folder.save(progress.steps, state_of(self._run, progress, self._rows.flushed()))
            best = progress.best
            if best is not None and best.evaluated.step != self._stored_best:
                self._folder.save_best(best.evaluated.step, best.weights)
                self._stored_best = best.evaluated.step
        self._saved_at = self._now()
