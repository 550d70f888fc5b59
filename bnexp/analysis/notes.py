"""Write the notes below a comparison: what limits it, and what its figures are."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bnexp.analysis.arms import Arm, same_functions
from bnexp.document.writing import at_most, counted, first_few
from bnexp.runs.run import ENVIRONMENT

MOST_NOTES = 8
"""Notes of one sort that are shown; the rest is counted."""
_COMMIT = 10
"""Letters of a commit that are shown."""


def on_seeds(arms: Sequence[Arm], *, intervals: bool = False) -> Iterator[str]:
    """Say over how many seeds figures are, and where arms have other seeds than others."""
    most = max(len(arm.samples) for arm in arms)
    if most > 1 and intervals:
        yield "[low, high] is the 95 % t interval of the mean over n seeds; only finished runs enter"
    elif most > 1:
        yield "± is the sample standard deviation of a run over n seeds, not of the mean; only finished runs enter"
    if most == 1:
        yield "n = 1: one seed is no finding. More of them: --seed 1-4 of bnexp train, or --seeds 5 of bnexp sweep"
    if most > 1 and (single := [arm.name for arm in arms if len(arm.samples) == 1]):
        yield f"n = 1: one seed is no finding ({_few(single)})"
    complete = [{run.seed for run in (*arm.finished, *arm.diverged) if run.seed is not None} for arm in arms]
    if len({frozenset(seeds) for seeds in complete if seeds}) > 1:
        paired = "only those in common are paired, and part of a difference is the seeds'"
        yield f"the arms were not all run with the same seeds: {paired}"
    if repeats := sum(len(arm.left_out) for arm in arms):
        runs = "1 repeated run" if repeats == 1 else f"{repeats} repeated runs"
        yield f"{runs} left out: of runs with the same config and seed, the newest counts"


def on_diverged(arms: Sequence[Arm]) -> Iterator[str]:
    """Say of how many seeds there is no mean, since they diverged."""
    if diverged := [(arm, len(arm.diverged), len(arm.runs)) for arm in arms if arm.diverged]:
        each = first_few([f"{arm.name} {some} of {of}" for arm, some, of in diverged], MOST_NOTES)
        rest = any(arm.finished for arm, _, _ in diverged)
        means = ": the means beside them are of the seeds that did not, and flatter the arm" if rest else ""
        yield f"diverged: {each}{means}"


def on_lengths(arms: Sequence[Arm]) -> Iterator[str]:
    """Say which arms were trained for longer than others."""
    lengths = defaultdict[str, list[str]](list)
    for arm in arms:
        for length in sorted({round(run.figures["epochs"], 6) for run in arm.finished if "epochs" in run.figures}):
            lengths[f"{length:g}"].append(arm.name)
    if len(lengths) > 1:
        each = first_few([f"{length} ({_few(names)})" for length, names in lengths.items()], MOST_NOTES)
        yield f"trained for different numbers of epochs: {each}"


def on_lengthened(arms: Sequence[Arm]) -> Iterator[str]:
    """Say whose test set was looked at before the end that counts."""
    runs = [(arm.name, run) for arm in arms for run in arm.finished if run.former_ends]
    if runs:
        which = f"{counted(len(runs), 'run')} ({_few([name for name, _ in runs])})"
        yield f"{which} had ended, and been scored on the test set, before being made longer: not its first look"


def on_tuning(arms: Sequence[Arm]) -> Iterator[str]:
    """Say which values tuning chose, of how many, and where arms had not the same chance."""
    finished = [arm for arm in arms if arm.finished]
    keys = dict.fromkeys(key for arm in finished for run in arm.finished for key in run.chosen)
    tried = {arm.name: max(run.candidates for run in arm.finished) for arm in finished}
    if keys and len(set(tried.values())) == 1:
        of = counted(max(tried.values()), "candidate")
        yield f"{', '.join(keys)}: each arm has its own, the best of {of} on validation"
    elif keys:
        each = _few([f"{name} {count:,}" for name, count in tried.items()])
        yield f"{', '.join(keys)}: not tuned alike, and part of a difference may be that: candidates of {each}"


def on_unfinished(arms: Sequence[Arm]) -> Iterator[str]:
    """Say which figures are of runs that have not finished, and why runs failed."""
    if any(arm.unfinished and not arm.finished and not arm.diverged for arm in arms):
        yield "(in parentheses): reached so far by a run that has not finished; enters no mean"
    failed = [run for arm in arms for run in arm.unfinished if run.status == "failed"]
    reasons = [f"{run.folder} failed: {run.first_line_of_error or 'no reason is recorded'}" for run in failed]
    yield from at_most(reasons, MOST_NOTES, "failed runs")


def on_same_functions(arms: Sequence[Arm]) -> Iterator[str]:
    """Name the arms between which there is nothing to compare."""
    for names, exactly in same_functions([arm for arm in arms if not arm.pooled]):
        who = _few(names)
        if exactly:
            yield f"{who} are one network in one training: on one machine, the same seed gives the same figures"
        else:
            yield f"{who} compute the same function, up to rounding: what lies between them is no effect of a norm"


def on_environments(arms: Sequence[Arm]) -> Iterator[str]:
    """Warn where runs differ in their environment: it changes times, and accuracy a little."""
    differing = []
    for key in ENVIRONMENT:
        names = defaultdict[str, list[str]](list)
        for arm in arms:
            for value in sorted({run.environment[key] for run in arm.runs if key in run.environment}):
                names[value[:_COMMIT] if key == "commit" else value].append(arm.name)
        if len(names) > 1:
            differing.append(f"{key} " + ", ".join(f"{value} ({_few(who)})" for value, who in names.items()))
    if differing:
        yield f"differing environments, which alone change times and a little of the rest: {'; '.join(differing)}"


def on_stacked(arms: Sequence[Arm]) -> Iterator[str]:
    """Say what the times of seeds are that were trained as one vectorized network."""
    if names := [arm.name for arm in arms if any(run.environment.get("stacked") == "yes" for run in arm.runs)]:
        yield f"stacked seeds ({_few(names)}): step ms is a step of the whole stack divided by its seeds"


def _few(names: Sequence[str]) -> str:
    return first_few(list(dict.fromkeys(names)), 3)
