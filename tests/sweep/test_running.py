"""The loop of a sweep: slots are kept, failures retried, a signal asks once, what depends on a run comes after it."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from bnexp.blueprint import Blueprint
from bnexp.errors import Interrupted
from bnexp.sweep import running
from bnexp.sweep.running import Outcome, Rules, carry_out
from bnexp.sweep.work import End, Ended, Event, Task

NO_BLUEPRINT = cast(Blueprint, None)


def task(key: str, folder: Path = Path("nowhere")) -> Task:
    return Task(key, NO_BLUEPRINT, folder)


class Tasks:
    """A source of tasks; `after` says which come when one has ended."""

    def __init__(self, *keys: str, after: dict[str, list[str]] | None = None) -> None:
        self._ready, self._after = list(keys), after or {}

    def ready(self) -> Iterable[Task]:
        now, self._ready = self._ready, []
        return [task(key) for key in now]

    def ended(self, event: Ended) -> None:
        self._ready += self._after.get(event.key, [])


class Scripted:
    """An executor whose tasks end one by one, as a script says: by default `finished`."""

    def __init__(self, slots: int, **ends: list[End]) -> None:
        self.slots, self._ends = slots, ends
        self.running: list[str] = []
        self.began: list[tuple[str, str]] = []
        self.most = 0
        self.asked: list[bool] = []
        self.closed = self.for_good = False
        self.on_wait: Callable[[], object] = lambda: None

    def start(self, task: Task) -> None:
        self.began.append((task.key, task.mode))
        self.running.append(task.key)
        self.most = max(self.most, len(self.running))

    def wait(self, timeout_s: float) -> list[Event]:
        self.on_wait()
        if not self.running:
            return []
        key = self.running.pop(0)
        if self.asked:
            return [Ended(key, "interrupted")]
        script = self._ends.get(key, [])
        return [Ended(key, script.pop(0) if script else "finished")]

    def stop(self, *, at_once: bool = False) -> None:
        self.asked.append(at_once)

    def close(self, *, for_good: bool = False) -> None:
        self.closed, self.for_good = True, self.for_good or for_good


class Nobody:
    def started(self, task: Task) -> None: ...
    def take(self, event: Event) -> None: ...
    def ended(self, event: Ended, *, again: bool) -> None: ...
    def held(self, task: Task, holder: int) -> None: ...
    def let_go(self, key: str) -> None: ...
    def tick(self) -> None: ...


def run(source: Tasks, executor: Scripted, **options: Any) -> Outcome:
    return carry_out(source, executor, Nobody(), **{"look": lambda task: task} | options)


def test_as_many_run_at_once_as_there_are_slots() -> None:
    executor = Scripted(2)
    outcome = run(Tasks("a", "b", "c", "d", "e"), executor)
    assert executor.most == 2
    assert list(outcome.ends) == ["a", "b", "c", "d", "e"]
    assert executor.closed
    assert outcome.exit_code == 0


def test_what_depends_on_a_run_begins_when_it_has_ended() -> None:
    executor = Scripted(4)
    run(Tasks("tune1", "tune2", after={"tune2": ["final"]}), executor)
    assert [key for key, _ in executor.began] == ["tune1", "tune2", "final"]


def test_what_failed_or_was_lost_is_tried_again_as_often_as_asked() -> None:
    executor = Scripted(1, a=["lost", "failed", "failed"], b=["lost"])
    outcome = run(Tasks("a", "b"), executor, rules=Rules(retries=1))
    assert [key for key, _ in executor.began] == ["a", "b", "a", "b"]
    assert {key: ended.end for key, ended in outcome.ends.items()} == {"a": "failed", "b": "finished"}


def test_a_retry_continues_where_the_run_has_a_folder(tmp_path: Path) -> None:
    class Made(Tasks):
        def ready(self) -> Iterable[Task]:
            return [task(one.key, tmp_path) for one in super().ready()]

    executor = Scripted(1, a=["lost"])
    run(Made("a"), executor, rules=Rules(retries=1))
    assert executor.began == [("a", "start"), ("a", "resume")]


def test_a_failure_costs_its_run_alone_unless_asked() -> None:
    patient, strict = Scripted(1, a=["failed"]), Scripted(1, a=["failed"])
    assert list(run(Tasks("a", "b", "c"), patient).ends) == ["a", "b", "c"]
    outcome = run(Tasks("a", "b", "c"), strict, rules=Rules(fail_fast=True))
    assert list(outcome.ends) == ["a"]
    assert outcome.exit_code == 1
    assert strict.asked == [False]


def test_a_first_signal_asks_the_workers_once_and_begins_nothing_more() -> None:
    executor = Scripted(2)
    executor.on_wait = lambda: executor.asked or os.kill(os.getpid(), signal.SIGTERM)
    outcome = run(Tasks("a", "b", "c"), executor)
    assert executor.asked == [False]
    assert [key for key, _ in executor.began] == ["a", "b"]
    assert {key: ended.end for key, ended in outcome.ends.items()} == {"a": "finished", "b": "interrupted"}
    assert outcome.exit_code == 143


def test_a_second_signal_leaves_at_once_and_closes_the_executor() -> None:
    executor = Scripted(2)
    executor.on_wait = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        run(Tasks(*"abcdef"), executor)
    assert executor.closed
    assert executor.for_good


class Others:
    """Other processes: what a look at a run finds, one time after the other; at last, it is free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **found: list[int | Ended]) -> None:
        monkeypatch.setattr(running, "_LOOK_S", 0.0)
        self._found = found

    def __call__(self, task: Task) -> Task | Ended | int:
        found = self._found.get(task.key)
        return found.pop(0) if found else task


def test_a_run_of_another_process_is_waited_for_and_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Scripted(1)
    others = Others(monkeypatch, a=[7, 7, 7], c=[Ended("c", "finished", by_another=True)])
    outcome = run(Tasks("a", "b", "c", after={"c": ["after c"]}), executor, look=others)
    assert sorted(key for key, _ in executor.began) == ["a", "after c", "b"]
    assert {ended.end for ended in outcome.ends.values()} == {"finished"}
    assert outcome.ends.keys() == {"a", "b", "c", "after c"}


def test_a_run_that_was_taken_at_the_last_moment_is_waited_for_unless_it_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = Scripted(1, a=["elsewhere"], b=["elsewhere"])  # the holder of b is on another machine
    others = Others(monkeypatch, a=[cast(int, task("a")), 7, 7, 7])
    outcome = run(Tasks("a", "b"), executor, look=others)
    assert {key: ended.end for key, ended in outcome.ends.items()} == {"a": "finished", "b": "elsewhere"}


def test_a_signal_ends_the_waiting_for_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Scripted(1)
    executor.on_wait = lambda: os.kill(os.getpid(), signal.SIGINT)
    outcome = run(Tasks("a"), executor, look=Others(monkeypatch, a=[7] * 9))
    assert (outcome.ends, outcome.exit_code) == ({}, 130)


def test_the_minutes_of_a_budget_end_a_sweep() -> None:
    executor, clock = Scripted(1), iter(range(0, 1000, 60))
    outcome = run(Tasks("a", "b", "c", "d"), executor, rules=Rules(seconds=120), now=lambda: next(clock))
    assert list(outcome.ends) == ["a", "b"]
    assert outcome.stopped == "the 2 minutes of the budget are over"
    assert outcome.exit_code == 0
