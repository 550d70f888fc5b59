"""The interface of a probe: it looks at a training step at three moments, and changes nothing.

Tensors stay on the device; the loop brings all figures of a step to Python together. A probe stands whole in its own
file: its figures, its charts in TensorBoard, and the page about it in docs/probes.md, which is made from its docstring
and its figures. Its schedule and options stand in `config/probes_section.py`, since the config is read without torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bnexp.config.probes_section import ProbeSchedule
from bnexp.measure.machine import in_a_row
from bnexp.measure.recorder import Recorder
from bnexp.measure.subject import Look
from bnexp.measure.tally import TALLIED, counts_of
from bnexp.runs.rows import Counts

Charts = dict[str, dict[str, str]]
"""Charts by category and title, each with the pattern of the figures that it draws.

TensorBoard matches a pattern from the start of a name. It merges the charts of all runs, and may lose a chart whose
category another run shows without it: a category holds figures of one probe only.
"""


@dataclass(frozen=True)
class Figure:
    """A figure that a probe measures, explained in Markdown.

    Attributes:
        name: `quantity/where`, such as `gradient_norm/<item>`: a place in angle brackets stands for each of its kind.
        meaning: what it measures.
        formula: its definition in symbols; empty where the meaning says it all.
        range: its unit, and the values that it can take.
        comparable: `yes` where arms may be compared by it, or `no`, each with a clause about when or why.
        silent_on: what it does not tell, though one might read it so.
    """

    name: str
    meaning: str
    formula: str = ""
    range: str = ""
    comparable: str = ""
    silent_on: str = ""


@dataclass(frozen=True)
class Reading:
    """The figures of a probe at one step by `quantity/where`: scalars of shape (), and tallies for histograms.

    The tensors are the probe's own: the loop reads them after clipping and the optimizer's step, both of which write
    into the gradients.
    """

    scalars: dict[str, Tensor] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)


def scalars_of(readings: Iterable[Reading]) -> dict[str, Tensor]:
    """Return the scalars of several readings together."""
    return {name: value for reading in readings for name, value in reading.scalars.items()}


def tallies_of(readings: Iterable[Reading]) -> dict[str, Tensor]:
    """Return the tallies of several readings together."""
    return {name: row for reading in readings for name, row in reading.histograms.items()}


class Measured(NamedTuple):
    """What probes measured at one step, in Python: figures and histograms by `quantity/where`."""

    scalars: dict[str, float]
    histograms: dict[str, Counts]


NOTHING_MEASURED = Measured({}, {})


def numbers_in(readings: Sequence[Reading]) -> Tensor:
    """Return all numbers of readings in one row, for `measured_from`."""
    return in_a_row([*scalars_of(readings).values()], [*tallies_of(readings).values()])


def measured_from(readings: Sequence[Reading], numbers: Sequence[float]) -> Measured:
    """Return what was measured, by the names of the readings, from the numbers that `numbers_in` put in a row."""
    scalars, tallies = scalars_of(readings), tallies_of(readings)
    rows = (numbers[start : start + TALLIED] for start in range(len(scalars), len(numbers), TALLIED))
    counted = dict(zip(tallies, map(counts_of, rows), strict=True))
    return Measured(dict(zip(scalars, numbers[: len(scalars)], strict=True)), counted)


class Probe:
    """A measurement of the inside of the network while it trains; each overrides the moments that it needs.

    Extra passes of its own go through `undisturbed`, and leave `grad` of every parameter as it is. The docstring of a
    probe is Markdown, and the beginning of its page in docs/probes.md.
    """

    figures: ClassVar[tuple[Figure, ...]] = ()
    """All figures that it measures on some network."""
    charts: ClassVar[Charts] = {}
    """The charts of them on TensorBoard's page of custom charts."""
    needs_step = False
    """Whether it measures what the optimizer's step does, so that stored weights alone show it nothing."""
    watches = False
    """Whether it watches the forward pass of the step."""
    recordable = False
    """Whether a look is work of the device alone, the same at every step, so that it can be taken ahead.

    There, the `step` of the look is 0, and its `lr` may be a tensor ().
    """
    schedule: ProbeSchedule
    """The probe's section of the config, with its options."""

    def __init__(self, schedule: ProbeSchedule) -> None:
        self.schedule = schedule
        self.kept: dict[str, Tensor] = {}
        """What it keeps from one look to the next, through a resume too."""

    def warm_up(self, device: torch.device) -> None:
        """Compute once on a few values, so that a GPU loads the code for it before time is taken."""

    def before(self, look: Look) -> None:
        """Get ready, right before the forward pass."""

    def after_backward(self, look: Look) -> Reading:
        """Measure, right after the backward pass: gradients are there, unscaled and not clipped; no step was taken."""
        return Reading()

    def after_step(self, look: Look) -> Reading:
        """Measure, right after the optimizer's step, which a diverging training does not come to."""
        return Reading()


class WatchingProbe(Probe):
    """A probe that records what passes through the items in the forward pass of the step."""

    watches = True
    watches_inputs = False
    """Whether it records what comes into the items, not what they give out."""

    def __init__(self, schedule: ProbeSchedule) -> None:
        super().__init__(schedule)
        self._recorder = Recorder(inputs=self.watches_inputs)

    def before(self, look: Look) -> None:
        """Watch all items in the coming forward pass."""
        self._recorder.start(look.subject.items)
