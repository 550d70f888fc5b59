"""Probes are built as the config says."""

from bnexp.config.schema import ProbeSchedule, ProbesConfig
from bnexp.probes.registry import build_probes


def test_probes_have_their_schedule_and_can_be_off() -> None:
    config = ProbesConfig(activations=ProbeSchedule(every=7), gradients=ProbeSchedule(every=0))
    assert {type(probe).__name__: probe.every for probe in build_probes(config)} == {
        "Activations": 7,
        "Histograms": 500,
    }
