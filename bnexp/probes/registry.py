"""Builds the probes that a config asks for, and knows when each of them looks."""

from dataclasses import dataclass

from bnexp.config.plan import Plan
from bnexp.config.probes_section import ProbeSchedule, ProbesConfig
from bnexp.probes.activations import Activations
from bnexp.probes.cost import Cost
from bnexp.probes.coupling import Coupling
from bnexp.probes.covariate_shift import CovariateShift
from bnexp.probes.evaluation_modes import EvaluationModes
from bnexp.probes.gradients import Gradients
from bnexp.probes.histograms import Histograms
from bnexp.probes.invariance import Invariance
from bnexp.probes.landscape import Landscape
from bnexp.probes.norm_state import NormState
from bnexp.probes.probe import Probe
from bnexp.probes.updates import Updates

PROBES: dict[str, type[Probe]] = {
    "gradients": Gradients,
    "activations": Activations,
    "updates": Updates,
    "norm_state": NormState,
    "histograms": Histograms,
    "evaluation_modes": EvaluationModes,
    "coupling": Coupling,
    "covariate_shift": CovariateShift,
    "landscape": Landscape,
    "invariance": Invariance,
    "cost": Cost,
}
"""The class of each probe by its name, in the order of its charts in TensorBoard and of docs/probes.md."""


@dataclass(frozen=True)
class Probes:
    """The probes of a run by name, each with its schedule."""

    scheduled: dict[str, tuple[ProbeSchedule, Probe]]
    steps_per_epoch: int

    @property
    def by_name(self) -> dict[str, Probe]:
        """The probes without their schedules."""
        return {name: probe for name, (_, probe) in self.scheduled.items()}

    def due(self, step: int) -> list[Probe]:
        """Return the probes that look at this step, counted from 1."""
        return [probe for schedule, probe in self.scheduled.values() if schedule.looks_at(step, self.steps_per_epoch)]


def build_probes(probes: ProbesConfig, plan: Plan) -> Probes:
    """Return the probes whose schedule is not off."""
    scheduled = {name: (schedule, PROBES[name](schedule)) for name, schedule in probes.schedules().items()}
    return Probes(scheduled, plan.steps_per_epoch)
