"""The choice among candidates: by the mean on validation, a diverged seed is worst, and an end of the list is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.runs.run import Run
from bnexp.sweep.arms import Arm
from bnexp.sweep.plan import Planner
from bnexp.sweep.tuning import Choice, choose
from planned_runs import store

TUNE = {"optimizer.lr": [0.01, 0.1, 1]}


@pytest.fixture
def choice_of(planner_of: Callable[..., Planner]) -> Callable[..., Choice | None]:
    """Return a function from the validation accuracies of each candidate's two seeds to the choice; None diverged."""

    def make(*accuracies: tuple[float | None, float | None], **keys: Any) -> Choice | None:
        planner = planner_of(axes={"model.norm": ["bn"]}, tune=TUNE, tune_seeds=2, **keys)
        plan = planner.plan()
        for run in plan.tuning:
            reached = accuracies[["lr=0.01", "lr=0.1", "lr=1"].index(run.arm_name.split(",")[1])][run.seed - 10000]
            store(
                run,
                "finished" if reached is not None else "diverged",
                reached or 0.0,
                test={"final": 1 - (reached or 0)},
            )
        return planner.choose(plan.runs[0].arm, planner.plan().tuning)

    return make


def test_the_best_mean_is_chosen(choice_of: Callable[..., Choice]) -> None:
    choice = choice_of((0.5, 0.6), (0.9, 0.7), (0.85, 0.65))
    assert choice.arm.config.optimizer.lr == 0.1
    assert choice.arm.name == choice.arm.config.name == "norm=bn"
    assert choice.arm.chosen == {"values": {"optimizer.lr": 0.1}, "candidates": 3, "seeds": 2}
    assert [score.accuracy for score in choice.scores] == pytest.approx([0.55, 0.8, 0.75])
    assert choice.text == ("norm=bn: optimizer.lr 0.1 is the best of 3 candidates on 2 seeds each, validation 80.00%")


def test_a_diverged_seed_is_worse_than_any_accuracy(choice_of: Callable[..., Choice]) -> None:
    assert choice_of((0.2, 0.2), (0.9, None), (None, None)).arm.config.optimizer.lr == 0.01


def test_the_end_of_a_list_is_said_aloud(choice_of: Callable[..., Choice]) -> None:
    assert (
        "it is the largest optimizer.lr tried, and a better one may lie beyond"
        in choice_of((0.1, 0.1), (0.2, 0.2), (0.3, 0.3)).text
    )


def test_of_equals_the_first_is_chosen_and_all_diverged_is_said(choice_of: Callable[..., Choice]) -> None:
    choice = choice_of((None, None), (None, None), (None, None))
    assert choice.arm.config.optimizer.lr == 0.01
    assert "diverged" in choice.text


def test_nothing_is_chosen_before_all_have_ended() -> None:
    def run(status: str) -> Run:
        return Run(Path("x"), "x", 0, 1, {}, status, figures={"val_accuracy": 0.5})

    candidates = tuple(Arm(name, {"optimizer.lr": lr}, None) for name, lr in (("a", 0.1), ("b", 1.0)))  # type: ignore[arg-type]
    arm = Arm("arm", {}, None, (), candidates)  # type: ignore[arg-type]
    assert choose(arm, ["optimizer.lr"], {"a": [run("finished")], "b": [run("interrupted")]}) is None
