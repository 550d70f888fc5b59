"""The serial executor: tasks in order, failures gathered, an interruption ends all; and terms that travel."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.blueprint import Blueprint, draw
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, Interrupted
from bnexp.session import life
from bnexp.session.display import display_for
from bnexp.session.executor import Complete, Task, run_all
from bnexp.session.terms import Terms, print_warning

MakeConfig = Callable[..., Config]


@pytest.fixture
def tasks(make_config: MakeConfig, tmp_path: Path) -> list[Task]:
    terms = Terms(runs_dir=tmp_path, data_dir=tmp_path, device="cpu", resume=True)
    return [(draw(make_config(name=name), tmp_path), terms) for name in ("first", "second", "third")]


def fail_at(name: str, error: BnexpError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run of this name fail."""
    start = life.start

    def failing(blueprint: Blueprint, terms: Terms) -> life.RunResult:
        if blueprint.config.name == name:
            raise error
        return start(blueprint, terms)

    monkeypatch.setattr(life, "start", failing)


def test_tasks_are_done_in_order_and_what_is_complete_is_not_done_again(tasks: list[Task]) -> None:
    failed: list[str] = []
    results = list(run_all(tasks[:2], failed.append))
    assert [result.folder.parent.name for result in results] == ["first", "second"]
    first, _, third = run_all(tasks, failed.append)
    assert first == Complete(results[0].folder, "finished")
    assert isinstance(third, life.RunResult)
    assert failed == []


def test_failures_are_gathered_after_all_had_their_turn(tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at("second", BnexpError("a full disk"), monkeypatch)
    failed: list[str] = []
    results = run_all(tasks, failed.append)
    assert [next(results).folder.parent.name for _ in range(2)] == ["first", "third"]
    assert failed == ["second: a full disk"]
    with pytest.raises(BnexpError, match=r"^1 of 3 runs failed:\nsecond: a full disk$"):
        next(results)


def test_the_failure_of_a_single_task_is_its_own_message(tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at("second", BnexpError("a full disk"), monkeypatch)
    failed: list[str] = []
    with pytest.raises(BnexpError, match=r"^a full disk$"):
        list(run_all(tasks[1:2], failed.append))
    assert failed == []


def test_an_interruption_ends_all(tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at("second", Interrupted("stopped", 143), monkeypatch)
    results = run_all(tasks, print_warning)
    next(results)
    with pytest.raises(Interrupted, match=r"^stopped\n1 more not begun: .*--resume") as error:
        next(results)
    assert error.value.exit_code == 143
    assert not (tmp_path / "third").exists()


def test_another_process_can_take_the_terms() -> None:
    terms = Terms(Path("runs"), Path("data"), "cuda:1", display_for, print_warning, ("bnexp", "train"), resume=True)
    assert pickle.loads(pickle.dumps(terms)) == terms  # noqa: S301  our own
    assert pickle.loads(pickle.dumps(Terms())) == Terms()  # noqa: S301
