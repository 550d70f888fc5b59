"""Runs of an arm are handed to processes in stacks of about equal size, and what has not begun is let go."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.memory import StackMemory
from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.option_values import read_stack
from bnexp.sweep.estimate import Division
from bnexp.sweep.stacks import StackRule, Stacks, beyond_memory, remarks_on, rule_for
from bnexp.sweep.work import AskedStack, Ended, Event, Judged, Task

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
    judged, arm = Judged("judge"), {"a": 16}
    assert rule_for("auto", arm, Division(2, 1), judged) == StackRule(8, 4, apart=set(), beside=2)
    assert rule_for("auto", {"a": 400}, Division(2, 1), judged).most == 16
    assert rule_for(6, {"a": 400}, Division(2, 1), judged) == StackRule(6, beside=2)
    tuned = {"a tuned": "a", "b tuned": "b"}
    apart = rule_for("auto", arm, Division(1, 1), Judged("judge", apart={"a tuned": "why"}), tuned).apart
    assert apart == {"a tuned", "a"}


def test_as_many_are_stacked_as_fit_into_the_memory_that_all_processes_share() -> None:
    """Of seeds of 10 MiB and 2 for a batch, with 20 for an evaluation of one, 12 fit into 150."""
    mib = 2**20
    memory = StackMemory(seed=10 * mib, batch=2 * mib, evaluation=20 * mib, free=150 * mib)
    assert [memory.fitting(stacks) for stacks in (1, 2, 4, 10)] == [12, 5, 1, 0]
    assert all(memory.needed(fit) <= 150 * mib // n < memory.needed(fit + 1) for n, fit in ((1, 12), (2, 5), (4, 1)))
    runs, judged = {"a": 6, "b": 3}, Judged("judge", stacks={"a": memory, "b": replace(memory, free=10**12)})
    here = Division(2, 1)

    rule = rule_for(6, runs, here, judged, {"a": "tuned"})
    assert rule.fitting["tuned"] == 5
    assert beyond_memory(6, rule, runs, judged) == {
        "a": "--stack 6: 6 stacked seeds take about 80.0 MiB of memory in each of 2 processes, and 0.1 GiB are free; "
        "expected at most --stack 5"
    }
    assert beyond_memory(5, rule_for(5, runs, here, judged), runs, judged) == {}
    five = {**runs, "a": 5}
    assert beyond_memory(6, rule_for(6, five, here, judged), five, judged) == {}, "so many there are not"
    runs = {"a": 12, "b": 12}
    rule = rule_for("auto", runs, here, judged)
    assert [rule.size(name, 12) for name in "ab"] == [4, 12]
    assert beyond_memory("auto", rule, runs, judged) == {}
    [remark] = remarks_on("auto", rule, runs, judged)
    assert remark.startswith("a: stacked by 5 at most: 12 stacked seeds take about")
    [remark] = remarks_on("auto", rule_for("auto", runs, Division(4, 1), judged), runs, judged)
    assert remark.startswith("a: trained seed by seed: 6 stacked seeds take about")


def test_what_is_not_stacked_or_does_not_pay_is_said_once() -> None:
    def remarks(asked: AskedStack, runs: dict[str, int], workers: int = 1, **judged: Any) -> list[str]:
        said = Judged("judge", **judged)
        return list(remarks_on(asked, rule_for(asked, runs, Division(workers, 1), said), runs, said))

    assert remarks("auto", {"a": 4, "b": 2}) == []
    few = "nothing is stacked: --stack auto takes 4 seeds of an arm or more, and here come 3 of one arm to a process"
    assert remarks("auto", {"a": 3, "b": 2}) == remarks("auto", {"a": 5}, workers=2) == [few]
    assert remarks("auto", {"a": 5, "b": 5}, apart={"a": "why"}) == ["trained seed by seed: a: why"]
    assert "takes 2 seeds of an arm or more" in remarks(8, {"a": 1})[0]
    slow = {"a": "why", "b": "why", "c": "why"}
    assert remarks(8, {"a": 2, "b": 2, "c": 1}, unpaid=slow) == [
        "stacked, although that was measured not to pay: a, b: why"
    ]


def test_what_stack_may_be() -> None:
    assert [read_stack(text) for text in ("off", " Auto", "8")] == [1, "auto", 8]
    with pytest.raises(ConfigError, match="--stack '': expected auto"):
        read_stack("")
    for text in ("1", "0", "-2", "many", "2.5"):
        with pytest.raises(ConfigError, match="expected auto, off, or a number of seeds from 2 on"):
            read_stack(text)
