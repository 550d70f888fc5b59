"""Steps taken ahead are, bit for bit and row for row, those that the guard watches one at a time."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.schema import Config
from bnexp.training import ahead
from bnexp.training.ahead import OneByOne
from left_behind import LENGTH, NO_PROBES, STEPS, Change, Trained, built, non_finite

MakeConfig = Callable[..., Config]


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stretches end where the config ends them, not the clock."""
    monkeypatch.setattr(ahead, "LONGEST_S", math.inf)


def unwatched(config: Config, *changes: Change, state: Any = None, stop_at: int = 0) -> Trained:
    run = built(config, *changes)
    return Trained(run, OneByOne(run), state, stop_at)


def both(config: Config) -> tuple[Trained, Trained]:
    watched, unseen = Trained(built(config)), unwatched(config)
    assert not watched.stretches
    assert unseen.stretches
    assert unseen.left() == watched.left()
    return watched, unseen


@pytest.mark.parametrize("policy", ["stop", "skip_step", "continue"])
@pytest.mark.parametrize("kind", STEPS)
def test_steps_taken_ahead_leave_what_watched_ones_leave(make_config: MakeConfig, kind: str, policy: str) -> None:
    training = {**LENGTH, **STEPS[kind].get("training", {}), "on_divergence": policy}
    config = make_config(**{**STEPS[kind], "training": training, "probes": NO_PROBES})
    _, unseen = both(config)
    if kind == "momentum":
        assert unseen.stretches == [(2, 5), (6, 6), (7, 9), (10, 10), (11, 12), (13, 15), (16, 18), (19, 20)]
        assert unseen.shown == [1, 5, 6, 9, 10, 12, 15, 18, 20]
    if kind == "scaled":
        assert unseen.run.train_step.scaler.scales


def test_steps_that_a_probe_looks_at_are_watched(make_config: MakeConfig) -> None:
    probes = {**NO_PROBES, "gradients": {"every": 4}, "updates": {"at": [11, 12]}}
    _, unseen = both(make_config(training=LENGTH, probes=probes))
    assert not {1, 4, 8, 11, 12, 16, 20} & {step for first, last in unseen.stretches for step in range(first, last + 1)}
    assert unseen.stretches[:3] == [(2, 3), (5, 5), (6, 6)]
    assert sum(last - first + 1 for first, last in unseen.stretches) == 13


@pytest.mark.parametrize("policy", ["stop", "skip_step", "continue"])
@pytest.mark.parametrize("where", ["input", "statistics", "gradient"])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 9, 20], ids="at step {}".format)
def test_a_step_that_is_not_finite_is_found_and_treated_as_if_watched(
    make_config: MakeConfig, step: int, where: str, policy: str
) -> None:
    """The first of a session; first, middle and last of a stretch; with an evaluation; the last of all."""
    config = make_config(training={**LENGTH, "on_divergence": policy, "ema": 0.9}, probes=NO_PROBES)
    fault = non_finite(where, step)
    watched, unseen = Trained(built(config, fault)), unwatched(config, fault)
    assert unseen.left() == watched.left()
    progress = unseen.progress
    if (where, policy) != ("gradient", "stop") or step < 20:
        assert progress.divergence is not None
    if policy == "skip_step":
        assert (progress.skipped, progress.steps, progress.ended) == (1, 20, False)
    if policy == "continue" and where == "input":
        assert all(last < step or first <= step for first, last in unseen.stretches), "watched from there on"
    if policy == "stop" and where != "gradient":
        assert (progress.steps, progress.ended) == (step - 1, True)
