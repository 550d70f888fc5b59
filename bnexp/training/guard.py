"""`training.on_divergence`: what becomes of a step whose loss or gradient is not finite."""

import math
from typing import Literal

import torch
from torch import Tensor

from bnexp.measure.evaluation import Score
from bnexp.training.build import Experiment
from bnexp.training.divergence import Divergence, buffers_are_finite, find_divergence, gradients_are_finite
from bnexp.training.optimizer import MOST_SKIPS_IN_A_ROW
from bnexp.training.progress import Progress

Verdict = Literal["take", "skip", "end"]


class Guard:
    """Judges each step before it is taken, and the network at each evaluation.

        stop        the first loss that is not finite ends the run, and so does such an evaluation
        skip_step   a step with such a loss or gradient is not taken, and the running statistics are put back to where
                    they were before its forward pass; too many in a row end the run
        continue    every step is taken, whatever it does to the weights

    The first of them is traced to its layer. Where the loss is scaled, gradients that overflow are the scaling's.
    """

    def __init__(self, run: Experiment, progress: Progress) -> None:
        self._run, self._progress = run, progress
        self._policy = run.config.training.on_divergence
        self._before: list[tuple[Tensor, Tensor]] = []

    def before_forward(self) -> None:
        """Keep the running statistics, where the step may be left out."""
        if self._policy == "skip_step":
            self._before = [(buffer, buffer.clone()) for buffer in self._run.network.buffers()]

    def judge(self, loss: float, x: Tensor, step: int) -> Verdict:
        """Say what becomes of a step on the batch x, whose gradients are there; one that is skipped leaves no trace."""
        if self._is_finite(loss):
            self._progress.skipped_in_a_row = 0
            return "take"
        if self._progress.divergence is None:
            self._progress.divergence = find_divergence(self._run, x, step)
        if self._policy == "skip_step":
            self._leave_out()
            return "skip"
        if self._policy == "continue":
            return "take"
        self._progress.sound, self._progress.ended = False, True
        return "end"

    def ends_after(self, step: int, score: Score | None) -> bool:
        """Tell whether a step was the last, by its evaluation, if it had one, and by the steps that were left out."""
        run, progress = self._run, self._progress
        if score is not None:
            progress.sound = math.isfinite(score.loss) and buffers_are_finite(run.network)
            if not progress.sound and progress.divergence is None:
                x = run.dataset.val_inputs(run.plan.batch_size)
                progress.divergence = find_divergence(run, x, step, inference=True)
        if max(progress.skipped_in_a_row, run.scaler.skipped_in_a_row) > MOST_SKIPS_IN_A_ROW:
            progress.sound, progress.ended = False, self._policy != "continue"
            scaling = Divergence(step, run.plan.epoch_at(step), "loss scaling", "gradient")
            progress.divergence = progress.divergence or scaling
        progress.ended = progress.ended or (self._policy == "stop" and not progress.sound)
        return progress.ended

    def _is_finite(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        asks_gradients = self._policy == "skip_step" and not self._run.scaler.scales
        return not asks_gradients or gradients_are_finite(self._run.network)

    def _leave_out(self) -> None:
        """Put the running statistics back, and count."""
        with torch.no_grad():
            for buffer, before in self._before:
                buffer.copy_(before)
        self._run.scaler.leave_out()
        self._progress.skipped += 1
        self._progress.skipped_in_a_row += 1
