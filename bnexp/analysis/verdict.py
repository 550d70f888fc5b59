"""Judge the claims of a study by its runs: supported, refuted, or undecided, each with its effect and its interval.

The rule is `statistics.judge` on differences paired by seed. Of an order, each arm is judged against the next, with
intervals as wide as so many comparisons need. Of a trend, each seed gives one number: the fitted change of the metric
from the first value of the axis to the last. `docs/verdicts.md` explains all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any

from bnexp.analysis.claims import Claim
from bnexp.analysis.lagging import lag_of
from bnexp.analysis.pairing import Outcomes, outcomes, pair, stated_value
from bnexp.analysis.points import MetricPoint, logged_metrics, values_at
from bnexp.analysis.statistics import ALPHA, CONFIDENCE, Judgement, holm, judge, least_p, sign_flip_p
from bnexp.document.table import Cell, Column, Row, Table, word
from bnexp.errors import did_you_mean
from bnexp.runs.data import keys_of_data
from bnexp.runs.run import COMPLETE, Run
from bnexp.runs.seal import is_altered

KEYS = ("claim", "verdict", "effect", "low", "high", "n", "p", "p_corrected", "more_seeds", "reason")
"""The keys of a verdict in JSON, in order."""
COLUMNS = (
    Column("number", "#", "number"),
    Column("verdict", "verdict"),
    Column("claim", "claim"),
    Column("effect", "effect", "number"),
    Column("interval", "interval", audience="people"),
    Column("at_least", "at least", "number", give_up=1),
    Column("n", "n", "number"),
    Column("p", "p", "number", give_up=3),
    Column("p_corrected", "Holm p", "number", give_up=2),
    Column("more_seeds", "more seeds", "number", give_up=4),
)


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim and what its runs say about it.

    Attributes:
        claim: what was judged.
        differences: the paired differences by seed, positive where the claim is right; of an order, of its
            weakest step.
        judgement: the verdict, with effect and interval in the unit of the metric.
        p, p_corrected: of the sign-flip test, and after Holm over the claims of the study.
        reason: why, with all that is to be known about the runs.
    """

    claim: Claim
    differences: Mapping[int, float]
    judgement: Judgement
    p: float | None
    p_corrected: float | None
    reason: str

    @property
    def record(self) -> dict[str, Any]:
        """The verdict as JSON has it."""
        judged = self.judgement
        values = (judged.effect, judged.low, judged.high, judged.n, self.p, self.p_corrected, judged.more_seeds)
        return dict(zip(KEYS, (self.claim.sentence, judged.verdict, *values, self.reason), strict=True))


@dataclass(frozen=True)
class _Step:
    """One comparison of a claim: its differences by seed, how it was judged, and its name in an order."""

    differences: Mapping[int, float]
    judgement: Judgement
    name: str

    @property
    def p(self) -> float | None:
        return sign_flip_p(list(self.differences.values())) if len(self.differences) > 1 else None


def judge_claims(
    claims: Sequence[Claim], arms: Mapping[str, Sequence[Run]], seeds: Sequence[int]
) -> list[ClaimVerdict]:
    """Return the verdict on each claim of a study.

    Args:
        claims: all of the study's, over which p-values are corrected.
        arms: the runs of each arm, by its name; runs that only tuned do not enter.
        seeds: those that each arm is to have.
    """
    arms = {name: [run for run in runs if run.role is None] for name, runs in arms.items()}
    named = dict.fromkeys(name for claim in claims for name in claim.arms)
    runs = [run for name in named for run in arms[name]]
    values, problems = values_at(runs, dict.fromkeys(claim.point for claim in claims))
    broken = {run.folder: run.problems for run in runs if run.problems}
    arms = {name: [_unless_altered(run, problems) for run in own] for name, own in arms.items()}
    judged = [_judge(claim, arms, values[claim.point], seeds) for claim in claims]
    ps = [p for _, p, _ in judged]
    verdicts = []
    for claim, (step, p, reasons), corrected in zip(claims, judged, holm(ps), strict=True):
        own = [run for name in claim.arms for run in arms[name]]
        said = [*reasons, *_on_p(step.judgement, len(claims)), *_on_records(own, broken, problems)]
        verdicts.append(ClaimVerdict(claim, step.differences, step.judgement, p, corrected, "; ".join(said)))
    return verdicts


def _unless_altered(run: Run, problems: Sequence[str]) -> Run:
    """Return a run as it is, or as one that is not at its end where its records are not those that it wrote."""
    suspect = bool(run.problems) or any(problem.startswith(f"{run.folder}/") for problem in problems)
    altered = suspect and run.status in COMPLETE and is_altered(run.folder)
    return replace(run, status="left out, as records were changed after the end") if altered else run


def _judge(
    claim: Claim, arms: Mapping[str, Sequence[Run]], values: Mapping[Path, float | None], seeds: Sequence[int]
) -> tuple[_Step, float | None, list[str]]:
    """Return the comparison that decides a claim, its p, and the reasons."""
    runs = [run for name in claim.arms for run in arms[name]]
    better = claim.direction
    if claim.kind == "trend":
        better = claim.point.direction or better
    stated = stated_value(claim.point, better, runs, values)
    came_to = [
        outcomes(
            name, arms[name], claim.point, values, stated, [seed for seed in seeds if seed not in _seeds_of(arms[name])]
        )
        for name in claim.arms
    ]
    notes = list(dict.fromkeys(note for one in came_to for note in one.notes))
    if claim.kind == "trend":
        step = _trend(claim, came_to)
        p, reasons = step.p, [step.judgement.why]
    else:
        step, p, reasons = _order(claim, came_to)
    reasons += [*notes, *_on_runs(claim.point, runs, values), *_on_statistics(claim, arms)]
    return step, p, reasons


def _on_p(judged: Judgement, claims: int) -> list[str]:
    """Say where so few seeds can give no small p, whatever they show: the interval decides alone."""
    least = least_p(judged.n)
    if judged.verdict == "undecided" or claims * least <= ALPHA:
        return []
    corrected = f", or {min(1, claims * least):.3g} after Holm" if claims > 1 else ""
    return [f"{judged.n} seeds give no p below {least:.3g}{corrected}: the verdict rests on the interval"]


def _seeds_of(runs: Sequence[Run]) -> set[int | None]:
    return {run.seed for run in runs}


def _order(claim: Claim, came_to: Sequence[Outcomes]) -> tuple[_Step, float | None, list[str]]:
    """Judge each arm of a pair or an order against the next one.

    Supported where every step is, refuted where one is. The interval of each of k steps has the confidence 1 - 0.05 / k
    (Bonferroni), so that a true order is refuted no more often than a true pair. p is the largest of the steps: all
    must hold (the intersection-union test, Berger 1982).
    """
    confidence = 1 - (1 - CONFIDENCE) / (len(came_to) - 1)
    steps = []
    for first, second in pairwise(came_to):
        pairing = pair(first, second)
        differences = dict(zip(pairing.seeds, pairing.differences(claim.direction), strict=True))
        judged = judge(list(differences.values()), claim.at_least, confidence)
        steps.append(_Step(differences, judged, f"{first.name} over {second.name}"))
    verdicts = [step.judgement.verdict for step in steps]
    verdict = next((one for one in ("refuted", "undecided") if one in verdicts), "supported")
    weakest = min((step for step in steps if step.judgement.verdict == verdict), key=_strength)
    ps = [step.p for step in steps]
    p = None if None in ps else max(one for one in ps if one is not None)
    where = f"weakest step {weakest.name}, at {100 * confidence:.4g} % confidence: " if len(steps) > 1 else ""
    return weakest, p, [where + weakest.judgement.why]


def _strength(step: _Step) -> tuple[int, float]:
    """Order the steps of an order: first those with too few seeds for an interval, then by their effect."""
    judged = step.judgement
    return (0, 0.0) if judged.low is None or judged.effect is None else (1, judged.effect)


def _trend(claim: Claim, came_to: Sequence[Outcomes]) -> _Step:
    """Judge the trend over an axis by one number a seed: the change from its first value to its last.

    That is the slope of the least-squares line over the places 0, 1, ... k - 1 of the values, times k - 1: the linear
    contrast of k ordered doses (Winer 1971, section 3.7). It takes the doses for evenly spaced, as 4, 8, 16 are on a
    logarithmic axis, and does not ask that every step goes the same way.
    """
    seeds = [seed for seed in came_to[0].values if all(seed in one.values for one in came_to)]
    last = len(came_to) - 1
    centred = [place - last / 2 for place in range(last + 1)]
    square, sign = fsum(place**2 for place in centred), 1 if claim.direction == "up" else -1
    changes = {
        seed: sign * last * fsum(place * one.values[seed] for place, one in zip(centred, came_to, strict=True)) / square
        for seed in seeds
    }
    return _Step(changes, judge(list(changes.values()), claim.at_least), "")


def _on_runs(point: MetricPoint, runs: Sequence[Run], values: Mapping[Path, float | None]) -> list[str]:
    """Say what limits a comparison as a whole: a metric that no run has, and data that are not the same."""
    said = []
    finished = [run for run in runs if run.status == "finished"]
    if finished and all(values.get(run.folder) is None for run in finished):
        logged = logged_metrics(finished[0])
        hint = did_you_mean(point.metric, logged)
        said.append(f"no run has {point}" if point.metric in logged else f"no run logged {point.metric}.{hint}")
    if len({*keys_of_data(runs, "scored").values()}) > 1:
        said.append("the arms were not scored on the same data")
    return said


def _on_statistics(claim: Claim, arms: Mapping[str, Sequence[Run]]) -> list[str]:
    """Say of which arms a score is one of the running statistics rather than of the weights."""
    if claim.point.metric not in ("accuracy/val", "accuracy/test", "loss/val", "loss/test"):
        return []
    lags = {name: lag_of([run.figures for run in arms[name] if run.status == "finished"]) for name in claim.arms}
    return [f"{name}: {lag}" for name, lag in lags.items() if lag]


def _on_records(runs: Sequence[Run], broken: Mapping[Path, Sequence[str]], problems: Sequence[str]) -> list[str]:
    """Say what is wrong with the files of some runs."""
    folders = {str(run.folder) for run in runs}
    own = [problem for run in runs for problem in broken.get(run.folder, ())]
    own += [problem for problem in problems if any(problem.startswith(f"{folder}/") for folder in folders)]
    return own[:3] + ([f"and {len(own) - 3} more problems with records"] if len(own) > 3 else [])


def verdict_table(verdicts: Sequence[ClaimVerdict], notes: Sequence[str] = ()) -> Table:
    """Return a row per claim, with the reason of each as a note, ahead of those on all."""
    reasons = [f"{number}: {verdict.reason}" for number, verdict in enumerate(verdicts, 1)]
    rows = tuple(_row(number, verdict) for number, verdict in enumerate(verdicts, 1))
    return Table(COLUMNS, rows, (*reasons, *notes))


def _row(number: int, verdict: ClaimVerdict) -> Row:
    judged = verdict.judgement
    interval = Cell() if judged.low is None or judged.high is None else word(f"{judged.low:+.3g} .. {judged.high:+.3g}")
    return {
        "number": Cell(str(number), number),
        "claim": word(verdict.claim.sentence),
        "verdict": word(judged.verdict),
        "effect": _number(judged.effect, "+.3g"),
        "interval": interval,
        "at_least": _number(verdict.claim.at_least, "g"),
        "n": Cell(str(judged.n), judged.n),
        "p": _number(verdict.p, ".3g"),
        "p_corrected": _number(verdict.p_corrected, ".3g"),
        "more_seeds": _number(judged.more_seeds, "d"),
    }


def _number(value: float | None, form: str) -> Cell:
    return Cell() if value is None else Cell(f"{value:{form}}", value)
