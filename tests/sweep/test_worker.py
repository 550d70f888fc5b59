"""What a worker does with a task, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.blueprint import draw
from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.errors import BnexpError
from bnexp.option_values import read_stack
from bnexp.runs.claim import claim_exactly
from bnexp.runs.run import OUT_OF_MEMORY, read_run
from bnexp.session import life
from bnexp.session.display import Display
from bnexp.session.terms import Terms
from bnexp.sweep.work import Ended, Event, Task
from bnexp.training.clock import Clock

MakeConfig = Callable[..., Config]
CHOSEN = {"values": {"optimizer.lr": 0.1}, "candidates": 3, "seeds": 2}


class Fails(Display):
    """Fails after the first epoch."""

    def step(self, step: int, clock: Clock) -> None:
        if step == 7:
            raise BnexpError("a failure")


def test_a_run_of_the_same_arm_goes_on_and_is_lengthened_with_its_own_config(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    from bnexp.sweep.worker import attempt  # loads torch and its compiler

    folder = tmp_path / "small" / "seed0"
    with pytest.raises(BnexpError, match="a failure"):
        life.start(
            draw(make_config(), tmp_path),
            Terms(data_dir=tmp_path, device="cpu", role="tuning", chosen=CHOSEN, show=lambda name, plan: Fails()),
            folder,
        )
    told: list[Event] = []

    def done(mode: Any, **sections: Any) -> str:
        written = {"block": "linear -> bn -> act", "norm": None}
        config = make_config(model=written, probes={"gradients": {"every": 3}}, **sections)
        attempt([Task("small", draw(config, tmp_path), folder, mode, tmp_path, "cpu")], told.append)
        return told[-1].end

    assert done("resume") == "finished"
    run = read_run(folder)
    assert (run.role, run.config and run.config["model.norm"]) == ("tuning", "bn")
    assert done("lengthen", training={"epochs": 4}) == "finished"
    run = read_run(folder)
    assert (run.role, run.total_steps, run.former_ends, run.problems) == ("tuning", 24, (12,), ())
    assert (run.chosen, run.candidates) == ({"optimizer.lr": 0.1}, 3)


def test_a_run_that_was_killed_before_its_meta_json_gets_the_role_of_its_task(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    from bnexp.sweep.worker import attempt

    config, told = make_config(), list[Event]()
    folder = claim_exactly(tmp_path / "small" / "seed0", dump_config(config))
    task = Task("small", draw(config, tmp_path), folder, "resume", tmp_path, "cpu", role="tuning")
    attempt([task], told.append)
    assert told[-1].end == "finished"
    assert read_run(folder).role == "tuning"


@pytest.mark.parametrize(("stacked", "advice"), [(8, "--stack 4"), (3, "--stack off"), (2, "--stack off")])
def test_a_stack_that_needs_too_much_memory_is_told_what_needs_less(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stacked: int, advice: str
) -> None:
    """The advice is one that `--stack` takes: it refuses 1."""
    from bnexp.sweep import worker

    def fail(lives: list[Any], stop: Any, ended: Callable[[int, BnexpError], None], *others: Any) -> None:
        ended(0, BnexpError(f"{OUT_OF_MEMORY}: it does not fit"))

    monkeypatch.setattr(worker, "train_together", fail)
    told = list[Event]()
    worker.attempt([Task("small", draw(make_config(), tmp_path), tmp_path, data_dir=tmp_path)] * stacked, told.append)
    assert isinstance(told[-1], Ended)
    assert told[-1].error
    assert told[-1].error.endswith(f"{stacked} runs were stacked; fewer need less: {advice}")
    assert read_stack(advice.removeprefix("--stack ")) in (1, stacked // 2)


def test_bugs_of_several_stacked_runs_are_all_seen(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bnexp.sweep import worker

    common = RuntimeError("in the common step")

    def fail(lives: list[Any], stop: Any, ended: Callable[[int, Exception], None], *others: Any) -> None:
        for number, bug in enumerate([common, common, ValueError("in a row")]):
            ended(number, bug)

    monkeypatch.setattr(worker, "train_together", fail)
    blueprint = draw(make_config(), tmp_path)
    tasks = [Task(f"small/seed{seed}", blueprint, tmp_path, data_dir=tmp_path) for seed in range(3)]
    with pytest.raises(ExceptionGroup, match="2 errors in 3 stacked runs") as raised:
        worker.attempt(tasks, lambda event: None)
    assert [(str(bug), bug.__notes__) for bug in raised.value.exceptions] == [
        ("in the common step", ["in small/seed0", "in small/seed1"]),
        ("in a row", ["in small/seed2"]),
    ]
