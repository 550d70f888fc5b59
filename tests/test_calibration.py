"""Verdicts err no more often than they say: the short form of benchmarks/calibration.py."""

from benchmarks.calibration import Cell, measure


def test_verdicts_on_simulated_studies_meet_their_bars() -> None:
    independent = (("normal", 0, 3), ("heavy", 0, 5), ("tied", 0, 5), ("diverged", 0, 3))
    for shape, shared, n in (*independent, ("normal", 0.8, 5), ("skewed", 0.8, 5)):
        cell = measure(shape, shared, n, studies=300)
        assert not list(cell.misses())
        assert cell.equal > 0  # a judge that says nothing would meet the other bars


def test_a_judge_that_errs_would_miss_them() -> None:
    cell = Cell("normal", 0.0, 5, equal=0.06, refuted=0.0, found=0.7, coverage=0.9)
    assert len(list(cell.misses())) == 3
