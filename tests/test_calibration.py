"""Verdicts err no more often than they say: the short form of benchmarks/calibration.py."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "calibration.py"


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "calibration", module)
    spec.loader.exec_module(module)
    return module


def test_verdicts_on_simulated_studies_meet_their_bars(calibration: ModuleType) -> None:
    independent = (("normal", 0, 3), ("heavy", 0, 5), ("tied", 0, 5), ("diverged", 0, 3))
    for shape, shared, n in (*independent, ("normal", 0.8, 5), ("skewed", 0.8, 5)):
        cell = calibration.measure(shape, shared, n, studies=300)
        assert not list(cell.misses())
        assert cell.equal > 0  # a judge that says nothing would meet the other bars


def test_a_judge_that_errs_would_miss_them(calibration: ModuleType) -> None:
    cell = calibration.Cell("normal", 0.0, 5, equal=0.06, refuted=0.0, found=0.7, coverage=0.9)
    assert len(list(cell.misses())) == 3
