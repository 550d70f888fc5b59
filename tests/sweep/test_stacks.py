"""Runs of an arm are handed to processes in stacks of about equal size, and what has not begun is let go."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.options import read_stack
from bnexp.sweep.stacks import StackRule, Stacks, rule_for
from bnexp.sweep.work import Ended, Event, Task

MakeTask = Callable[..., Task]


class Workers:
    """As LocalWorkers, but nothing is trained: stacks end when a test says so."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running: list[list[str]] = []
        self.devices: list[str | None] = []
        self.asked: list[bool] = []

    @property
    def busy(self) -> int:
        return len(self.running)

    def start(self, *tasks: Task) -> None:
        self.running.append([task.key for task in tasks])
        self.devices += [task.device for task in tasks]

    def wait(self, timeout_s: float) -> list[Event]:
        return []

    def stop(self, *, at_once: bool = False) -> None:
        self.asked.append(at_once)


@pytest.fixture
def make_task(make_config: Callable[..., Config]) -> MakeTask:
    def make(name: str, seed: int, **of_task: Any) -> Task:
        blueprint = draw(make_config(name=name), Path("unused")).with_seed(seed)
        return Task(f"{name}{seed}", blueprint, Path("unused"), **of_task)

    return make


def begun(tasks: Collection[Task], rule: StackRule, slots: int = 9) -> list[list[str]]:
    """Return the stacks in which processes get tasks."""
    stacks = Stacks(workers := Workers(slots), rule)  # type: ignore[arg-type]
    for task in tasks:
        stacks.start(task)
    stacks.wait(0)
    return workers.running


def test_an_arm_is_divided_into_stacks_of_about_equal_size(make_task: MakeTask) -> None:
    arms = [make_task(name, seed) for name in "ab" for seed in range(5)]
    assert begun(arms, StackRule(4)) == [["a0", "a1", "a2"], ["a3", "a4"], ["b0", "b1", "b2"], ["b3", "b4"]]
    assert begun(arms, StackRule(8)) == [[f"{name}{seed}" for seed in range(5)] for name in "ab"]
    assert begun(arms, StackRule(16), slots=1) == [["a0", "a1", "a2", "a3", "a4"]]


def test_few_runs_and_arms_apart_are_trained_one_by_one(make_task: MakeTask) -> None:
    arms = [make_task(name, seed) for name in "ab" for seed in range(4)]
    alone = [["b0"], ["b1"], ["b2"], ["b3"]]
    assert begun(arms, StackRule(4, apart=["b"])) == [["a0", "a1", "a2", "a3"], *alone]
    assert begun(arms[:3], StackRule(16, least=4)) == [["a0"], ["a1"], ["a2"]]


def test_runs_that_begin_are_not_stacked_on_runs_that_are_resumed_nor_on_those_of_the_tuning(
    make_task: MakeTask,
) -> None:
    kinds: list[dict[str, Any]] = [{}, {"mode": "resume"}, {"role": "tuning"}]
    tasks = [make_task("a", seed, **kinds[seed % 3]) for seed in range(6)]
    assert begun(tasks, StackRule(8)) == [["a0", "a3"], ["a1", "a4"], ["a2", "a5"]]


def test_a_stack_is_on_one_device(make_task: MakeTask) -> None:
    stacks = Stacks(workers := Workers(1), StackRule(8))  # type: ignore[arg-type]
    assert stacks.slots == 8
    for seed in range(2):
        stacks.start(make_task("a", seed, device=f"cuda:{seed}"))
    stacks.wait(0)
    assert workers.devices == ["cuda:0", "cuda:0"]


def test_what_has_not_begun_is_let_go_at_a_signal(make_task: MakeTask) -> None:
    stacks = Stacks(workers := Workers(1), StackRule(2))  # type: ignore[arg-type]
    for seed in range(4):
        stacks.start(make_task("a", seed))
    assert stacks.wait(0) == []
    stacks.stop()
    assert [(event.key, event.end) for event in stacks.wait(0) if isinstance(event, Ended)] == [
        ("a2", "interrupted"),
        ("a3", "interrupted"),
    ]
    assert workers.asked == [False]
    assert workers.running == [["a0", "a1"]]


def test_auto_keeps_every_process_busy() -> None:
    assert rule_for("auto", runs=16, workers=2, apart=()) == StackRule(8, 4, ())
    assert rule_for("auto", runs=400, workers=2, apart=()).most == 16
    assert rule_for(6, runs=400, workers=2, apart=()) == StackRule(6)


def test_what_stack_may_be() -> None:
    assert [read_stack(text) for text in ("off", " Auto", "8")] == [1, "auto", 8]
    with pytest.raises(ConfigError, match="--stack '': expected auto"):
        read_stack("")
    for text in ("1", "0", "-2", "many", "2.5"):
        with pytest.raises(ConfigError, match="expected auto, off, or a number of seeds from 2 on"):
            read_stack(text)
