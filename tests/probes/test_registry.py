"""Probes are built as the config says."""

from collections.abc import Callable
from pathlib import Path

from bnexp.config.plan import make_plan
from bnexp.config.schema import Config
from bnexp.data.sources.facts import dataset_info
from bnexp.probes.registry import PROBES, build_probes


def test_probes_have_their_schedule_and_can_be_off(make_config: Callable[..., Config]) -> None:
    off = dict.fromkeys(PROBES, "off")
    config = make_config(probes={**off, "activations": {"every": 5}, "histograms": {"every_epochs": 1}})
    plan = make_plan(config, dataset_info(config.data, Path("unused")))
    assert plan.steps_per_epoch == 6
    probes = build_probes(config.probes, plan)
    names = {step: [type(probe).__name__ for probe in probes.at(step).probes] for step in range(1, 13)}
    expected = {1: ["Activations"], 5: ["Activations"], 6: ["Histograms"], 10: ["Activations"], 12: ["Histograms"]}
    assert {step: found for step, found in names.items() if found} == expected
