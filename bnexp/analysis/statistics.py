"""Judge paired differences: a t interval, an exact test by sign flips, Holm's correction, and the seeds still needed.

Pure functions of numbers; `docs/verdicts.md` explains the method, and `benchmarks/calibration.py` measures how often
it errs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from bnexp.document.table import sample_of

if TYPE_CHECKING:
    import numpy as np

Verdict = Literal["supported", "refuted", "undecided"]
CONFIDENCE = 0.95
ALPHA = 0.05
"""What a p, or the chance that an interval misses, is to lie below."""
LEAST_PAIRS = 3
"""Seeds that both arms have, below which nothing is decided."""
LEAST_IDENTICAL = 6
"""Pairs from which on differences that are all alike decide: 2 / 2**6 is the first sign-flip p below 0.05."""
POWER = 0.8
_MOST_SEEDS = 1000
_MOST_EXACT = 30
"""Pairs up to which all sign flips are counted; beyond, `_DRAWS` of them are drawn."""
_DRAWS = 99_990
_ALIKE = 1e-9
"""Spread of differences, relative to the largest, below which they are one number up to rounding."""
_TIE = 1e-12
_T_TABLE = (
    12.706204736174694,
    4.302652729749462,
    3.1824463052837078,
    2.7764451051977934,
    2.5705818356363146,
    2.4469118511449786,
    2.364624251592784,
    2.306004135204166,
    2.262157162798205,
    2.228138851986274,
    2.200985160091639,
    2.1788128296672284,
)
"""Student's t at 0.975, by degrees of freedom from 1, as scipy has it, which takes longer to load than to use."""


@dataclass(frozen=True)
class Interval:
    """A mean over n values, its t interval, and the sample standard deviation."""

    mean: float
    low: float
    high: float
    std: float
    n: int


@dataclass(frozen=True)
class Judgement:
    """What paired differences say about a claim; None stands for what too few of them do not give.

    Attributes:
        effect: the mean difference; positive where the claim is right.
        low, high: its interval.
        n: how many pairs.
        more_seeds: about how many more would decide; None where it is decided, or where no 1,000 would.
        why: the reason, a clause.
    """

    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    n: int
    more_seeds: int | None
    why: str


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution."""
    if probability == 0.5 + CONFIDENCE / 2 and 1 <= degrees <= len(_T_TABLE):
        return _T_TABLE[degrees - 1]
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


@cache
def _t_quantiles(probability: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return the quantiles of n - 1 degrees, by n up to `_MOST_SEEDS`; nan below 2."""
    import numpy as np
    from scipy.special import stdtrit

    return np.concatenate([[np.nan] * 2, stdtrit(np.arange(1, _MOST_SEEDS), probability)])


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return mean and t interval, mean ± t(1 - (1 - confidence) / 2, n - 1) std / sqrt(n); None for fewer than 2.

    Student 1908. It is exact for values of a normal distribution.
    """
    sample = sample_of(values)
    if sample is None or sample.std is None:
        return None
    half = t_quantile(0.5 + confidence / 2, sample.n - 1) * sample.std / math.sqrt(sample.n)
    return Interval(sample.mean, sample.mean - half, sample.mean + half, sample.std, sample.n)


def least_p(n: int) -> float:
    """Return the smallest p that the sign-flip test of n pairs can give: two of 2**n flips."""
    return min(1.0, 2.0 ** (1 - n))


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the sign-flip test: the share of the 2**n sign patterns with a mean as far from 0.

    Exact where the differences are symmetric about 0, as those of two equal arms are (Fisher 1935, section 21). Up to
    30 pairs every pattern counts; beyond, 99,990 drawn with a fixed seed do, and the one that was observed.
    """
    import numpy as np

    n, size = len(differences), np.abs(np.array(differences, dtype=np.float64))
    if n == 0 or not size.max() > 0:
        return 1.0
    size /= size.max()
    signs = np.sign(np.array(differences, dtype=np.float64))
    least = abs(math.fsum(size * signs)) - _TIE * n
    if n > _MOST_EXACT:
        generator = np.random.default_rng(0)
        drawn = (generator.integers(0, 2, (_DRAWS // 99, n)) for _ in range(99))
        far_out = sum(int((abs((2.0 * bits - 1.0) @ size) >= least).sum()) for bits in drawn)
        return (1 + far_out) / (1 + _DRAWS)
    first, second = (_signed_sums(list(part)) for part in (size[: n // 2], size[n // 2 :]))
    second.sort()
    far = np.searchsorted(second, -least - first, side="right") + len(second) - np.searchsorted(second, least - first)
    return min(1.0, float(far.sum()) / 2.0**n)


def _signed_sums(sizes: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return the sum of some numbers under each of the 2**k patterns of signs."""
    import numpy as np

    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for how many there are: the k-th smallest of m times m - k + 1, never below one before.

    Holm 1979. The chance of any false finding among those below alpha is alpha at most. None, of a claim that too few
    seeds judge, counts as one of the m, and stays None.
    """
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(ps) - rank)))
        corrected[place] = largest
    return corrected


def seeds_to_decide(effect: float, std: float, at_least: float, n: int, confidence: float = CONFIDENCE) -> int | None:
    """Return how many pairs beyond n decide with a chance of 80 %, if effect and scatter are what they look like.

    The mean of m pairs is taken as normal with deviation std / sqrt(m). It decides where it reaches both `at_least` and
    its half interval t std / sqrt(m), or falls short of `at_least` by that. None where 1,000 pairs are too few.
    """
    import numpy as np
    from scipy.special import ndtr

    first = max(n + 1, LEAST_PAIRS)
    if std == 0 or first > _MOST_SEEDS:
        return None
    pairs = np.arange(first, _MOST_SEEDS + 1)
    error = std / np.sqrt(pairs)
    half = _t_quantiles(0.5 + confidence / 2)[pairs] * error
    supported = ndtr((effect - np.maximum(at_least, half)) / error)
    refuted = ndtr((at_least - half - effect) / error)
    enough = np.flatnonzero(supported + refuted >= POWER)
    return int(pairs[enough[0]]) - n if len(enough) else None


def judge(differences: Sequence[float], at_least: float, confidence: float = CONFIDENCE) -> Judgement:
    """Judge whether an effect is at least as large as what matters.

    Supported where the interval lies above 0 and the mean reaches `at_least`; refuted where the interval lies below
    `at_least`; else undecided. So are fewer than 3 pairs, and fewer than 6 that are all alike: an interval of no width
    knows nothing of the scatter.

    Args:
        differences: one a pair, positive where the claim is right.
        at_least: the smallest effect that matters, 0 or more.
        confidence: of the interval.
    """
    n, interval = len(differences), mean_interval(differences, confidence)
    if interval is None:
        effect = differences[0] if n else None
        return Judgement("undecided", effect, None, None, n, LEAST_PAIRS - n, _too_few(n))
    alike = interval.std <= _ALIKE * max(map(abs, differences))
    more: int | None
    verdict: Verdict = "undecided"
    if n < LEAST_PAIRS:
        more = None if alike else seeds_to_decide(interval.mean, interval.std, at_least, n, confidence)
        more, why = more or LEAST_PAIRS - n, _too_few(n)
    elif alike and n < LEAST_IDENTICAL:
        more, why = LEAST_IDENTICAL - n, f"all {n} differences are alike, which tells nothing of their scatter"
    elif interval.low > 0 and interval.mean >= at_least:
        more, verdict, why = None, "supported", "the interval lies above 0, and the effect reaches at_least"
    elif interval.high < at_least:
        where = "below 0" if interval.high < 0 else "below at_least"
        more, verdict, why = None, "refuted", f"the interval lies {where}"
    else:
        more = seeds_to_decide(interval.mean, interval.std, at_least, n, confidence)
        why = _why_undecided(interval, at_least)
    return Judgement(verdict, interval.mean, interval.low, interval.high, n, more, why)


def _too_few(n: int) -> str:
    return f"{n or 'no'} seed{'s' * (n != 1)} that all its arms have, and fewer than {LEAST_PAIRS} decide nothing"


def _why_undecided(interval: Interval, at_least: float) -> str:
    if interval.low > 0:
        return "the interval lies above 0 and holds at_least, which the effect does not reach"
    return "the interval holds 0 and at_least" if at_least > 0 else "the interval holds 0"
