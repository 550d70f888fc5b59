"""Pair arms by seed: two runs of one seed began with the same weights and saw the same batches.

A run that diverged, or is not finite where it is looked at, is a result. It has the worst rank, and counts with a
stated value: the worst that any finished run of the comparison has at this point, or chance where that is worse. So
does a run that never reached a goal `to(X)`, with the epochs of the longest training. Runs that are not complete are
left out, and said.

Used as

    values, problems = values_at(runs, [point])
    stated = stated_value(point, "up", runs, values[point])
    pairing = pair(outcomes(bn, point, values[point], stated), outcomes(none, point, values[point], stated))
    pairing.seeds, pairing.differences("up"), pairing.notes
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bnexp.analysis.points import Direction, MetricPoint
from bnexp.document.writing import first_few
from bnexp.runs.run import COMPLETE, Run

_LARGEST = 1e300
"""Beyond it no difference can be computed; such a value is as good as not finite."""
_SHOWN = 6
"""Seeds that a note names."""


@dataclass(frozen=True)
class Stated:
    """What a run counts as that diverged, or never reached its goal, and in words where that comes from."""

    value: float
    why: str


@dataclass(frozen=True)
class Outcomes:
    """What one arm came to, seed by seed.

    Attributes:
        name: the arm's.
        values: by seed, of its complete runs; the stated value for those that diverged.
        diverged, never: the seeds that have the stated value, since they diverged or are not finite there, or never
            reached the goal.
        infinite: of the diverged, those that finished and are not finite there.
        absent: why a seed has no value, by seed.
    """

    name: str
    values: Mapping[int, float]
    diverged: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    absent: Mapping[int, str] = field(default_factory=dict)
    stated: Stated | None = None
    infinite: tuple[int, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Sentences about the seeds that are no plain values."""
        sentences = []
        fell = tuple(seed for seed in self.diverged if seed not in self.infinite)
        kinds = ((fell, "diverged"), (self.infinite, "not finite there"), (self.never, "never came there"))
        for seeds, what in kinds:
            if seeds and self.stated:
                of = f"{len(seeds)} of {len(self.values)}"
                counts = f"worst rank, counted as {self.stated.value:.4g}, {self.stated.why}"
                sentences.append(f"{self.name}: {of} {what} ({_seeds(seeds)}; {counts})")
        reasons: dict[str, list[int]] = {}
        for seed, why in self.absent.items():
            reasons.setdefault(why, []).append(seed)
        return [*sentences, *(f"{self.name}: {_seeds(seeds)} {why}" for why, seeds in reasons.items())]


def without_diverged(outcomes: Outcomes) -> Outcomes:
    """Return what an arm came to without its diverged seeds: of a metric without a better side, no value is worst."""
    kept = {seed: value for seed, value in outcomes.values.items() if seed not in outcomes.diverged}
    why = dict.fromkeys(outcomes.diverged, "diverged, and left out: neither side of the metric is worse")
    return replace(outcomes, values=kept, diverged=(), infinite=(), absent={**outcomes.absent, **why})


@dataclass(frozen=True)
class Pairing:
    """The seeds that two arms share, in order, with the values of both."""

    first: Outcomes
    second: Outcomes
    seeds: tuple[int, ...]

    def differences(self, better: Direction) -> list[float]:
        """Return first minus second, seed by seed, or the reverse where less is better: positive is better."""
        sign = 1 if better == "up" else -1
        return [sign * (self.first.values[seed] - self.second.values[seed]) for seed in self.seeds]

    @property
    def notes(self) -> list[str]:
        """Sentences about both arms, and about the seeds that only one of them has."""
        sentences = list(dict.fromkeys([*self.first.notes, *self.second.notes]))
        for one, other in ((self.first, self.second), (self.second, self.first)):
            alone = [seed for seed in one.values if seed not in other.values and seed not in other.absent]
            if alone:
                sentences.append(f"{one.name}: {_seeds(alone)} not paired, {other.name} has none")
        return sentences


def stated_value(
    point: MetricPoint, better: Direction, runs: Sequence[Run], values: Mapping[Path, float | None]
) -> Stated:
    """Return what the runs of a comparison count as that diverged or never reached a goal.

    Args:
        point: what is compared.
        better: its better side.
        runs: all of the comparison.
        values: of the runs, by folder.
    """
    worst = min if better == "up" else max
    finished = [values.get(run.folder) for run in runs if run.status == "finished"]
    known = [value for value in finished if value is not None and abs(value) < _LARGEST]
    candidates = list[Stated]()
    if point.goal is not None:
        lengths = [run.figures["epochs"] for run in runs if "epochs" in run.figures]
        candidates += [Stated(max(lengths), "the longest training")] if lengths else []
    elif (chance := chance_of(point.metric, runs)) is not None:
        candidates.append(Stated(chance, "chance"))
    candidates += [Stated(worst(known), "the worst of the finished runs")] if known else []
    if not candidates:
        return Stated(0.0, "alike in all, where none finished")
    return worst(candidates, key=lambda one: one.value)


def chance_of(metric: str, runs: Sequence[Run]) -> float | None:
    """Return the accuracy, or the loss in nats, of a guess that takes every class for as likely."""
    kind = metric.partition("/")[0]
    classes = {len(run.data.examples["train"]) for run in runs if run.data.examples.get("train")}
    if len(classes) != 1 or kind not in ("accuracy", "balanced_accuracy", "loss"):
        return None
    return math.log(classes.pop()) if kind == "loss" else 1 / classes.pop()


def outcomes(
    name: str,
    runs: Sequence[Run],
    point: MetricPoint,
    values: Mapping[Path, float | None],
    stated: Stated,
    missing: Sequence[int] = (),
) -> Outcomes:
    """Return what an arm came to; of several complete runs of one seed, the newest counts.

    Args:
        name: the arm's.
        runs: the arm's, without those that only tuned.
        point: what is taken.
        values: of the runs, by folder.
        stated: what a diverged run counts as.
        missing: seeds that have no run at all yet.
    """
    found: dict[int, float] = {}
    diverged, never, absent = set[int](), set[int](), dict.fromkeys(missing, "not run yet")
    infinite = set[int]()
    for run in sorted(runs, key=lambda run: (run.status in COMPLETE, run.recency)):
        if run.seed is None:
            continue
        value = values.get(run.folder)
        absent.pop(run.seed, None)
        for group in (diverged, never, infinite):
            group.discard(run.seed)
        if run.status == "diverged":
            diverged.add(run.seed)
            found[run.seed] = stated.value
        elif value is not None and run.status == "finished":
            found[run.seed] = value if abs(value) < _LARGEST else stated.value
            if not abs(value) < _LARGEST:
                (never if point.goal is not None else diverged).add(run.seed)
                infinite |= {run.seed} & diverged
        else:
            found.pop(run.seed, None)
            absent[run.seed] = f"without {point}" if run.status == "finished" else run.status
    ordered = {seed: found[seed] for seed in sorted(found)}
    fell, short, odd = (tuple(sorted(group)) for group in (diverged, never, infinite))
    return Outcomes(name, ordered, fell, short, absent, stated, odd)


def pair(first: Outcomes, second: Outcomes) -> Pairing:
    """Return the values of two arms, seed by seed, for the seeds that both have."""
    return Pairing(first, second, tuple(seed for seed in first.values if seed in second.values))


def _seeds(seeds: Sequence[int]) -> str:
    ordered = [str(seed) for seed in sorted(seeds)]
    return f"seed{'s' * (len(ordered) != 1)} {first_few(ordered, _SHOWN)}"
