"""The probes that a config asks for: built, called at the steps where they are due, and kept in checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.config.plan import Plan
from bnexp.config.probes_section import ProbesConfig
from bnexp.measure.passes import rehearse
from bnexp.measure.subject import Look
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
from bnexp.probes.probe import Probe, Reading
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
Timing = Callable[[], AbstractContextManager[None]]
"""Makes a context whose time is counted as measuring."""


@dataclass(frozen=True)
class Due:
    """The probes that are due at one step, called as one."""

    probes: Sequence[Probe]
    timing: Timing = nullcontext
    rehearses: bool = False
    """Whether probes that watch the step see a rehearsal instead: it calls no hooks, or passes a part of the batch."""

    @property
    def recordable(self) -> bool:
        """Whether all of them can look at a step that is taken ahead."""
        return all(probe.recordable for probe in self.probes)

    def before(self, look: Look) -> None:
        """Let each get ready, right before the forward pass."""
        if not self.probes:
            return
        with self.timing():
            for probe in self.probes:
                probe.before(look)
            if self.rehearses and any(probe.watches for probe in self.probes):
                rehearse(look)

    def after_backward(self, look: Look) -> list[Reading]:
        """Return what each measures right after the backward pass."""
        if not self.probes:
            return []
        with self.timing():
            return [probe.after_backward(look) for probe in self.probes]

    def after_step(self, look: Look) -> list[Reading]:
        """Return what each measures right after the optimizer's step."""
        if not self.probes:
            return []
        with self.timing():
            return [probe.after_step(look) for probe in self.probes]


NOTHING_DUE = Due(())


class Probes:
    """The probes of a run by their names.

    The step is `rehearsed` for those that watch it where it calls no hooks, compiled, or passes a part of the batch.
    """

    def __init__(self, probes: Mapping[str, Probe], steps_per_epoch: int, *, rehearsed: bool = False) -> None:
        self._probes, self._steps_per_epoch, self._rehearsed = probes, steps_per_epoch, rehearsed
        # Most have the same one, and it is asked at every step.
        self._schedules = list({probe.schedule.steps: probe.schedule for probe in probes.values()}.values())

    def at(self, step: int, timing: Timing = nullcontext) -> Due:
        """Return the probes that are due at a step, counted from 1; `timing` counts the time they take, if any is."""
        due = [probe for probe in self._probes.values() if probe.schedule.looks_at(step, self._steps_per_epoch)]
        return Due(due, timing, self._rehearsed) if due else NOTHING_DUE

    def look_at(self, step: int) -> bool:
        """Tell whether any probe is due at a step, counted from 1."""
        return any(schedule.looks_at(step, self._steps_per_epoch) for schedule in self._schedules)

    def warm_up(self, device: torch.device) -> None:
        """Let each compute once, so that its first look takes no longer than the others."""
        for probe in self._probes.values():
            probe.warm_up(device)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return what each probe keeps from one look to the next, by its name."""
        return {name: probe.kept for name, probe in self._probes.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]], device: torch.device) -> None:
        """Resume from what the probes kept in an earlier session; tensors are moved to the device."""
        for name, probe in self._probes.items():
            probe.kept = {key: tensor.to(device) for key, tensor in state[name].items()}


def build_probes(probes: ProbesConfig, plan: Plan, *, rehearsed: bool = False, elsewhere: bool = False) -> Probes:
    """Return the probes whose schedule is not off; none where another process looks through them."""
    schedules = {} if elsewhere else probes.schedules()
    built = {name: PROBES[name](schedule) for name, schedule in schedules.items()}
    return Probes(built, plan.steps_per_epoch, rehearsed=rehearsed)
