"""A run survives what happens to it: a sample of what faults.py does at length."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("sees what a process does through /proc", allow_module_level=True)

import faults
import trials
from damage import damaged_runs
from effort import at_length
from endurance import held_steady
from full_disk import (
    folders_that_go,
    full_disk_from_the_start,
    full_disks,
    limited_files,
    read_only_disk,
    small_disk,
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    trials.start_server(*faults.MODULES)
    return trials.Trial(tmp_path_factory.mktemp("trial"))


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as place:
        if place is None:
            pytest.skip("a disk of its own can only be mounted by root")
        yield place


def test_a_run_survives_kill_9_at_any_moment(trial):
    kills = 20 if at_length() else 8
    assert faults.killed_at_random(trial, kills) >= kills


def test_a_run_survives_kill_9_before_any_call_that_changes_a_file(trial):
    faults.killed_between_calls(trial, 12 if at_length() else 5)


def test_a_run_survives_writes_of_which_only_a_part_comes_to_the_disk(trial):
    faults.torn_writes(trial, 16 if at_length() else 6)


def test_rows_are_on_the_disk_before_a_checkpoint_counts_on_them(trial):
    assert faults.rows_come_before_checkpoints(trial) == 5, "steps 0, 6 and 12, and the best of two evaluations"


def test_runs_that_start_together_do_not_meet(trial):
    faults.started_together(trial, 8)


def test_of_many_processes_that_continue_a_run_one_does(trial):
    faults.continued_together(trial, 8)
    faults.continued_together(trial, 4, 0.2)


def test_a_file_that_may_not_grow_ends_a_run_with_one_message(trial):
    limited_files(trial)


def test_a_folder_that_goes_ends_a_run_with_one_message(trial):
    folders_that_go(trial)


def test_a_full_disk_ends_a_run_with_one_message(trial, disk):
    full_disks(trial, disk, range(5, 8))
    full_disk_from_the_start(trial, disk)


def test_a_read_only_disk_ends_a_run_with_one_message(trial, disk):
    read_only_disk(trial, disk)


def test_a_damaged_run_ends_as_it_should_or_says_what_is_wrong(trial):
    damaged_runs(trial, files=30 if at_length() else 10, states=20 if at_length() else 8)


@pytest.mark.long
def test_a_long_run_holds_memory_and_files_steady(trial):
    held_steady(trial, 4_000)
