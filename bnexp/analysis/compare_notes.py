"""The sentences below a comparison: what its figures mean, and what to beware of."""

from collections.abc import Iterator, Sequence

from bnexp.analysis.arms import Arm
from bnexp.analysis.curve import Scale
from bnexp.document.writing import at_most, first_few, percent
from bnexp.runs.run import ENVIRONMENT

_MOST = 8
"""Notes of one sort that are shown; the rest is counted."""


def notes_of(arms: Sequence[Arm], scale: Scale | None) -> tuple[str, ...]:
    """Return the notes below a comparison of `arms`."""
    return (*_on_seeds(arms), *_on_curves(scale), *_on_unfinished(arms), *_on_environments(arms), *_on_records(arms))


def _on_seeds(arms: Sequence[Arm]) -> Iterator[str]:
    most = max(len(arm.finished) for arm in arms)
    if most > 1:
        yield "± is the sample standard deviation over n seeds; only finished runs enter"
    if most == 1:
        yield "n = 1: one seed is no finding. Run each arm with more seeds, such as --seed 1 and --seed 2"
    if most > 1 and (single := [arm.name for arm in arms if len(arm.finished) == 1]):
        yield f"n = 1: one seed is no finding ({_few(single)})"
    seeds = {tuple(sorted(run.seed for run in arm.finished if run.seed is not None)) for arm in arms if arm.finished}
    if len(seeds) > 1:
        yield "the arms were run with different seeds: they are not paired, so part of a difference is the seeds'"
    if repeats := sum(arm.repeats for arm in arms):
        runs = "1 repeated run" if repeats == 1 else f"{repeats} repeated runs"
        yield f"{runs} left out: of runs with the same config and seed, the newest counts"


def _on_curves(scale: Scale | None) -> Iterator[str]:
    if scale is None:
        return
    each = "evaluation" if scale.per_mark == 1 else f"{scale.per_mark} evaluations"
    low, high = percent(scale.low), percent(scale.high)
    if low == high:
        yield f"curve: validation accuracy, {low} % at every evaluation"
        return
    yield (
        f"curve: validation accuracy (mean over seeds), a mark per {each}; in all rows ▁ is {low} %, █ is {high} %, "
        f"and each step between has {scale.factor:.3g} times fewer errors"
    )


def _on_unfinished(arms: Sequence[Arm]) -> Iterator[str]:
    if any(arm.unfinished and not arm.finished and not arm.diverged for arm in arms):
        yield "(in parentheses): reached so far by a run that has not finished; enters no mean"
    failed = [run for arm in arms for run in arm.unfinished if run.status == "failed"]
    yield from at_most([f"{run.folder} failed: {_first_line(run.error)}" for run in failed], _MOST, "failed runs")


def _on_environments(arms: Sequence[Arm]) -> Iterator[str]:
    """Warn where runs differ in what is no strategy: it changes times, and accuracy a little."""
    differing = []
    for key in ENVIRONMENT:
        names: dict[str, list[str]] = {}
        for arm in arms:
            for value in sorted({run.environment[key] for run in arm.runs if key in run.environment}):
                names.setdefault(value, []).append(arm.name)
        if len(names) > 1:
            differing.append(f"{key} " + ", ".join(f"{value} ({_few(who)})" for value, who in names.items()))
    if differing:
        yield f"differing environments, which alone change times and a little of the rest: {'; '.join(differing)}"


def _on_records(arms: Sequence[Arm]) -> Iterator[str]:
    problems = [problem for arm in arms for run in arm.runs for problem in run.problems]
    yield from at_most(problems, _MOST, "problems with records")


def _few(names: Sequence[str]) -> str:
    return first_few(list(dict.fromkeys(names)), 3)


def _first_line(error: str | None) -> str:
    return error.strip().splitlines()[0] if error and error.strip() else "no reason is recorded"
