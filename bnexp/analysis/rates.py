"""Compare arms each at its own best learning rate, and over which rates each works, where a sweep varies the rate.

At one rate for all, an arm may win because the rate suits it. The best rate is chosen on the validation part, as in
`sweep/tuning.py`: the fewest seeds that diverged, then the mean final accuracy, then the loss. The test set is only
looked at for that rate.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bnexp.analysis.arms import Arm, told_apart
from bnexp.analysis.pairing import chance_of
from bnexp.document.table import Cell, Column, Row, Table, sample_of, word
from bnexp.document.writing import first_few, percent
from bnexp.runs.run import COMPLETE

LEARNING_RATE = "optimizer.lr"
WORKS = 0.9
"""A rate works where the mean validation accuracy is this much of the way from chance to that at the best rate."""
_FEW = 4

_COLUMNS = (
    Column("name", "arm"),
    Column("best_lr", "best lr", "number"),
    Column("val_accuracy", "val % final", "sample"),
    Column("test_accuracy", "test %", "sample"),
    Column("n", "n", "number"),
    Column("works", "lr that work", audience="people"),
    Column("works_from", "", "number", audience="machines"),
    Column("works_to", "", "number", audience="machines"),
    Column("decades", "decades", "number"),
    Column("open_end", "", audience="machines"),
    Column("diverged", "diverged"),
    Column("rates", "", audience="machines"),
)


@dataclass(frozen=True)
class Rate:
    """One learning rate of an arm, and what came of it."""

    lr: float
    arm: Arm

    @property
    def accuracy(self) -> float:
        """Mean final validation accuracy of the seeds that finished; 0 without any."""
        return fmean(self.arm.sampled(lambda run: run.figures.get("val_accuracy")) or [0.0])

    @property
    def diverged(self) -> float:
        """The share of its complete runs that diverged."""
        complete = [run for run in self.arm.runs if run.status in COMPLETE]
        return len(self.arm.diverged) / len(complete) if complete else math.nan

    @property
    def rank(self) -> tuple[float, float, float]:
        """Sorts the best first."""
        losses = self.arm.sampled(lambda run: run.figures.get("val_loss"))
        return self.diverged, -self.accuracy, fmean(losses or [math.inf])


@dataclass(frozen=True)
class RateAxis:
    """The learning rates of an otherwise equal arm that were tried, in ascending order."""

    name: str
    rates: tuple[Rate, ...]

    @property
    def best(self) -> Rate | None:
        """The best rate, by validation; None where no run has come to its end without divergence."""
        return min((rate for rate in self.rates if rate.arm.finished), key=lambda rate: rate.rank, default=None)

    @property
    def working(self) -> tuple[Rate, ...]:
        """The rates around the best one, without a gap, at which no seed diverged and the accuracy is near its."""
        best = self.best
        if best is None or best.diverged:
            return ()
        chance = chance_of("accuracy/val", [run for rate in self.rates for run in rate.arm.runs]) or 0.0
        enough = chance + WORKS * (best.accuracy - chance)
        if best.accuracy <= chance:
            return ()
        good = [rate.diverged == 0 and rate.accuracy >= enough for rate in self.rates]
        first = last = self.rates.index(best)
        while first > 0 and good[first - 1]:
            first -= 1
        while last + 1 < len(good) and good[last + 1]:
            last += 1
        return self.rates[first : last + 1]

    @property
    def decades(self) -> float | None:
        """The width of the range that works, log10 of its largest over its smallest rate; None where none works."""
        return math.log10(self.working[-1].lr / self.working[0].lr) if self.working else None

    @property
    def open_end(self) -> str:
        """Which ends of the rates that were tried still work: `smallest`, `largest`, `both`, or nothing."""
        ends = [self.rates[end] in self.working for end in (0, -1)]
        return {(True, True): "both", (True, False): "smallest", (False, True): "largest"}.get((ends[0], ends[1]), "")


def rate_axes(arms: Sequence[Arm]) -> list[RateAxis]:
    """Return the arms of more than one learning rate: runs whose configs differ in it, and in their names, alone."""
    groups = defaultdict[str, list[Rate]](list)
    for arm in arms:
        rate = (arm.config or {}).get(LEARNING_RATE)
        if isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            rest = {key: value for key, value in (arm.config or {}).items() if key not in ("name", LEARNING_RATE)}
            key = json.dumps([rest, arm.data, arm.scored_on, arm.runs[0].role], sort_keys=True)
            groups[key].append(Rate(float(rate), arm))
    axes = [axis for group in groups.values() for axis in _axes(group)]
    names = told_apart([_named(axis) for axis in axes])
    return [RateAxis(arm.name, axis) for arm, axis in zip(names, axes, strict=True)]


def _axes(group: Sequence[Rate]) -> Iterator[tuple[Rate, ...]]:
    """Yield the rates of a group; where two arms of one rate differ in their name, it tells axes apart."""
    if len({rate.lr for rate in group}) == len(group):
        own = [list(group)]
    else:
        own = [[rate for rate in group if rate.arm.name == name] for name in dict.fromkeys(r.arm.name for r in group)]
    yield from (tuple(sorted(rates, key=lambda rate: rate.lr)) for rates in own if len(rates) > 1)


def _named(rates: Sequence[Rate]) -> Arm:
    """Return an arm with the name that rates share: of `norm=bn,lr=0.1` and `norm=bn,lr=1`, that is `norm=bn`."""
    first = rates[0].arm
    parts = [rate.arm.name.split(",") for rate in rates]
    common = ",".join(part for part in parts[0] if all(part in other for other in parts))
    config = {key: value for key, value in (first.config or {}).items() if key != LEARNING_RATE}
    return replace(first, name=common or "all", config=config)


def rate_table(arms: Sequence[Arm]) -> Table | None:
    """Return a row per arm at its own best learning rate, the best first; None where no arm has several rates."""
    axes = rate_axes(arms)
    if not axes:
        return None
    axes = sorted(axes, key=lambda axis: axis.best.rank if axis.best else (math.inf, 0.0, 0.0))
    title = "each arm at its own best learning rate, chosen on the validation part"
    return Table(_COLUMNS, tuple(map(_row, axes)), tuple(_notes(axes)), title, key="rates")


def _row(axis: RateAxis) -> Row:
    best, working, decades = axis.best, axis.working, axis.decades
    cells = {
        "name": word(axis.name),
        "diverged": Cell(_divergence(axis), sum(len(rate.arm.diverged) for rate in axis.rates)),
        "rates": Cell(value=[_as_json(rate) for rate in axis.rates]),
        "open_end": Cell(value=axis.open_end or None),
    }
    if best is not None:
        cells["best_lr"] = Cell(f"{best.lr:g}", best.lr)
        cells["n"] = Cell(str(len(best.arm.samples)), len(best.arm.samples))
        for figure in ("val_accuracy", "test_accuracy"):
            sample = sample_of(best.arm.sampled(lambda run, figure=figure: run.figures.get(figure)))  # type: ignore[misc]
            if sample is not None:
                spread = "" if sample.std is None else f" ± {percent(sample.std)}"
                cells[figure] = Cell(percent(sample.mean) + spread, sample=sample)
    if decades is not None:
        low, high = working[0].lr, working[-1].lr
        cells["works"] = Cell(f"{low:g} to {high:g}" if low < high else f"{low:g}")
        cells["works_from"], cells["works_to"] = Cell(value=low), Cell(value=high)
        cells["decades"] = Cell(f"{'≥ ' if axis.open_end else ''}{decades:.2f}", decades)
    return cells


def _as_json(rate: Rate) -> dict[str, object]:
    figures = {"n": len(rate.arm.samples), "diverged": len(rate.arm.diverged)}
    return {"lr": rate.lr, **figures, "val_accuracy": rate.accuracy if rate.arm.finished else None}


def _divergence(axis: RateAxis) -> str:
    """Return how many runs diverged at which rates, such as `1 of 3 at 0.3, 3 of 3 at 1`."""
    some = [rate for rate in axis.rates if rate.arm.diverged]
    each = [f"{len(rate.arm.diverged)} of {len(rate.arm.runs)} at {rate.lr:g}" for rate in some]
    return ", ".join(each) or f"none of {sum(len(rate.arm.runs) for rate in axis.rates)}"


def _notes(axes: Sequence[RateAxis]) -> Iterator[str]:
    works = f"at least {100 * WORKS:g} % of the way from chance to that at the arm's best rate"
    width = "decades: log10 of the largest over the smallest of the neighboring rates that work"
    is_open = any(axis.open_end for axis in axes)
    more = "; ≥: the last rate tried still works, so the range may be wider" if is_open else ""
    yield f"a rate works where no seed diverges and the mean validation accuracy is {works}; {width}{more}"
    for end, place in (("smallest", 0), ("largest", -1)):
        if names := [axis.name for axis in axes if axis.best is axis.rates[place]]:
            yield f"the best rate is the {end} tried, and a better one may lie beyond: {first_few(names, _FEW)}"
    if len({tuple(rate.lr for rate in axis.rates) for axis in axes}) > 1:
        yield "the arms were not tried at the same rates: one with more of them has had more chances"
    unfinished = [f"{axis.name} at {rate.lr:g}" for axis in axes for rate in axis.rates if rate.arm.unfinished]
    if unfinished:
        yield f"not all runs have come to their end, and the best rate may change: {first_few(unfinished, _FEW)}"
