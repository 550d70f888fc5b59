"""Builds the probes that a config asks for."""

from collections.abc import Callable

from bnexp.config.schema import ProbesConfig
from bnexp.probes.activations import Activations
from bnexp.probes.gradients import Gradients
from bnexp.probes.histograms import Histograms
from bnexp.probes.probe import Probe

PROBES: dict[str, Callable[[int], Probe]] = {
    "activations": Activations,
    "gradients": Gradients,
    "histograms": Histograms,
}


def build_probes(probes: ProbesConfig) -> list[Probe]:
    """Return the probes whose schedule is not off."""
    schedules = {name: getattr(probes, name).every for name in PROBES}
    return [PROBES[name](every) for name, every in schedules.items() if every > 0]
