"""Histograms, counted and drawn: shares sum to 1, bars are as long as their shares, and lines fit."""

import itertools
import math
import re

import pytest
import torch

from bnexp.document.figure import Histogram, histogram
from bnexp.document.terminal_figure import figure_lines

_EIGHTHS = " ▏▎▍▌▋▊▉█"
EDGES = (-2, -1, 0, 1, 2)


def eighths(text: str) -> int:
    return sum(_EIGHTHS.index(letter) for letter in text if letter in _EIGHTHS[1:])


def drawn(picture: Histogram, width: int) -> list[str]:
    return [line.plain for line in figure_lines(picture, width)]


def test_shares_are_those_of_the_finite_values_and_sum_to_1() -> None:
    values = torch.tensor([-7.0, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2, 9, math.nan, math.inf, -math.inf])
    one = histogram("key", "title", EDGES, {"all": values, "row": values[:10].view(2, 5)})
    assert one.series["all"] == one.series["row"] == [0.3, 0.2, 0.2, 0.3]  # the ends take in what lies beyond
    drawn_at_random = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    shares = histogram("key", "title", EDGES, {"normal": drawn_at_random}).series["normal"]
    assert sum(shares) == pytest.approx(1)
    expected = torch.histc(drawn_at_random.clamp(-2, 1.999), bins=4, min=-2, max=2) / 1000
    assert shares == pytest.approx(expected.tolist())


@pytest.mark.parametrize("values", [torch.zeros(0), torch.tensor([math.nan, math.inf])])
def test_without_finite_values_all_shares_are_0_and_no_bar_is_drawn(values: torch.Tensor) -> None:
    one = histogram("key", "title", EDGES, {"none": values})
    assert one.series["none"] == [0, 0, 0, 0]
    lines = drawn(one, 60)
    assert not set("".join(lines)) & set(_EIGHTHS[1:])
    assert "".join(lines).count("0.0%") == 4


def test_a_constant_fills_one_bin() -> None:
    one = histogram("key", "title", EDGES, {"constant": torch.full((5,), 0.5)})
    assert one.series["constant"] == [0, 0, 1, 0]
    lines = drawn(one, 60)[1:]
    assert [eighths(line) > 0 for line in lines] == [False, False, True, False]


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_lines_fit_and_every_series_and_share_is_shown(width: int, count: int) -> None:
    series = {f"series {number}": [0.125, 0.5, 0.25, number / 100] for number in range(count)}
    lines = drawn(Histogram("key", "title", [-1000.5, -1, 0, 1, 1000.5], series), width)
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]
    text = "\n".join(lines)
    for number in range(count):
        assert f"series {number}" in text
        assert f" {number / 100:.1%}" in text
    for share in ("12.5%", "50.0%", "25.0%"):
        assert text.count(share) == count


@pytest.mark.parametrize("width", [40, 60, 100])
def test_bars_are_as_long_as_their_shares(width: int) -> None:
    shares = [0.1, 0.2, 0.4, 0.3]
    lines = drawn(Histogram("key", "title", EDGES, {"one": shares}), width)[1:]
    lengths = [eighths(line) for line in lines]
    longest = max(lengths)
    assert longest >= 8 * 5
    assert longest % 8 == 0
    for length, share in zip(lengths, shares, strict=True):
        assert abs(length - longest * share / max(shares)) <= 0.5 + 1e-9


def test_all_series_have_one_scale() -> None:
    lines = drawn(Histogram("key", "title", (0, 1, 2), {"a": [0.8, 0.2], "b": [0.4, 0.6]}), 100)[1:]
    found = [[eighths(part) for part in re.findall(r"[▏▎▍▌▋▊▉█]+", line)] for line in lines]
    (large, half), (quarter, _) = found
    assert half == pytest.approx(large / 2, abs=1)
    assert quarter == pytest.approx(large / 4, abs=1)


def test_labels_name_the_edges() -> None:
    lines = drawn(Histogram("key", "title", (-1, -0.25, 0, 12.5), {"a": [0.2, 0.3, 0.5]}), 60)[1:]
    for (low, high), line in zip(itertools.pairwise((-1, -0.25, 0, 12.5)), lines, strict=True):
        assert re.match(rf"\s*{low:g} \.\. {high:g}\s", line)
