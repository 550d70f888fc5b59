"""The division of the machine is the fastest that was measured, and an estimate adds up what was measured."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.blueprint import Blueprint, draw
from bnexp.config.schema import Config
from bnexp.processes import usable_cores
from bnexp.sweep.estimate import Division, divide, division_of, estimate, measure, seconds_of
from bnexp.sweep.plan import PlannedRun
from bnexp.sweep.work import Ended, Event, Measured, Task


class Timed:
    """An executor whose measurements take what a function of workers and threads says."""

    def __init__(self, step_s: Callable[[int, int], float], fails: bool = False) -> None:
        self.slots, self._step_s, self._fails = 1, step_s, fails
        self._began: list[Task] = []
        self.tried: list[tuple[int, int]] = []

    def start(self, task: Task) -> None:
        assert task.mode == "measure"
        self._began.append(task)

    def wait(self, timeout_s: float) -> list[Event]:
        began, self._began = self._began, []
        threads = began[0].threads or 0
        self.tried.append((len(began), threads))
        if self._fails:
            return [Ended(task.key, "failed", "no dataset") for task in began]
        step_s = self._step_s(len(began), threads)
        return [
            event
            for task in began
            for event in (Measured(task.key, 0.5, step_s, 2 * step_s), Ended(task.key, "finished"))
        ]

    def stop(self, *, at_once: bool = False) -> None: ...
    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def blueprint(make_config: Callable[..., Config], tmp_path: Path) -> Blueprint:
    return draw(make_config(training={"epochs": 200}), tmp_path)


@pytest.fixture
def task(blueprint: Blueprint) -> Task:
    return Task("one", blueprint, Path("nowhere"))


def test_small_networks_get_a_worker_a_core(task: Task) -> None:
    executor = Timed(lambda workers, threads: 0.1)  # threads do not help
    assert divide(executor, task, runs=60, cores=8) == Division(8, 1)
    assert executor.tried == [(8, 1), (4, 2), (2, 4), (1, 8)]


def test_large_networks_get_threads(task: Task) -> None:
    executor = Timed(lambda workers, threads: 0.1 * workers / threads**0.1)  # what they share is the memory's width
    assert divide(executor, task, runs=60, cores=8) == Division(1, 8)


def test_a_short_sweep_is_not_measured_further(task: Task) -> None:
    executor = Timed(lambda workers, threads: 1e-6)
    assert divide(executor, task, runs=4, cores=4) == Division(4, 1)
    assert executor.tried == [(4, 1)]


def test_there_are_no_more_workers_than_runs(task: Task) -> None:
    assert divide(Timed(lambda workers, threads: 0.1), task, runs=2, cores=8) == Division(2, 4)


def test_what_cannot_be_measured_is_divided_by_cores(task: Task) -> None:
    assert divide(Timed(lambda workers, threads: 0.1, fails=True), task, runs=3, cores=2) == Division(2, 1)
    assert measure(Timed(lambda workers, threads: 0.1, fails=True), [task]) == {}


def test_an_estimate_is_the_work_of_all_runs_over_the_workers(blueprint: Blueprint, task: Task) -> None:
    class _Arm:
        name = "arm"

    runs = [
        PlannedRun(_Arm(), "arm", seed, Path("x"), f"arm/seed{seed}", "missing", blueprint)  # type: ignore[arg-type]
        for seed in range(5)
    ]
    executor = Timed(lambda workers, threads: 0.01)
    plan = blueprint.plan
    alone = 0.5 + 0.01 * plan.total_steps + 0.02 * (200 + 2)  # every epoch is evaluated, and the test set twice
    assert seconds_of(task, Measured("one", 0.5, 0.01, 0.02)) == pytest.approx(alone)
    assert estimate(executor, runs, Division(2, 1), lambda run: task) == pytest.approx(5 * alone / 2)
    assert executor.tried == [(1, 1)]
    assert estimate(executor, runs[:1], Division(2, 1), lambda run: task) == pytest.approx(alone)
    assert estimate(Timed(lambda *_: 0.1, fails=True), runs, Division(2, 1), lambda run: task) is None


def test_a_variable_limits_the_threads(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    executor = Timed(lambda workers, threads: 0.1 * workers / threads)
    divide(executor, task, runs=60, cores=8)
    assert executor.tried == [(8, 1), (4, 2), (2, 2), (1, 2)]


def test_a_sweep_keeps_the_threads_that_it_began_with(task: Task, tmp_path: Path) -> None:
    executor = Timed(lambda workers, threads: 0.1 * workers / threads)
    began = division_of(tmp_path, None, executor, task, 60)
    assert began == Division(1, usable_cores())
    assert division_of(tmp_path, 4, executor, task, 60) == Division(4, began.threads)
    assert division_of(None, 2 * usable_cores(), executor, task, 60) == Division(2 * usable_cores(), 1)
