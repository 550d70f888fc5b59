"""The serial executor: tasks in order, failures gathered, an interruption ends all; and terms that travel."""

import gc
import pickle
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import Blueprint, draw
from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, Interrupted
from bnexp.runs.claim import claim_run_folder
from bnexp.runs.folder import CHECKPOINTS, META, SUMMARY, write_json
from bnexp.runs.run import COMPLETE
from bnexp.session import executor, life
from bnexp.session.display import display_for
from bnexp.session.executor import Complete, Task, run_all, run_task
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


@pytest.fixture
def begun(make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path | Complete]:
    """Return a function that does a task; a run that begins has its end at once, of the status that is asked for."""

    def start(blueprint: Blueprint, terms: Terms) -> Path:
        config = blueprint.config
        folder = claim_run_folder(terms.runs_dir, config.name, config.seed, dump_config(config))
        write_json(folder / META, {"status": status[0], "seed": config.seed, "name": config.name})
        if status[0] in COMPLETE:
            write_json(folder / SUMMARY, {"status": status[0], "final": {"accuracy": 0.5}})
        else:
            (folder / CHECKPOINTS).mkdir()
            (folder / CHECKPOINTS / "step4.pt").touch()
        return folder

    def do(changes: dict[str, object] | None = None, *, ends: str = "finished", **terms: Any) -> Path | Complete:
        status[0] = ends
        blueprint = draw(make_config(**(changes or {})), tmp_path)
        return run_task(blueprint, Terms(runs_dir=tmp_path, data_dir=tmp_path, **terms))  # type: ignore[return-value]

    status = [""]
    monkeypatch.setattr(life, "start", start)
    return do


def test_what_is_done_is_told_by_config_seed_and_name(begun: Callable[..., Path | Complete], tmp_path: Path) -> None:
    folder = tmp_path / "small" / "seed0"
    assert begun() == folder
    for same in (
        {},
        {"checkpoints": {"every_epochs": 5}},
        {"data": {"eval_batch_size": 3}},
    ):  # of which no figure moves
        assert begun(same) == Complete(folder, "finished")
    assert begun({"seed": 1}) == tmp_path / "small" / "seed1"
    assert begun({"name": "other"}) == tmp_path / "other" / "seed0"
    others = ({"model": {"norm": "ln"}}, {"probes": {"gradients": {"every": 7}}}, {"training": {"epochs": 1}})
    for number, other in enumerate(others, start=2):
        assert begun(other) == tmp_path / "small" / f"seed0-{number}"
        assert begun(other) == Complete(tmp_path / "small" / f"seed0-{number}", "finished")
    assert begun(again=True) == tmp_path / "small" / "seed0-5"
    assert begun() == Complete(tmp_path / "small" / "seed0-5", "finished"), "the newest"


def test_a_divergence_is_an_end_and_an_interruption_is_none(
    begun: Callable[..., Path | Complete], tmp_path: Path
) -> None:
    told: list[str] = []
    folder = tmp_path / "small" / "seed0"
    assert begun(ends="interrupted") == folder
    assert begun(ends="failed", note=told.append) == tmp_path / "small" / "seed0-2"
    assert begun(ends="diverged", again=True, note=told.append) == tmp_path / "small" / "seed0-3"
    assert told == [
        f"a new run begins beside {folder}, which is interrupted: it can be resumed after step 4: bnexp resume {folder}"
    ]
    assert begun(note=told.append) == Complete(tmp_path / "small" / "seed0-3", "diverged")
    assert len(told) == 1


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


class Node:
    itself: object = None


def test_what_was_loaded_is_not_looked_through_at_once_and_garbage_is_still_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)  # what runs the tests has frozen some
    lost = weakref.ref(lone := Node())
    usual = gc.get_threshold()
    gc.set_threshold(0)  # which leaves where it is what was made since
    try:
        with executor._no_collections():
            lone.itself = lone
            del lone
            monkeypatch.setitem(sys.modules, "bnexp_loaded", sys)
            loaded = [[number] for number in range(2_000)]
        assert gc.isenabled()
        assert not any(one is loaded for one in gc.get_objects(generation=0))
    finally:
        gc.set_threshold(*usual)
    gc.collect()
    assert lost() is None


def test_garbage_of_an_earlier_run_stays_among_what_is_looked_through_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    lost = weakref.ref(lone := Node())
    lone.itself = lone
    del lone
    with executor._no_collections():
        pass
    gc.collect(1)
    assert lost() is None


def test_what_others_have_frozen_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    with executor._no_collections():
        monkeypatch.setitem(sys.modules, "bnexp_loaded", sys)
    assert gc.get_freeze_count() == before > 0
