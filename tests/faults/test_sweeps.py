"""A sweep survives what happens to it: what is left is, bit for bit, what an undisturbed one leaves."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("sees what a process does through /proc", allow_module_level=True)

import trials
from effort import at_length
from sweeps import SweepTrial, interrupted, killed_around_a_checkpoint, killed_at_random


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    trials.start_server("bnexp.sweep.worker", "sabotage", "sweeps")
    return SweepTrial(tmp_path_factory.mktemp("sweep"))


def test_a_sweep_survives_kill_9_of_a_worker_of_itself_and_of_everything(trial):
    killed_at_random(trial, 6 if at_length() else 3)


def test_a_sweep_survives_kill_9_around_a_checkpoint(trial):
    killed_around_a_checkpoint(trial, 4 if at_length() else 2)


def test_ctrl_c_stops_all_workers_and_the_same_command_continues(trial):
    ended = interrupted(trial)
    assert ended.code == 130
    assert "the same command" in ended.error


def test_what_a_sweep_leaves_does_not_depend_on_its_workers(trial, tmp_path_factory):
    more = SweepTrial(tmp_path_factory.mktemp("more"), workers=4)  # with one thread each, as two on two cores have
    assert {name.split("/", 1)[1]: left for name, left in more.whole.items()} == {
        name.split("/", 1)[1]: left for name, left in trial.whole.items()
    }
