"""Intervals, tests and corrections agree with scipy and with what a hand computes; verdicts follow their rule."""

import itertools
import math
import random
from collections.abc import Sequence

import pytest

from bnexp.analysis.statistics import holm, judge, least_p, mean_interval, seeds_to_decide, sign_flip_p, t_quantile

VALUES = [0.012, 0.031, -0.004, 0.02, 0.017]


def drawn(n: int, seed: int, mean: float = 0.0) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(mean, 1.0) for _ in range(n)]


def by_hand(values: Sequence[float]) -> float:
    flips = list(itertools.product((-1, 1), repeat=len(values)))
    seen = abs(math.fsum(values))
    sums = [abs(math.fsum(sign * value for sign, value in zip(signs, values, strict=True))) for signs in flips]
    return sum(total >= seen * (1 - 1e-12) for total in sums) / len(flips)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("confidence", [0.95, 0.975])
def test_the_interval_is_that_of_scipy_and_of_a_hand(n: int, confidence: float) -> None:
    from scipy import stats

    values = drawn(n, n, 0.3)
    interval = mean_interval(values, confidence)
    assert interval is not None
    mean = sum(values) / n
    std = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = stats.t.ppf(0.5 + confidence / 2, n - 1) * std / math.sqrt(n)
    hand = (mean, mean - half, mean + half, std)
    assert (interval.mean, interval.low, interval.high, interval.std) == pytest.approx(hand, rel=1e-12, abs=1e-12)
    scipys = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (interval.low, interval.high) == pytest.approx((scipys.low, scipys.high), rel=1e-12, abs=1e-12)


def test_the_t_interval_of_two_values_has_a_closed_form() -> None:
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)  # of Cauchy's distribution
    assert mean_interval([1.0]) is None


def test_quantiles_are_those_of_scipy_whatever_the_confidence() -> None:
    from scipy.special import stdtrit

    for confidence, degrees in itertools.product((0.95, 0.9, 0.983), range(1, 40)):
        expected = float(stdtrit(degrees, 0.5 + confidence / 2))
        assert t_quantile(0.5 + confidence / 2, degrees) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("values", [VALUES, drawn(3, 1), drawn(7, 2, 0.5), [1.0, -1.0, 2.0, 2.0, 0.0], [0.0] * 4])
def test_sign_flips_are_counted_as_scipy_and_a_hand_count_them(values: list[float]) -> None:
    import numpy as np
    from scipy import stats

    assert sign_flip_p(values) == pytest.approx(by_hand(values), abs=1e-12)
    scipys = stats.permutation_test((np.array(values),), np.mean, permutation_type="samples", n_resamples=math.inf)
    assert sign_flip_p(values) == pytest.approx(scipys.pvalue, abs=1e-12)


def test_many_pairs_are_counted_exactly_too_and_very_many_drawn() -> None:
    import numpy as np

    values = drawn(13, 3, 0.4)
    signs = 1.0 - 2.0 * ((np.arange(2**13)[:, None] >> np.arange(13)) & 1)
    assert sign_flip_p(values) == pytest.approx((np.abs(signs @ values) >= abs(sum(values)) - 1e-9).mean(), abs=1e-12)
    assert sign_flip_p([1.0] * 30) == least_p(30)
    assert sign_flip_p([1.0] * 31) == 1 / 99_991
    assert [least_p(n) for n in (1, 3, 5)] == [1, 0.25, 0.0625]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.25, None]) == [0.5, None]  # the claim without p is one of the two all the same
    assert holm([]) == []


@pytest.mark.parametrize(
    ("differences", "at_least", "verdict"),
    [
        ([0.03, 0.04, 0.035], 0.02, "supported"),
        ([0.03, 0.04, 0.035], 0.0, "supported"),
        ([0.03, 0.04, 0.035], 0.036, "undecided"),  # above 0, short of at_least, which the interval holds
        ([0.03, 0.04, 0.035], 0.06, "refuted"),  # there is an effect, and it is smaller than what matters
        ([-0.03, -0.04, -0.035], 0.0, "refuted"),
        ([0.1, -0.1, 0.05], 0.02, "undecided"),
        ([0.03, 0.04], 0.02, "undecided"),
        ([0.03], 0.02, "undecided"),
        ([], 0.02, "undecided"),
        ([0.025] * 5, 0.02, "undecided"),
        ([0.8575 - 0.8325, 0.85 - 0.825, 0.9 - 0.875, 0.6 - 0.575], 0.02, "undecided"),  # alike but for rounding
        ([0.025] * 6, 0.02, "supported"),
        ([0.0] * 5, 0.02, "undecided"),
        ([0.0] * 6, 0.02, "refuted"),
        ([0.0] * 6, 0.0, "undecided"),
    ],
)
def test_a_verdict_is_what_its_rule_says(differences: list[float], at_least: float, verdict: str) -> None:
    found = judge(differences, at_least)
    assert found.verdict == verdict
    assert found.n == len(differences)
    assert (found.more_seeds is None) or verdict == "undecided"


def test_what_too_few_seeds_do_not_give_is_none() -> None:
    found = judge([0.03], 0.02)
    assert (found.effect, found.low, found.high, found.more_seeds) == (0.03, None, None, 2)
    assert judge([], 0.02).effect is None
    assert judge([0.025] * 4, 0.02).more_seeds == 2


def test_the_seeds_that_decide_do_so_in_four_of_five_studies() -> None:
    import numpy as np

    effect, std, at_least, n = 0.5, 1.0, 0.1, 5
    more = seeds_to_decide(effect, std, at_least, n)
    assert more is not None
    studies = np.random.default_rng(7).normal(effect, std, (600, n + more))
    share = np.mean([judge(list(study), at_least).verdict != "undecided" for study in studies])
    assert share == pytest.approx(0.8, abs=0.05)
    assert seeds_to_decide(0.5, 1.0, 0.5, 5) is None  # exactly what matters: no number of seeds tells


def test_pairing_finds_what_two_separate_means_do_not() -> None:
    from scipy import stats

    generator = random.Random(1)
    seeds = [generator.gauss(0.9, 0.03) for _ in range(6)]  # what both arms share: weights and batches
    a = [value + 0.02 + generator.gauss(0, 0.003) for value in seeds]
    b = [value + generator.gauss(0, 0.003) for value in seeds]
    assert judge([first - second for first, second in zip(a, b, strict=True)], 0.005).verdict == "supported"
    apart = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert apart.low < 0 < apart.high
