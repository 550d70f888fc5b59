"""The cost of each kind of item, by a clock that moves as it is told."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.blueprint import draw
from bnexp.config.probes_section import CostSchedule
from bnexp.config.schema import Config
from bnexp.measure.subject import Look
from bnexp.probes.cost import KINDS, Cost, kinds_of
from bnexp.training.build import build


class ToldClock:
    """A clock that moves only when an item that it slows down computes."""

    def __init__(self) -> None:
        self.now = 0.0

    def slow_down(self, item: nn.Module, forwards: Iterator[float], backward: float) -> None:
        """Let each forward pass of an item take the next of these seconds, and each backward pass as many as told."""

        def passes(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.now += next(forwards)
            if output.requires_grad:
                output.register_hook(lambda gradient: self.go_on(backward))

        item.register_forward_hook(passes)

    def go_on(self, seconds: float) -> None:
        self.now += seconds

    def times(self, look: Look, repeats: int = 1) -> dict[str, float]:
        found = Cost(CostSchedule(every=1, repeats=repeats), lambda: self.now).after_step(look).scalars
        return {name: value.item() for name, value in found.items() if not name.startswith("peak_memory_mib/")}


def test_the_times_of_the_items_are_added_up_by_kind(make_config: Callable[..., Config]) -> None:
    config = make_config(model={"block": "linear -> norm -> act -> dropout(p=0.2)"})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    clock = ToldClock()
    told = {"linear": (0.001, 0.002), "head": (0.004, 0.008), "bn": (0.016, 0.032), "relu": (0.064, 0.128)}
    told["dropout"] = (0.256, 0.512)
    for name, item in run.items.items():
        forward, backward = told[name.split(".")[-1]]
        clock.slow_down(item, repeat(forward), backward)
    found = clock.times(Look(run.subject, 1, 0.1, *run.batches.at(5)), repeats=2)
    expected = {"norms": (32, 64), "layers": (6, 12), "activations": (128, 256), "rest": (512, 1024)}
    together = sum(chain(*expected.values()))
    assert set(expected) == set(KINDS)
    for kind, (forward, backward) in expected.items():
        assert found.pop(f"cost_ms/{kind}_forward") == pytest.approx(forward, rel=1e-5)
        assert found.pop(f"cost_ms/{kind}_backward") == pytest.approx(backward, rel=1e-5)
        assert found.pop(f"cost_share/{kind}") == pytest.approx((forward + backward) / together, rel=1e-5)
    assert not found


@pytest.fixture
def head_alone(look_at: Callable[..., Look]) -> Look:
    network = nn.Sequential(OrderedDict(relu=nn.ReLU(), head=nn.Linear(3, 2)))
    return look_at(network, torch.ones(4, 3), layout=SimpleNamespace(blocks=[], placed={}))


def test_the_median_counts_and_the_first_time_does_not(head_alone: Look) -> None:
    clock = ToldClock()
    recorded, warm_up = 70.0, 50.0
    clock.slow_down(head_alone.subject.items["head"], iter([recorded, warm_up, 0.003, 0.001, 0.002]), 0.004)
    found = clock.times(head_alone, repeats=3)
    assert found["cost_ms/layers_forward"] == pytest.approx(2)
    assert found["cost_ms/layers_backward"] == pytest.approx(4)


def test_no_gradient_is_timed_that_the_step_does_not_need(head_alone: Look) -> None:
    clock = ToldClock()
    for item in head_alone.subject.items.values():
        clock.slow_down(item, repeat(0.001), 0.001)
    found = clock.times(head_alone)
    assert found["cost_ms/rest_forward"] == pytest.approx(1)
    assert found["cost_ms/rest_backward"] == 0  # the images have none


RESNET = "conv -> norm -> relu -> conv -> norm -> add -> relu"


@pytest.mark.parametrize(
    "model",
    [
        {"arch": "resnet", "stages": [1, 1], "width": 4, "shortcut": "projection", "block": RESNET, "skip_gain": True},
        {"arch": "resnet", "stages": [1, 1], "width": 4, "block": RESNET},
        {"arch": "cnn", "stages": [4, 6], "block": "conv -> norm -> relu -> dropout(p=0.1)"},
    ],
)
def test_every_item_has_a_kind_and_every_kind_a_time(make_config: Callable[..., Config], model: dict[str, Any]) -> None:
    data = {"synthetic": {"classes": 3, "shape": [3, 8, 8], "size": 60}}
    config = make_config(data=data, model={"hidden": None, "activation": None, **model})
    run = build(draw(config, Path("unused")), data_dir=Path("unused"), device="cpu")
    kinds = kinds_of(run.subject)
    assert kinds.keys() == run.items.keys()
    types = {"layers": (nn.Linear, nn.Conv2d), "norms": (nn.BatchNorm2d,), "activations": (nn.ReLU,)}
    for name, item in run.items.items():
        named = [kind for kind, classes in types.items() if isinstance(item, classes)]
        assert kinds[name] == (named or ["rest"])[0]
    found = Cost(CostSchedule(every=1)).after_step(Look(run.subject, 1, 0.1, *run.batches.at(0))).scalars
    times = [found[f"cost_ms/{kind}_{way}"].item() for kind in KINDS for way in ("forward", "backward")]
    assert min(times) > 0
    assert sum(found[f"cost_share/{kind}"].item() for kind in KINDS) == pytest.approx(1)
    assert found["peak_memory_mib/process"].item() > 10
    assert "peak_memory_mib/device" not in found
