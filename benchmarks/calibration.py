"""Measures how often verdicts err: 2,000 simulated studies a cell, judged as `bnexp verdict` judges real ones.

Each study has two arms and n seeds. Outcomes of a run have deviation 1 and one of these shapes:

    normal      the normal distribution
    skewed      an exponential tail to the bad side
    heavy       Student's t with 3 degrees of freedom
    tied        normal, rounded to whole deviations, as accuracies on few examples are
    diverged    normal, but 15 % of the runs diverge, and count as 40 deviations below the mean

and two that are no bars, but show where the method ends, since the differences are skewed themselves:

    one skewed    skewed in one arm, normal in the other
    one diverges  15 % of the runs diverge in the second arm alone, the means being as in all other shapes

Runs are independent, or seeds carry 80 % of the variance to both arms. Asked is in each cell

    equal       how often two equal arms are called supported, with at_least 0, which is the hardest       at most 5 %
    at_least    how often an effect of exactly at_least is called refuted                                  at most 5 %
    2 sd        how often an effect of 2 deviations of the difference is supported, at_least being 1
                                                                         at least 80 % with 5 seeds that do not diverge
    coverage    how often the interval holds the true effect                                  93 to 97 %, where normal

The table is that of docs/verdicts.md; below it stand the bars that are missed.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from math import sqrt

import numpy as np
from scipy.special import ndtri

from benchmarks.report import Report, Terms
from bnexp.analysis.statistics import judge

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
SHAPES = ("normal", "skewed", "heavy", "tied", "diverged", "one skewed", "one diverges")
SIZES = (3, 5, 10)
STUDIES = 2000
SHARED = (0.0, 0.8)
SHARE_DIVERGED, DIVERGED = 0.15, -40.0
MOST_WRONG, LEAST_FOUND, COVERAGE = 0.05, 0.80, (0.93, 0.97)


@dataclass(frozen=True)
class Cell:
    """Rates of one shape, share of variance that arms have in common, and number of seeds."""

    shape: str
    shared: float
    n: int
    equal: float
    refuted: float
    found: float
    coverage: float

    def misses(self) -> Iterator[str]:
        """Yield the bars that are missed."""
        where = f"{self.shape}, shared {self.shared:g}, n = {self.n}"
        if self.shape in SHAPES[:5] and max(self.equal, self.refuted) > MOST_WRONG:
            yield f"{where}: supported {self.equal:.1%} when equal, refuted {self.refuted:.1%} at at_least"
        if self.shape == "normal" and not COVERAGE[0] <= self.coverage <= COVERAGE[1]:
            yield f"{where}: coverage {self.coverage:.1%}"
        if self.n == 5 and self.shape in SHAPES[:4] and self.found < LEAST_FOUND:
            yield f"{where}: 2 deviations found in {self.found:.1%}"


def noise(shape: str, size: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Draw noise of mean 0 and deviation 1."""
    if shape == "skewed":
        return 1 - generator.exponential(size=size)
    if shape == "heavy":
        return generator.standard_t(3, size=size) / sqrt(3)
    return generator.standard_normal(size)


def differences(
    shape: str, shared: float, n: int, effect: float, studies: int, generator: np.random.Generator
) -> Array:
    """Draw paired differences (studies, n) of two arms of which the first is better by `effect` in every run.

    A run that diverges is not better; `true_effect` says what that leaves.
    """
    own = sqrt(1 - shared)
    kinds = ("skewed", "normal") if shape == "one skewed" else (shape, shape)
    seeds = sqrt(shared) * noise(kinds[1], (studies, n), generator)
    first, second = (seeds + own * noise(kind, (studies, n), generator) for kind in kinds)
    if shape == "tied":
        return np.round(first) + effect - np.round(second)
    if shape not in ("diverged", "one diverges"):
        return first + effect - second
    fate = sqrt(shared) * generator.standard_normal((studies, n))
    fates = (fate + own * generator.standard_normal((studies, n)) for _ in range(2))
    lost, lost_too = (each < ndtri(SHARE_DIVERGED) for each in fates)
    second = np.where(lost_too, DIVERGED, second)
    if shape == "one diverges":
        return first + effect + SHARE_DIVERGED * DIVERGED - second
    return np.where(lost, DIVERGED, first + effect) - second


def true_effect(shape: str, effect: float) -> float:
    """Return the mean difference where the runs that do not diverge differ by `effect`."""
    return (1 - SHARE_DIVERGED) * effect if shape == "diverged" else effect


def measure(shape: str, shared: float, n: int, studies: int) -> Cell:
    """Judge the studies of a cell."""
    generator = np.random.default_rng([SHAPES.index(shape), round(100 * shared), n])
    spread = differences(shape, shared, 100_000, 0.0, 1, generator).std()
    unit, two = (1.0, round(2 * spread)) if shape == "tied" else (spread, 2 * spread)
    supported = refuted = found = held = 0
    for study in differences(shape, shared, n, 0.0, studies, generator).tolist():
        judged = judge(study, 0.0)
        supported += judged.verdict == "supported"
        held += judged.low is not None and judged.high is not None and judged.low <= 0 <= judged.high
    for study in differences(shape, shared, n, unit, studies, generator).tolist():
        refuted += judge(study, true_effect(shape, unit)).verdict == "refuted"
    for study in differences(shape, shared, n, two, studies, generator).tolist():
        found += judge(study, true_effect(shape, unit)).verdict == "supported"
    return Cell(shape, shared, n, *(count / studies for count in (supported, refuted, found, held)))


def calibrate(studies: int, sizes: tuple[int, ...] = SIZES) -> list[Cell]:
    """Measure all cells."""
    return [measure(shape, shared, n, studies) for shape in SHAPES for shared in SHARED for n in sizes]


def table_of(cells: list[Cell]) -> str:
    """Return the rates as a Markdown table, in percent, those of the numbers of seeds beside each other."""
    sizes = " / ".join(map(str, dict.fromkeys(cell.n for cell in cells)))
    columns = ("equal, supported", "at_least, refuted", "2 sd, supported", "coverage")
    lines = [f"| n = {sizes} | seeds share | {' | '.join(columns)} |", "| --- |" + " ---: |" * 5]
    for (shape, shared), group in groupby(cells, key=lambda cell: (cell.shape, cell.shared)):
        rates = zip(*((cell.equal, cell.refuted, cell.found, cell.coverage) for cell in group), strict=True)
        shown = (" / ".join(f"{100 * rate:.1f}" for rate in each) for each in rates)
        lines.append(f"| {shape} | {shared:.0%} | {' | '.join(shown)} |")
    return "\n".join(lines)


def calibration(name: str, terms: Terms) -> Report:
    """Judge simulated studies; the device plays no part."""
    cells = calibrate(20 if terms.small else STUDIES, SIZES[:1] if terms.small else SIZES)
    missed = [sentence for cell in cells for sentence in cell.misses()]
    text = "\n".join(["### Verdicts", "", table_of(cells), *(f"missed: {sentence}" for sentence in missed)])
    return Report(name, text, {"cells": [asdict(cell) for cell in cells], "missed": missed})
