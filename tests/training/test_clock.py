"""The clock, with a hand that the test moves."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import cast

import pytest

from bnexp.config.plan import Plan
from bnexp.runs.rows import Writers
from bnexp.training.clock import Clock
from bnexp.training.log import StepLog
from bnexp.training.progress import Progress
from bnexp.training.state import refuse_other_form


class Hand:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_pace_counts_measuring_and_leaves_evaluation_out(hand: Hand) -> None:
    clock = Clock(hand)
    for _ in range(4):
        hand.time += 0.1
        clock.count(32)
    with clock.measuring():
        hand.time += 0.1
    with clock.evaluating():
        hand.time += 5.0
    pace = clock.pace()
    assert pace.step_ms == pytest.approx(100.0)
    assert pace.examples_per_s == pytest.approx(4 * 32 / 0.5)
    assert pace.measuring_share == pytest.approx(0.2)
    assert (clock.total_s, clock.training_s, clock.evaluation_s) == pytest.approx((5.5, 0.5, 5.0))


def test_a_row_that_takes_long_to_write_takes_nothing_from_the_next_step(hand: Hand) -> None:
    """The speed is read while the row is written: what comes after counts for the next one."""
    clock = Clock(hand)
    paces = []
    for _ in range(3):
        hand.time += 0.1
        clock.count(10)
        with clock.measuring():
            hand.time += 0.4
            paces.append(clock.pace())
            hand.time += 0.5
    assert [pace.step_ms for pace in paces] == pytest.approx([100.0] * 3)
    assert [pace.measuring_share for pace in paces] == pytest.approx([0.4 / 0.5, 0.9 / 1.0, 0.9 / 1.0])
    assert clock.measuring_s == pytest.approx(2.7)


def test_pace_starts_anew_after_each_reading(hand: Hand) -> None:
    clock = Clock(hand)
    hand.time += 3.0
    clock.count(1)
    clock.pace()
    hand.time += 0.5
    clock.count(10)
    pace = clock.pace()
    assert (pace.step_ms, pace.examples_per_s, pace.measuring_share) == pytest.approx((500.0, 20.0, 0.0))


def test_the_estimate_counts_evaluations_beside_steps(hand: Hand) -> None:
    clock = Clock(hand)
    hand.time += 10.0  # ten steps
    for _ in range(2):
        with clock.evaluating():
            hand.time += 3.0
    assert clock.remaining_s(steps_done=10, steps_left=5, evaluations_left=4) == pytest.approx(5 * 1.0 + 4 * 3.0)


def test_time_is_counted_also_when_the_work_fails(hand: Hand) -> None:
    clock = Clock(hand)

    def fail() -> None:
        with clock.measuring():
            hand.time += 1.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert clock.measuring_s == pytest.approx(1.0)


class MarksOf:
    """Marks points on the time of a device that is done with its work some seconds after it was asked."""

    def __init__(self, hand: Hand) -> None:
        self.hand, self.behind_s, self.read = hand, 0.0, 0

    def __call__(self) -> float:
        return self.hand.time + self.behind_s

    def seconds(self, earlier: float, later: float) -> float:
        self.read += 1
        return later - earlier


def test_measuring_is_timed_by_the_device_and_read_at_the_row(hand: Hand) -> None:
    """Asking takes no time here: the device takes 0.4 s for the step and 0.1 s for what is measured of it."""
    marks, waits = MarksOf(hand), list[float]()
    clock = Clock(hand, wait=lambda: waits.append(hand.time), marks=marks)  # type: ignore[arg-type]
    for _ in range(3):
        marks.behind_s += 0.4
        clock.count(10)
        with clock.measuring():
            marks.behind_s += 0.1
    assert (marks.read, waits) == (0, [])
    hand.time, marks.behind_s = hand.time + marks.behind_s, 0.0
    pace = clock.pace()
    assert (pace.step_ms, pace.measuring_share) == pytest.approx((400.0, 0.2))
    with clock.measuring():
        hand.time += 0.5
    assert clock.state_dict()["measuring_s"] == pytest.approx(0.8)
    clock.stop()
    assert clock.measuring_s == pytest.approx(0.8)
    assert marks.read == 4


def test_what_a_device_measures_while_untimed_counts_nowhere(hand: Hand) -> None:
    clock = Clock(hand, marks=MarksOf(hand))  # type: ignore[arg-type]
    for untimed in (False, True, False):
        with clock.untimed() if untimed else nullcontext():
            for quantity in (nullcontext, clock.measuring):
                with quantity():
                    hand.time += 1.0
            clock.count(10)
    pace = clock.pace()
    assert (pace.step_ms, pace.measuring_share) == pytest.approx((1000.0, 0.5))
    assert clock.measuring_s == pytest.approx(2.0)


def test_what_is_untimed_is_in_no_figure(hand: Hand) -> None:
    """Five steps of 0.1 s, two of them slowed down, with a row, an evaluation and a checkpoint among those."""
    clock = Clock(hand)
    for untimed in (False, True, False):
        with clock.untimed() if untimed else nullcontext():
            for _ in range(2):
                hand.time += 7.0 if untimed else 0.1
                clock.count(32)
            if untimed:
                with clock.measuring():
                    hand.time += 1.0
                    assert clock.figures() == {}
                with clock.evaluating(), clock.saving():
                    hand.time += 1.0
                kept = clock.state_dict()
                assert kept == {
                    **{"total_s": pytest.approx(0.2), "measuring_s": 0, "evaluation_s": 0, "evaluations": 0},
                    **{"checkpoint_s": 0, "examples": 2 * 32, "untimed_steps": 2},
                }
                assert (clock.total_s, clock.training_s) == pytest.approx((0.2, 0.2))
                assert clock.remaining_s(steps_done=4, steps_left=10, evaluations_left=0) == pytest.approx(10 * 0.1)
    hand.time += 0.1
    clock.count(32)
    pace = clock.pace()
    assert (pace.step_ms, pace.measuring_share) == pytest.approx((100.0, 0.0))
    assert (clock.total_s, clock.examples, clock.untimed_steps) == (pytest.approx(0.5), 5 * 32, 2)
    assert (clock.evaluation_s, clock.evaluations, clock.measuring_s) == (0, 0, 0)
    assert clock.remaining_s(steps_done=7, steps_left=10, evaluations_left=0) == pytest.approx(10 * 0.1)
    resumed = Clock(hand)
    resumed.load_state_dict(clock.state_dict())
    assert resumed.untimed_steps == 2
    for clock in (resumed, Clock(hand)):
        progress = Progress(StepLog(cast(Plan, SimpleNamespace(steps_per_epoch=3)), Writers([]), clock), clock)
        for stored in (resumed, Clock(hand)):
            refuse_other_form(stored.state_dict(), progress.state_form()["clock"])
