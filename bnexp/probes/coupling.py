"""Probe `coupling`: how much an example's logits move when only its companions in the batch change."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bnexp.config.probes_section import CouplingSchedule
from bnexp.config.randomness import derive_seed
from bnexp.measure.statistics_modes import Forward, using_batch_statistics
from bnexp.measure.subject import Look, Subject
from bnexp.probes.probe import Charts, Figure, Probe, Reading

Companions = Callable[[Tensor, int, int, int, Generator], Tensor]
"""From labels (N,), an anchor, draws, companions of a draw and a generator to indices (draws, companions)."""


class Coupling(Probe):
    """Measures how much the logits of an example move when only its companions in the batch change.

    Each of `examples` anchors passes through the network in `draws` batches that differ in their companions only, one
    anchor a batch. The anchors are the first examples of the training part, whose order mixes the classes. Batches have
    the training's size. There are two kinds of companions, drawn anew at each look:

    - `random`: any other training examples, each at most once, as in a shuffled epoch;
    - `sorted`: examples of one class a draw, the draws going through the classes, whichever class the anchor has: how
      far the make-up of a batch can move it (drawn with replacement, since a class may have fewer examples than the
      batch; the anchor may be among them).

    Norms over the batch take its statistics, as in training; there is no dropout and no noise. All figures are 0 where
    no norm takes statistics of the batch, and 0 except for rounding where `batch_renorm` is within its bounds.
    """

    figures = (
        Figure(
            "coupling_spread/<kind>",
            "standard deviation of a logit over the draws (with n - 1), root mean square over anchors and classes",
            range="0 and up, in the units of the logits",
            comparable="no: logits grow with training, and at other rates in other arms; take `coupling_relative`",
            silent_on="whether it changes a prediction",
        ),
        Figure(
            "coupling_relative/<kind>",
            "the same in standard deviations of the logits, averaged over their draws, over anchors and classes",
            formula="coupling_spread / std of the mean logits",
            range="0 and up",
            comparable="yes, for the same batch size and draws, and equally far in training: sure logits are wide",
            silent_on="whether the scatter harms or regularizes",
        ),
        Figure(
            "coupling_flip_rate/<kind>",
            "how often the predicted class is not the anchor's most frequent one, over anchors and draws",
            range="0 to 1 - 1 / draws; nan where logits are not finite",
            comparable="yes, for the same batch size, draws and accuracy: unsure predictions flip sooner",
            silent_on="whether the flips are to the right class or away from it",
        ),
    )
    charts: ClassVar[Charts] = {
        "coupling of examples": {
            "spread of the logits, in their std": r"coupling_relative/",
            "predictions that flip": r"coupling_flip_rate/",
        }
    }

    schedule: CouplingSchedule

    @torch.no_grad()
    def after_step(self, look: Look) -> Reading:
        """Measure the weights that the step made."""
        subject, scalars = look.subject, dict[str, Tensor]()
        with subject.precision, using_batch_statistics(subject) as forward:
            for kind, companions in KINDS.items():
                seed = derive_seed(subject.config.seed, "coupling", kind, look.step)
                logits = self._logits(subject, forward, companions, torch.Generator().manual_seed(seed))
                scalars |= {f"{name}/{kind}": value for name, value in figures_of(logits).items()}
        return Reading(scalars)

    def _logits(self, subject: Subject, forward: Forward, companions: Companions, generator: Generator) -> Tensor:
        """Return the logits of each anchor in each of its batches, (anchors, draws, classes)."""
        dataset, draws, others = subject.dataset, self.schedule.draws, subject.plan.batch_size - 1
        anchors = list[Tensor]()
        for anchor in range(min(self.schedule.examples, len(dataset.train))):
            drawn = companions(dataset.train.labels, anchor, draws, others, generator)  # (draws, B - 1)
            batches = torch.cat([drawn.new_full((draws, 1), anchor), drawn], dim=1)  # (draws, B)
            rows = [forward(dataset.inputs(dataset.train.take(index).images))[0] for index in batches]
            anchors.append(torch.stack(rows).float())
        return torch.stack(anchors)


def random_companions(labels: Tensor, anchor: int, draws: int, count: int, generator: Generator) -> Tensor:
    """Return indices (draws, count) of examples other than the anchor, those of a draw all different."""
    drawn = torch.stack([torch.randperm(len(labels) - 1, generator=generator)[:count] for _ in range(draws)])
    return (drawn + (drawn >= anchor)).to(labels.device)


def sorted_companions(labels: Tensor, anchor: int, draws: int, count: int, generator: Generator) -> Tensor:
    """Return indices (draws, count) of examples of one class a draw, with replacement, the anchor perhaps among them.

    The draws step evenly through the examples sorted by class: a larger class comes more often, an empty one never, and
    every anchor meets the same classes.
    """
    by_class, order = torch.sort(labels, stable=True)  # (N,) each
    at = (2 * torch.arange(draws, device=labels.device) + 1) * len(labels) // (2 * draws)
    chosen = by_class[at].contiguous()  # (draws,)
    first = torch.searchsorted(by_class, chosen)
    size = torch.searchsorted(by_class, chosen, right=True) - first
    # Drawn without knowing the sizes, so that they need not come to Python first.
    drawn = torch.randint(2**40, (draws, count), generator=generator).to(labels.device)
    return order[first[:, None] + drawn % size[:, None]]


KINDS: dict[str, Companions] = {"random": random_companions, "sorted": sorted_companions}


def figures_of(logits: Tensor) -> dict[str, Tensor]:
    """Return spread, relative spread and flip rate, each of shape (), of logits (anchors, draws, classes)."""
    # From the first draw on, so that equal logits spread by exactly 0; their mean may be off by rounding.
    spread = (logits - logits[:, :1]).var(dim=1, correction=1).mean().sqrt()
    scale = logits.mean(dim=1).std(correction=0)
    predicted = logits.argmax(dim=2)  # (anchors, draws)
    agreeing = (predicted[:, :, None] == predicted[:, None, :]).sum(dim=2)  # draws of the same class, (anchors, draws)
    draws = logits.shape[1]
    flipped = (draws - agreeing.amax(dim=1)).float().mean() / draws
    return {
        "coupling_spread": spread,
        "coupling_relative": torch.where(spread == 0, 0.0, spread / scale),
        "coupling_flip_rate": torch.where(spread.isfinite(), flipped, torch.nan),
    }
