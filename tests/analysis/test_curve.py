import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.analysis.curve import Scale, common_scale, mean_curve
from bnexp.runs.columns import Evaluation

accuracies = st.lists(st.none() | st.floats(0, 1), max_size=60)


def evaluations(*values: float | None) -> list[Evaluation]:
    return [Evaluation(step, float(step), None, value) for step, value in enumerate(values)]


def test_a_step_between_marks_is_a_factor_of_the_error() -> None:
    # From 0.128 down to 0.001 are seven halvings of the error, between eight marks.
    scale = Scale(low=1 - 0.128, high=1 - 0.001, per_mark=1)
    assert scale.factor == pytest.approx(2)
    assert scale.draw([1 - 0.128 / 2**step for step in range(8)]) == "▁▂▃▄▅▆▇█"
    assert scale.draw([1 - 0.128 / 2**step for step in (0.45, 0.55, 6.45, 6.55)]) == "▁▂▇█"


def test_errors_too_few_to_tell_apart_get_one_mark() -> None:
    scale = Scale(low=0.99995, high=1.0, per_mark=1)
    assert scale.factor == 1
    assert len(set(scale.draw([0.99995, 1.0]))) == 1


def test_the_mean_over_runs_leaves_out_what_is_not_finite() -> None:
    curve = mean_curve([evaluations(0.25, None, None), evaluations(0.75, 0.5, None)])
    assert curve == [0.5, 0.5, None]


def test_one_value_throughout_is_drawn_level() -> None:
    scale = common_scale([[0.5, 0.5]])
    assert scale is not None
    assert len(set(scale.draw([0.5, 0.5]))) == 1


def test_no_value_has_no_scale() -> None:
    assert common_scale([[], [None]]) is None
    assert common_scale([]) is None


@given(st.lists(accuracies, min_size=1, max_size=5))
def test_curves_are_short_and_rise_with_accuracy(curves: list[list[float | None]]) -> None:
    scale = common_scale(curves)
    if scale is None:
        assert all(value is None for curve in curves for value in curve)
        return
    for curve in curves:
        assert len(scale.draw(curve)) == -(-len(curve) // scale.per_mark) <= 16
    values = sorted(value for curve in curves for value in curve if value is not None)
    marks = [Scale(scale.low, scale.high, 1).draw([value]) for value in values]
    assert marks == sorted(marks)
