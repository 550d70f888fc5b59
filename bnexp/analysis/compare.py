"""Compare arms: which config keys differ, what each arm reached over its seeds, and what limits the comparison."""

import json
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bnexp.analysis.arms import Arm, differing_keys, gather_arms, same_functions, told_apart
from bnexp.analysis.curve import LEAST_ERROR, Scale, common_scale, mean_curve
from bnexp.analysis.datasets import labels_of, on_data
from bnexp.analysis.lagging import WITH_BOTH_STATISTICS, on_averages, on_lagging
from bnexp.document.table import (
    NOTHING,
    Cell,
    Column,
    Row,
    Sample,
    Table,
    find_column,
    sample_of,
    sort_rows,
    together,
    word,
)
from bnexp.document.writing import at_most, counted, epochs, first_few, loss, milliseconds, percent
from bnexp.runs.columns import Evaluation, read_evaluations
from bnexp.runs.run import AVERAGED, COMPLETE, ENVIRONMENT, Run
from bnexp.runs.seal import changed_rows

DEFAULT_SORT = "val_accuracy"
"""Mean accuracy on the validation part with the last weights, over finished runs: those that diverged do not lower it.

To order by the test set would be to choose on it. The order is no verdict: arms closer than their scatter stand in some
order, too."""

NAME = Column("name", "arm")
DATA = Column("data_fingerprint", "data")
SCORED_ON = Column("scored_on", "scored on", audience="machines")
PARAMETERS = Column("parameters", "parameters", "number")
CURVE = Column("curve", "curve", "curve", give_up=7, audience="people")
SEEDS = Column("n", "n", "number", descending=True)
STATUS = Column("status", "status")
FIGURES: tuple[tuple[Column, Callable[..., str]], ...] = (
    (Column("test_accuracy", "test %", "sample", "fraction", descending=True), percent),
    (Column("test_accuracy_best", "test % of best", "sample", "fraction", descending=True, give_up=4), percent),
    (Column("val_accuracy", "val % final", "sample", "fraction", descending=True, give_up=6), percent),
    (Column("val_accuracy_best", "val % best", "sample", "fraction", descending=True, give_up=5), percent),
    (Column("best_epoch", "best at epoch", "sample", give_up=3), epochs),
    (Column("train_loss", "train loss", "sample", give_up=2), loss),
    (Column("step_ms", "step ms", "sample", give_up=0), milliseconds),
)
BALANCED = (
    Column("test_balanced_accuracy", "balanced test %", "sample", "fraction", descending=True, give_up=9),
    Column("val_balanced_accuracy", "balanced val %", "sample", "fraction", descending=True, give_up=6),
)
"""The mean recall of the classes, which runs have where these are unequal."""
RECOMPUTED = tuple(
    Column(f"{key}_recomputed", f"{header} recomputed", "sample", "fraction", descending=True, audience="machines")
    for key, header in WITH_BOTH_STATISTICS.items()
)
AVERAGES = tuple(
    Column(key, header, "sample", "fraction", descending=True, audience="machines")
    for key, header in ((key, key.replace("_accuracy", " %").replace("_", " ")) for key in AVERAGED)
)
TARGET_KEY = "epochs_to_target"
_MOST_NOTES = 8
"""Notes of one sort that are shown; the rest is counted."""


@dataclass(frozen=True)
class _Comparison:
    """The values that all cells are made from."""

    arms: Sequence[Arm]
    keys: Sequence[str]
    target: float | None
    evaluations: Mapping[str, Sequence[Evaluation]]
    """by the run's folder"""
    scales: Mapping[str, Scale]
    """by what arms were scored on"""
    labels: Mapping[str, str]
    """names of the data, by their key"""


def compare_runs(
    runs: Iterable[Run],
    *,
    target: float | None = None,
    with_curves: bool = True,
    sort: str | None = None,
    keys: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """Return one row per arm of some runs, sorted; runs that only tuned a sweep are left out where there are others.

    Args:
        runs: one at least.
        target: as for `compare_arms`, with `with_curves` and `keys`.
        with_curves: draws the validation accuracy.
        sort: the name of a column; by default the validation accuracy.
        keys: of the config, which have a column even where no arm differs in them.
        notes: sentences about the runs, ahead of those about the table.

    Raises:
        ConfigError: there is no such column.
    """
    kept, left_out = without_tuning(runs)
    table = compare_arms(gather_arms(kept), target=target, with_curves=with_curves, keys=keys)
    table = replace(table, notes=(*notes, *left_out, *table.notes))
    sortable = [column for column in table.columns if column.kind != "curve"]
    return together(sort_rows(table, find_column(sortable, sort or DEFAULT_SORT)), SCORED_ON)


def without_tuning(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Return runs without those that only served to choose values, and a note of how many; all where all did."""
    runs = list(runs)
    tuning = [run for run in runs if run.role is not None]
    if not tuning or len(tuning) == len(runs):
        return runs, []
    places = dict.fromkeys(str(run.folder.parent.parent) for run in tuning)
    shown = first_few([f"bnexp compare {shlex.quote(place)}" for place in places], 3)
    note = f"{counted(len(tuning), 'run')} left out that only served to tune, on seeds of their own: {shown}"
    return [run for run in runs if run.role is None], [note]


def compare_arms(
    arms: Sequence[Arm], *, target: float | None = None, with_curves: bool = True, keys: Sequence[str] = ()
) -> Table:
    """Return one row per arm, in the order given, with a column for each key in which they differ, and for `keys`.

    A target, a fraction, adds the epochs that it took to reach that validation accuracy; with a target or curves of the
    validation accuracy, every run's metrics.jsonl is read.
    """
    arms, evaluations = _with_evaluations(arms, everything=with_curves or target is not None)
    curves = [_curve(arm, evaluations) for arm in arms] if with_curves else []
    scales = {
        data: scale
        for data in dict.fromkeys(arm.scored_on for arm in arms)
        if (scale := common_scale([curve for arm, curve in zip(arms, curves, strict=False) if arm.scored_on == data]))
    }
    keys = list(dict.fromkeys([*differing_keys(arms), *keys]))
    comparison = _Comparison(arms, keys, target, evaluations, scales, labels_of(arms))
    rows = tuple(_row(comparison, arm) for arm in arms)
    problems = [problem for arm in arms for run in arm.runs for problem in run.problems]
    on_records = at_most(problems, _MOST_NOTES, "problems with records")
    arms = told_apart(arms)
    on_arms = (*_on_same_functions(arms), *_on_unfinished(arms), *_on_environments(arms))
    on_figures = (*on_lagging(arms), *on_averages(arms), *_on_curves(comparison))
    on_runs = (*_on_seeds(arms), *_on_tuning(arms), *_on_lengthened(arms))
    notes = (*on_data(arms), *on_runs, *on_figures, *on_arms, *on_records)
    return Table(_columns(comparison), rows, notes, layout="arms")


def _with_evaluations(arms: Sequence[Arm], *, everything: bool) -> tuple[list[Arm], dict[str, Sequence[Evaluation]]]:
    """Read the evaluations of all runs, or only of those without a summary; returns arms with the problems found."""
    evaluations: dict[str, Sequence[Evaluation]] = {}

    def read(run: Run) -> Run:
        if not everything and run.status in COMPLETE:
            return run
        own, problem = read_evaluations(run.metrics_path)
        evaluations[str(run.folder)] = own
        problem = problem or changed_rows(run.metrics_path, run.rows_seal) or _gap(run, own)
        return replace(run, problems=(*run.problems, problem)) if problem else run

    return [replace(arm, runs=tuple(map(read, arm.runs))) for arm in arms], evaluations


def _gap(run: Run, evaluations: Sequence[Evaluation]) -> str | None:
    """Return a sentence where the last evaluation in the rows of a complete run is not that of its summary."""
    expected, accuracy = (run.figures.get(name) for name in ("last_evaluated_step", "val_accuracy"))
    last = evaluations[-1] if evaluations else None
    if run.status not in COMPLETE or expected is None:
        return None
    if last is None or last.step != expected:
        reached = "holds no evaluation" if last is None else f"last evaluation at step {last.step}"
        return f"{run.metrics_path}: {reached}, while summary.json has one at step {expected:.0f}"
    if accuracy is None or last.accuracy in (None, accuracy):
        return None
    both = f"accuracy/val {last.accuracy:g} at step {last.step}, while summary.json has {accuracy:g}"
    return f"{run.metrics_path}: {both}: one of them was changed"


def _columns(comparison: _Comparison) -> tuple[Column, ...]:
    known = {name for arm in comparison.arms for run in arm.finished for name in run.figures}
    balanced = [column for column in BALANCED if column.key in known]
    figures = [*(column for column, _ in FIGURES), *balanced, *RECOMPUTED]
    if known & set(AVERAGED):
        figures += AVERAGES
    if comparison.target is not None:
        header = f"epochs to {100 * comparison.target:g} % val"
        figures.append(Column(TARGET_KEY, header, "sample", give_up=8))
    all_finished = all(arm.finished == arm.runs for arm in comparison.arms)
    status = replace(STATUS, give_up=1) if all_finished else STATUS
    environment = [Column(name, name, audience="machines") for name in ENVIRONMENT]
    curve = [CURVE] if comparison.scales else []
    sizes = {arm.parameters for arm in comparison.arms} - {None}
    parameters = replace(PARAMETERS, audience="all" if len(sizes) > 1 else "machines")
    several = len(comparison.labels) > 1
    first = (NAME, *([DATA] if several else []), *_key_columns(comparison.keys), parameters)
    last = (*environment, SCORED_ON, *([] if several else [replace(DATA, audience="machines")]))
    return (*first, *curve, *figures, SEEDS, status, *last)


def _key_columns(keys: Sequence[str]) -> Iterator[Column]:
    """Make a column per config key; its last part is its short name where no other column has that."""
    taken = [NAME.key, NAME.header, PARAMETERS.key, STATUS.key, *ENVIRONMENT, *(key.rpartition(".")[2] for key in keys)]
    for key in keys:
        last = key.rpartition(".")[2]
        own = _column_key(key)
        yield Column(own, own, short=last if taken.count(last) == 1 else own)


def _column_key(key: str) -> str:
    """Keep a config's own top-level key, which another version may have, apart from the columns of figures."""
    return key if "." in key else f"config.{key}"


def _row(comparison: _Comparison, arm: Arm) -> Row:
    cells = {
        NAME.key: word(arm.name),
        DATA.key: Cell(comparison.labels[arm.data], arm.runs[0].data.fingerprint),
        SCORED_ON.key: word(arm.scored_on),
        SEEDS.key: Cell(str(len(arm.finished)), len(arm.finished)),
        STATUS.key: word(arm.status),
        PARAMETERS.key: Cell() if arm.parameters is None else Cell(f"{arm.parameters:,}", arm.parameters),
    }
    cells |= {_column_key(key): _value_cell((arm.config or {}).get(key)) for key in comparison.keys}
    for name in ENVIRONMENT:
        values = sorted({run.environment[name] for run in arm.runs if name in run.environment})
        cells[name] = Cell(" | ".join(values) or NOTHING, " | ".join(values) or None)
    percents = (*BALANCED, *RECOMPUTED, *AVERAGES)
    for column, shown in (*FIGURES, *((column, percent) for column in percents)):
        cells[column.key] = _figure_cell(comparison, arm, column.key, shown)
    if comparison.target is not None:
        cells[TARGET_KEY] = _target_cell(comparison, arm, comparison.target)
    if scale := comparison.scales.get(arm.scored_on):
        cells[CURVE.key] = Cell(scale.draw(_curve(arm, comparison.evaluations)) or NOTHING)
    return cells


def _value_cell(value: object) -> Cell:
    return Cell() if value is None else Cell(value if isinstance(value, str) else json.dumps(value), value)


def _figure_cell(comparison: _Comparison, arm: Arm, key: str, shown: Callable[..., str]) -> Cell:
    """Show mean and spread over finished runs; in parentheses, the figure of the newest run of an arm that has none."""
    sample = sample_of([run.figures[key] for run in arm.finished if key in run.figures])
    if sample is not None:
        return _sample_cell(sample, arm, shown)
    if arm.finished or arm.diverged or not arm.unfinished:
        return Cell()
    so_far = _so_far(comparison.evaluations.get(str(arm.shown[0].folder), ())).get(key)
    return Cell() if so_far is None else Cell(f"({shown(so_far)})")


def _sample_cell(sample: Sample, arm: Arm, shown: Callable[..., str]) -> Cell:
    """Show a mean with its spread; where not all seeds have the figure, how many do."""
    spread = "" if sample.std is None else f" ± {shown(sample.std, beside=sample.mean)}"
    part = "" if sample.n == len(arm.finished) else f" ({sample.n} of {len(arm.finished)})"
    return Cell(shown(sample.mean) + spread + part, sample=sample)


def _so_far(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return what an unfinished run has reached: the last evaluation, and the earliest of the best ones."""
    known = [(evaluation, evaluation.accuracy) for evaluation in evaluations if evaluation.accuracy is not None]
    if not known:
        return {}
    best, best_accuracy = max(known, key=lambda pair: pair[1])
    figures = {"val_accuracy": known[-1][1], "val_accuracy_best": best_accuracy}
    return figures | ({"best_epoch": best.epoch} if best.epoch is not None else {})


def _target_cell(comparison: _Comparison, arm: Arm, target: float) -> Cell:
    """Show the epochs to the target, as the mean over the seeds that got there."""
    known = [comparison.evaluations.get(str(run.folder), ()) for run in arm.finished]
    sample = sample_of([epoch for own in known if (epoch := _epochs_to(own, target)) is not None])
    if sample is None:
        status = arm.shown[0].status
        return Cell("never" if status == "finished" else f"{NOTHING} ({status})")
    return _sample_cell(sample, arm, epochs)


def _epochs_to(evaluations: Sequence[Evaluation], target: float) -> float | None:
    """Return the epoch of the first evaluation whose accuracy reaches the target."""
    return next((one.epoch for one in evaluations if one.accuracy is not None and one.accuracy >= target), None)


def _curve(arm: Arm, evaluations: Mapping[str, Sequence[Evaluation]]) -> list[float | None]:
    return mean_curve([evaluations.get(str(run.folder), ()) for run in arm.shown])


def _on_seeds(arms: Sequence[Arm]) -> Iterator[str]:
    most = max(len(arm.finished) for arm in arms)
    if most > 1:
        yield "± is the sample standard deviation of a run over n seeds, not of the mean; only finished runs enter"
    if most == 1:
        yield "n = 1: one seed is no finding. More of them: --seed 1-4 of bnexp train, or --seeds 5 of bnexp sweep"
    if most > 1 and (single := [arm.name for arm in arms if len(arm.finished) == 1]):
        yield f"n = 1: one seed is no finding ({_few(single)})"
    seeds = {tuple(sorted(run.seed for run in arm.finished if run.seed is not None)) for arm in arms if arm.finished}
    if len(seeds) > 1:
        paired = "only those in common are paired, and part of a difference is the seeds'"
        yield f"the arms were not all run with the same seeds: {paired}"
    if repeats := sum(arm.repeats for arm in arms):
        runs = "1 repeated run" if repeats == 1 else f"{repeats} repeated runs"
        yield f"{runs} left out: of runs with the same config and seed, the newest counts"


def _on_lengthened(arms: Sequence[Arm]) -> Iterator[str]:
    """Say whose test set was looked at before the end that counts."""
    runs = [(arm.name, run) for arm in arms for run in arm.finished if run.former_ends]
    if runs:
        which = f"{counted(len(runs), 'run')} ({_few([name for name, _ in runs])})"
        yield f"{which} had ended, and been scored on the test set, before being made longer: not its first look"


def _on_tuning(arms: Sequence[Arm]) -> Iterator[str]:
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


def _on_curves(comparison: _Comparison) -> Iterator[str]:
    for data, scale in comparison.scales.items():
        rows = "all rows"
        if len(comparison.scales) > 1:
            rows = (
                f"the rows of {next(comparison.labels[arm.data] for arm in comparison.arms if arm.scored_on == data)}"
            )
        yield _on_scale(scale, rows)


def _on_scale(scale: Scale, rows: str) -> str:
    each = "evaluation" if scale.per_mark == 1 else f"{scale.per_mark} evaluations"
    low, high = percent(scale.low), percent(scale.high)
    if scale.low == scale.high:
        return f"curve: validation accuracy, in {rows} {low} % at every evaluation"
    if scale.factor == 1:
        return f"curve: validation accuracy, in {rows} {low} to {high} % at every evaluation: {_DRAWN_ALIKE}"
    floor = f"; {_DRAWN_ALIKE}" if 1 - scale.high < LEAST_ERROR else ""
    return (
        f"curve: validation accuracy (mean over seeds), a mark per {each}; in {rows} ▁ is {low} %, █ is {high} %, "
        f"and a step up is {_fewer(scale.factor)} errors{floor}"
    )


_DRAWN_ALIKE = f"errors of less than {percent(LEAST_ERROR)} % are drawn as so many"


def _fewer(factor: float) -> str:
    """Say how many fewer errors are left after a step: in percent where `times` would round to 1."""
    return f"{factor:.3g} times fewer" if factor >= 2 else f"{100 * (1 - 1 / factor):.2g} % fewer"


def _on_unfinished(arms: Sequence[Arm]) -> Iterator[str]:
    if any(arm.unfinished and not arm.finished and not arm.diverged for arm in arms):
        yield "(in parentheses): reached so far by a run that has not finished; enters no mean"
    failed = [run for arm in arms for run in arm.unfinished if run.status == "failed"]
    reasons = [f"{run.folder} failed: {run.first_line_of_error or 'no reason is recorded'}" for run in failed]
    yield from at_most(reasons, _MOST_NOTES, "failed runs")


def _on_same_functions(arms: Sequence[Arm]) -> Iterator[str]:
    """Name the arms between which there is nothing to compare."""
    for names, exactly in same_functions(arms):
        who = _few(names)
        if exactly:
            yield f"{who} are one network in one training: on one machine, the same seed gives the same figures"
        else:
            yield f"{who} compute the same function, up to rounding: what lies between them is no effect of a norm"


def _on_environments(arms: Sequence[Arm]) -> Iterator[str]:
    """Warn where runs differ in their environment: it changes times, and accuracy a little."""
    differing = []
    for key in ENVIRONMENT:
        names = defaultdict[str, list[str]](list)
        for arm in arms:
            for value in sorted({run.environment[key] for run in arm.runs if key in run.environment}):
                names[value].append(arm.name)
        if len(names) > 1:
            differing.append(f"{key} " + ", ".join(f"{value} ({_few(who)})" for value, who in names.items()))
    if differing:
        yield f"differing environments, which alone change times and a little of the rest: {'; '.join(differing)}"


def _few(names: Sequence[str]) -> str:
    return first_few(list(dict.fromkeys(names)), 3)
