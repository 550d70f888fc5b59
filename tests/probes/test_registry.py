"""Probes are built as the config says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from bnexp.config.plan import make_plan
from bnexp.config.probes_section import ProbeSchedule
from bnexp.config.schema import Config
from bnexp.data.sources.facts import dataset_info
from bnexp.measure.subject import Look
from bnexp.probes.probe import Probe, Reading
from bnexp.probes.registry import PROBES, Probes, build_probes


def test_probes_have_their_schedule_and_can_be_off(make_config: Callable[..., Config]) -> None:
    off = dict.fromkeys(PROBES, "off")
    config = make_config(probes={**off, "activations": {"every": 5}, "histograms": {"every_epochs": 1}})
    plan = make_plan(config, dataset_info(config.data, Path("unused")))
    assert plan.steps_per_epoch == 6
    probes = build_probes(config.probes, plan)
    names = {step: [type(probe).__name__ for probe in probes.at(step).probes] for step in range(1, 13)}
    expected = {1: ["Activations"], 5: ["Activations"], 6: ["Histograms"], 10: ["Activations"], 12: ["Histograms"]}
    assert {step: found for step, found in names.items() if found} == expected


class Noting(Probe):
    """Notes when it is called."""

    watches = True

    def __init__(self, calls: list[str]) -> None:
        super().__init__(ProbeSchedule(at=(2,)))
        self._calls = calls

    def before(self, look: Look) -> None:
        self._calls.append("before")

    def after_backward(self, look: Look) -> Reading:
        self._calls.append("after_backward")
        return Reading({"x/y": look.x.sum()})

    def after_step(self, look: Look) -> Reading:
        self._calls.append("after_step")
        return Reading()


def test_probes_that_are_due_are_called_as_one_and_timed(look_at: Callable[..., Look]) -> None:
    calls: list[str] = []

    @contextmanager
    def timing() -> Iterator[None]:
        calls.append("[")
        yield
        calls.append("]")

    probes = Probes({"noting": Noting(calls)}, steps_per_epoch=6)
    look = look_at(nn.Linear(2, 3), torch.ones(4, 2))
    for step in (1, 2):
        due = probes.at(step, timing)
        due.before(look)
        readings = [due.after_backward(look), due.after_step(look)]
    assert [len(reading) for reading in readings] == [1, 1]
    assert "".join(calls) == "[before][after_backward][after_step]"
    nothing = probes.at(1, timing)
    assert (nothing.after_backward(look), nothing.after_step(look)) == ([], [])
    assert "".join(calls).count("[") == 3


def test_before_a_compiled_step_probes_that_watch_see_a_rehearsal(look_at: Callable[..., Look]) -> None:
    network, passes = nn.Linear(2, 3), list[int]()
    network.register_forward_hook(lambda *arguments: passes.append(1))
    look = look_at(network, torch.ones(4, 2))
    for compiled in (False, True):
        probes = Probes({"noting": Noting([])}, 6, rehearsed=compiled)
        for step in (1, 2):
            probes.at(step).before(look)
    assert len(passes) == 1


def test_warm_up_leaves_probes_and_streams_as_they_are(make_config: Callable[..., Config]) -> None:
    config = make_config(probes={name: {"every": 1} for name in PROBES})
    probes = build_probes(config.probes, make_plan(config, dataset_info(config.data, Path("unused"))))
    before = torch.get_rng_state()
    probes.warm_up(torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(probes.state_dict().values())
