"""Curves and clouds drawn with letters: points lie in the right places, and lines fit."""

import itertools
import math

import pytest

from bnexp.document.figure import Lines, Scatter
from bnexp.document.terminal_figure import figure_lines

MARKS = "o+x*"
POINTS = "·•●"


def plot(picture: Lines, width: int = 100) -> list[str]:
    """Return the ten lines right of the axis."""
    lines = [line.plain for line in figure_lines(picture, width)]
    return [line.partition("│")[2] for line in lines[:10]]


def places(rows: list[str], letters: str) -> list[tuple[int, int]]:
    return [(row, column) for row, line in enumerate(rows) for column, letter in enumerate(line) if letter in letters]


def panel(cloud: list[tuple[float, float]]) -> list[str]:
    return [line.plain for line in figure_lines(Scatter("key", "title", {"cloud": cloud}), 60)][1:-1]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_straight_line_goes_from_corner_to_corner(width: int) -> None:
    x = list(range(0, 10))
    rows = plot(Lines("key", "title", "x", x, {"up": [2.0 * one for one in x]}), width)
    found = sorted(places(rows, MARKS), key=lambda place: place[1])
    assert [row for row, _ in found] == list(range(9, -1, -1))
    columns = [column for _, column in found]
    gaps = {later - earlier for earlier, later in itertools.pairwise(columns)}
    assert columns[0] == 0
    assert max(gaps) - min(gaps) <= 1
    assert columns[-1] == max(columns) >= 25


def test_points_lie_where_x_says_not_where_they_come_in_order() -> None:
    rows = plot(Lines("key", "title", "x", [0, 1, 10], {"a": [0.0, 0, 0]}))
    first, second, last = (column for _, column in places(rows, MARKS))
    assert (second - first) / (last - first) == pytest.approx(0.1, abs=0.01)


def test_a_constant_series_is_one_level_line() -> None:
    rows = plot(Lines("key", "title", "x", [0, 1, 2, 3], {"same": [5.0] * 4}))
    assert len(places(rows, MARKS)) == 4
    assert len({row for row, _ in places(rows, MARKS)}) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_left_out(bad: float) -> None:
    rows = plot(Lines("key", "title", "x", [0, 1, 2, 3], {"a": [0.0, bad, 2, 3]}))
    assert len(places(rows, MARKS)) == 3
    assert {row for row, _ in places(rows, MARKS)} == {0, 3, 9}
    assert places(plot(Lines("key", "title", "x", [0, 1], {"a": [bad, bad]})), MARKS) == []


def test_one_point_and_no_series_are_drawn() -> None:
    assert places(plot(Lines("key", "title", "x", [7], {"a": [1.5]})), MARKS) != []
    assert places(plot(Lines("key", "title", "x", [0, 1], {})), MARKS) == []


def test_ends_of_both_axes_are_named_and_every_series_is() -> None:
    series = {f"series {number}": [0.25 * number, 7.5] for number in range(6)}
    lines = [line.plain for line in figure_lines(Lines("key", "title", "epoch", [3, 40], series), 100)]
    assert lines[0].strip().startswith("7.5000")
    assert lines[9].strip().startswith("0.0000")
    assert lines[11].split() == ["3", "epoch", "40"]
    assert all(name in "\n".join(lines[12:]) for name in series)


def test_every_series_has_a_mark_of_its_own() -> None:
    series = {f"s{number}": [float(number)] * 3 for number in range(6)}
    lines = [line.plain for line in figure_lines(Lines("key", "title", "x", [0, 1, 2], series), 100)]
    marks = {line.partition("│")[2][:1] for line in lines[:10]} - {" ", ""}
    assert len(marks) == 6


@pytest.mark.parametrize("width", [40, 60, 100])
def test_plots_fit(width: int) -> None:
    series = {f"a series of some length {number}": [1e12, -1e-12, 3] for number in range(4)}
    name = "steps of training since the beginning of it all"
    lines = [line.plain for line in figure_lines(Lines("key", "title", name, [0, 1, 123456], series), width)]
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]
    clouds = {f"cloud {number} of a long name": [(1e12, 1e-3), (-5e11, 2)] for number in range(3)}
    lines = [line.plain for line in figure_lines(Scatter("key", "title", clouds), width)]
    assert max(map(len, lines)) <= width
    assert all(f"cloud {number}" in "\n".join(lines) for number in range(3))
    assert not [line for line in lines if line != line.rstrip()]


def test_points_lie_in_their_quarter() -> None:
    rows = panel([(1, 1)])
    assert [(row < 6, column > 13) for row, column in places(rows, POINTS)] == [(True, True)]
    rows = panel([(-1, -1)])
    assert [(row > 6, column < 13) for row, column in places(rows, POINTS)] == [(True, True)]
    rows = panel([(2, -1), (-2, 1)])
    ((upper, left), (lower, right)) = places(rows, POINTS)
    assert upper + lower == 12
    assert left + right == pytest.approx(26, abs=1)


def test_the_origin_lies_on_the_crossing_and_more_points_are_drawn_bolder() -> None:
    assert places(panel([(0, 0), (1, 1)]), POINTS)[1] == (6, 13)
    for count, letter in ((1, "·"), (2, "•"), (3, "•"), (4, "●"), (50, "●")):
        rows = panel([(1.0, 1.0)] * count)
        assert [rows[row][column] for row, column in places(rows, POINTS)] == [letter]


def test_both_axes_have_one_scale_so_that_a_circle_is_round() -> None:
    circle = [(math.cos(angle / 50), math.sin(angle / 50)) for angle in range(315)]
    found = places(panel(circle), POINTS)
    height = max(row for row, _ in found) - min(row for row, _ in found)
    width = max(column for _, column in found) - min(column for _, column in found)
    assert (height, width) == (12, pytest.approx(24, abs=1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_points_that_are_not_finite_are_left_out(bad: float) -> None:
    assert places(panel([(bad, 1), (1, bad), (1, 1)]), POINTS) == places(panel([(1, 1)]), POINTS)
    assert places(panel([(bad, bad)]), POINTS) == []
    assert places(panel([]), POINTS) == []


def test_panels_stay_side_by_side_whatever_their_reach() -> None:
    clouds = {"small": [(0.001, 0.0012)], "large": [(-123456.0, 5)], "none": []}
    lines = [line.plain for line in figure_lines(Scatter("key", "title", clouds), 100)]
    starts = [lines[0].index(name) for name in clouds]
    assert [lines[-1].index("each axis", start) for start in starts] == starts
