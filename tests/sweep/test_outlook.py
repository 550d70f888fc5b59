"""What is told of a sweep counts every run once, whatever has become of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from bnexp.runs.folder import Status
from bnexp.runs.run import DAMAGED, DEAD, UNKNOWN
from bnexp.sweep.estimate import Division
from bnexp.sweep.outlook import record_of, spans, table_of, time_left, total
from bnexp.sweep.plan import MISSING, SHORTER, SweepPlan

STATUSES = (*get_args(Status), UNKNOWN, DAMAGED, DEAD, MISSING, SHORTER)


def test_each_status_is_told(plan_of: Callable[..., SweepPlan]) -> None:
    plan = plan_of(seeds=len(STATUSES))
    runs = tuple(replace(run, status=status) for run, status in zip(plan.runs, STATUSES, strict=True))
    plan = replace(plan, runs=runs)
    (row,) = table_of(plan).rows
    told = dict(one.split(" ")[::-1] for one in total(plan).partition(": ")[2].split(", "))
    assert told == dict.fromkeys(STATUSES, "1")
    assert [row[status].value for status in STATUSES] == [1] * len(STATUSES)
    assert row["left"].value == len(plan.to_do) == len(STATUSES) - 3  # finished, diverged, and running elsewhere
    assert {run["status"] for run in record_of("study", plan, None)["runs"]} == set(STATUSES)


def test_what_is_left_is_said_with_its_time(plan_of: Callable[..., SweepPlan]) -> None:
    plan = plan_of()
    said = time_left(plan, Division(2, 1), 90.0)
    assert said == "2 runs to do, 2 runs at a time, 1 thread each: about 1:30"
    assert time_left(replace(plan, runs=()), Division(2, 1), 0.0) == "nothing is left to do"


def test_seeds_are_written_as_spans() -> None:
    assert spans([5, 0, 2, 1]) == "0-2, 5"
