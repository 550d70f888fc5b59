"""Probe `evaluation_modes`: the same weights, scored with statistics of the norms from four sources."""

from typing import ClassVar

import torch
from torch import Tensor

from bnexp.config.probes_section import EvaluationModesSchedule
from bnexp.data.parts import Part
from bnexp.measure.evaluation import graded, inference_mode_of
from bnexp.measure.statistics_modes import (
    Forward,
    batch_statistics_norms,
    using_batch_statistics,
    using_recomputed_statistics,
    without_a_batch_of_one,
)
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Charts, Figure, Probe, Reading

MODES = ("running", "batch", "recomputed", "single")
_ONLY_SOME = "the score of the whole validation part: it is that of `examples` examples, and as uncertain"


class EvaluationModes(Probe):
    """Scores the same weights on the first `examples` of the validation part, whose order mixes the classes, four ways.

    The modes differ in the statistics that norms over the batch use; dropout and noise are off in all of them:

    - `running`: those that training averaged over its steps, as in any evaluation;
    - `batch`: those of each batch, of the training's batch size;
    - `recomputed`: those of `recomputed_over` training examples together, all with the present weights ("precise BN",
      Wu & Johnson 2021, https://arxiv.org/abs/2105.07576); at the end of every run both parts are scored so, too;
    - `single`: those of each example alone, over its positions.

    A vector, as in an MLP, has no positions: alone it is its own mean and has variance 0. Of it `bn`, `ghost_bn`,
    `sync_bn` and `noisy_bn` leave beta only; `batch_renorm` leaves gamma d + beta, with its correction d; `vn`, which
    subtracts no mean, gamma x / sqrt(eps) + beta; `evonorm_b0` gamma x / max(sqrt(eps), v x + sqrt(eps)) + beta.

    `batch_renorm` corrects the statistics of `batch` and `single` toward the running ones, as in training. All modes
    score the same examples: fewer by those that would leave a batch or a ghost batch of one example in `batch`, and
    where none remain nothing is measured. Without norms over the batch all modes are the same computation, which is
    done once.
    """

    figures = (
        Figure(
            "loss_by_mode/<mode>",
            "cross-entropy with the statistics of the mode",
            range="0 and up, in nats",
            comparable="yes, mode by mode, for the same batch size",
            silent_on=_ONLY_SOME,
        ),
        Figure(
            "accuracy_by_mode/<mode>",
            "fraction of right answers with the statistics of the mode",
            range="0 to 1; nan where the loss is not finite",
            comparable="yes, mode by mode, for the same batch size",
            silent_on=_ONLY_SOME,
        ),
        Figure(
            "loss_gap/<mode>",
            "loss of the mode less the loss with running statistics; for all modes but `running`",
            range="any number, in nats",
            comparable="yes: below 0 the running statistics cost something; exactly 0 without norms over the batch",
            silent_on="whether running statistics lag or batches scatter: only `recomputed` leaves the scatter out",
        ),
    )
    charts: ClassVar[Charts] = {"evaluation modes": {"loss": r"loss_by_mode/", "accuracy": r"accuracy_by_mode/"}}
    schedule: EvaluationModesSchedule

    @torch.no_grad()
    def after_step(self, look: Look) -> Reading:
        """Score the weights that the step made."""
        subject = look.subject
        wanted = min(self.schedule.examples, len(subject.dataset.val))
        count = without_a_batch_of_one(subject, wanted, subject.plan.batch_size)
        if count == 0:
            return Reading()
        part = Part(subject.dataset.val.images[:count], subject.dataset.val.labels[:count])
        scores = self._scores(subject, part)
        losses = {f"loss_by_mode/{mode}": loss for mode, (loss, _) in scores.items()}
        accuracies = {f"accuracy_by_mode/{mode}": accuracy for mode, (_, accuracy) in scores.items()}
        gaps = {f"loss_gap/{mode}": scores[mode][0] - scores["running"][0] for mode in MODES[1:]}
        return Reading({**losses, **accuracies, **gaps})

    def _scores(self, subject: Subject, part: Part) -> dict[str, tuple[Tensor, Tensor]]:
        """Score a part of the dataset in each mode."""
        network, large = subject.network, subject.config.data.eval_batch_size
        scores = dict[str, tuple[Tensor, Tensor]]()
        with subject.precision:
            with inference_mode_of(network):
                scores["running"] = _score(network, subject, part, large)
            if not batch_statistics_norms(subject):
                return dict.fromkeys(MODES, scores["running"])
            with using_batch_statistics(subject) as forward:
                scores["batch"] = _score(forward, subject, part, subject.plan.batch_size)
                scores["single"] = _score(one_by_one(forward), subject, part, 1)
            with using_recomputed_statistics(subject, self.schedule.recomputed_over) as forward:
                scores["recomputed"] = _score(forward, subject, part, large)
        return scores


def _score(forward: Forward, subject: Subject, part: Part, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy and the accuracy, of shape (); accuracy is nan where the loss is not finite."""
    losses, right = graded(forward, subject.dataset, part, batch_size)
    loss = losses.sum() / len(part)
    return loss, torch.where(loss.isfinite(), right.sum() / len(part), torch.nan)


def one_by_one(forward: Forward) -> Forward:
    """Return a pass for batches of one example, (1, C, H, W) to (1, classes), with batch statistics of it alone.

    A batch that holds an example twice has exactly its (biased) mean and variance, and of vectors too: one alone is
    refused there.
    """
    return lambda x: forward(torch.cat([x, x]))[:1]
