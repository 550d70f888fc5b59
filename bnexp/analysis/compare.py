"""Compare arms: which config keys differ, what each arm reached over its seeds, and what limits the comparison."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bnexp.analysis.arms import Arm, differing_keys, gather_arms, told_apart
from bnexp.analysis.curve import Scale, common_scale, mean_curve, on_curves
from bnexp.analysis.datasets import labels_of, on_data
from bnexp.analysis.differences import (
    DEFAULT_POINTS,
    difference_cells,
    difference_column,
    difference_table,
    differences_of,
    with_baseline,
)
from bnexp.analysis.lagging import WITH_BOTH_STATISTICS, on_averages, on_lagging
from bnexp.analysis.notes import (
    MOST_NOTES,
    on_diverged,
    on_environments,
    on_lengthened,
    on_lengths,
    on_same_functions,
    on_seeds,
    on_tuning,
    on_unfinished,
)
from bnexp.analysis.point_columns import Measured, measure, point_cell, point_column
from bnexp.analysis.rates import RateAxis, rate_axes, rate_table
from bnexp.analysis.selection import config_key, pool, where, without_tuning
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
from bnexp.document.writing import at_most, epochs, loss, mebibytes, milliseconds, percent, seconds
from bnexp.runs.columns import Evaluation, read_evaluations
from bnexp.runs.run import AVERAGED, COMPLETE, ENVIRONMENT, Run

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
DIVERGED = Column("diverged", "diverged", "number", audience="machines")
STATUS = Column("status", "status")
DEVICE_MIB = Column("peak_device_mib", "GPU MiB", "sample", give_up=-1)
PROCESS_MIB = Column("peak_process_mib", "process MiB", "sample", audience="machines")
"""The largest memory on the GPU, and of the process since it began: of runs one after the other, it only grows."""
FIGURES: tuple[tuple[Column, Callable[..., str]], ...] = (
    (Column("test_accuracy", "test %", "sample", "fraction", descending=True), percent),
    (Column("test_accuracy_best", "test % of best", "sample", "fraction", descending=True, give_up=4), percent),
    (Column("val_accuracy", "val % final", "sample", "fraction", descending=True, give_up=6), percent),
    (Column("val_accuracy_best", "val % best", "sample", "fraction", descending=True, give_up=5), percent),
    (Column("best_epoch", "best at epoch", "sample", give_up=3), epochs),
    (Column("train_loss", "train loss", "sample", give_up=2), loss),
    (Column("step_ms", "step ms", "sample", give_up=0), milliseconds),
    (DEVICE_MIB, mebibytes),
    (PROCESS_MIB, mebibytes),
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
TARGET_KEY, SECONDS_KEY = "epochs_to_target", "seconds_to_target"


_NOTHING_MEASURED = Measured()


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
    measured: Measured


def compare_runs(
    runs: Iterable[Run],
    *,
    target: float | None = None,
    with_curves: bool = True,
    sort: str | None = None,
    keys: Sequence[str] = (),
    notes: Sequence[str] = (),
    conditions: Sequence[str] = (),
    group_by: Sequence[str] = (),
    columns: str = "",
    baseline: str | None = None,
) -> list[Table]:
    """Return one row per arm of some runs, sorted; and where arms differ in their learning rate, a row per its best.

    Runs that only tuned a sweep are left out where there are others.

    Args:
        runs: one at least.
        target: as for `compare_arms`, with `with_curves` and `keys`.
        with_curves: draws the validation accuracy.
        sort: the name of a column; by default the validation accuracy.
        keys: of the config, which have a column even where no arm differs in them.
        notes: sentences about the runs, ahead of those about the table.
        conditions: on the config, such as `model.norm=bn`, that the runs must fulfil.
        group_by: keys of the config; arms of equal values are pooled.
        columns: points of metrics, such as `accuracy/val:best, loss/train:last`, in the place of the usual figures.
        baseline: the name of the arm with which the others are compared, at those points or in test accuracy.

    Raises:
        ConfigError: there is no such column, key, metric or arm, or no run fulfils the conditions.
    """
    chosen, on_choice = where(list(runs), conditions)
    kept, left_out = without_tuning(chosen)
    arms, on_pool = gather_arms(kept), list[str]()
    rates = None if group_by else rate_table(arms)
    if group_by:
        keys = [config_key(name, kept, f"--group-by {name}") for name in group_by]
        arms, on_pool = pool(arms, keys)
    points, values, on_points = measure(arms, columns or (DEFAULT_POINTS if baseline else ""))
    measured = Measured(points, values) if columns else Measured()
    table = compare_arms(arms, target=target, with_curves=with_curves and not columns, keys=keys, measured=measured)
    differences = None
    if baseline:
        axes = [] if group_by else rate_axes(arms)
        table, differences = _with_differences(table, told_apart(arms), axes, baseline, Measured(points, values))
    table = replace(table, notes=(*notes, *on_choice, *left_out, *on_pool, *on_points, *table.notes))
    sortable = [column for column in table.columns if column.kind != "curve" and column.header]
    order = find_column(sortable, sort or (str(points[0]) if columns else DEFAULT_SORT))
    table = together(sort_rows(table, order), SCORED_ON)
    return [table, *filter(None, [differences, rates])]


def _with_differences(
    table: Table, arms: Sequence[Arm], axes: Sequence[RateAxis], baseline: str, measured: Measured
) -> tuple[Table, Table]:
    """Return the table with the differences to the baseline in columns for programs, and a table of them for people."""
    beside, others = with_baseline(arms, axes, baseline)
    found, notes = differences_of(others, beside, measured.points, measured.values)
    rows = [{**row, **difference_cells(found, arm)} for row, arm in zip(table.rows, arms, strict=True)]
    more = replace(table, rows=tuple(rows), columns=(*table.columns, *map(difference_column, measured.points)))
    how = "" if any(beside is arm for arm in arms) else "each arm at its own best learning rate"
    return more, difference_table(found, beside, notes, how)


def compare_arms(
    arms: Sequence[Arm],
    *,
    target: float | None = None,
    with_curves: bool = True,
    keys: Sequence[str] = (),
    measured: Measured = _NOTHING_MEASURED,
) -> Table:
    """Return one row per arm, in the order given, with a column for each key in which they differ, and for `keys`.

    Where points were measured, they stand in the place of the usual figures. A target, a fraction, adds the epochs and
    seconds that it took to reach that validation accuracy; with a target or curves of the validation accuracy, every
    run's metrics.jsonl is read.
    """
    arms, evaluations = _with_evaluations(arms, everything=with_curves or target is not None)
    curves = [_curve(arm, evaluations) for arm in arms] if with_curves else []
    scales = {
        data: scale
        for data in dict.fromkeys(arm.scored_on for arm in arms)
        if (scale := common_scale([curve for arm, curve in zip(arms, curves, strict=False) if arm.scored_on == data]))
    }
    keys = list(dict.fromkeys([*differing_keys(arms), *keys]))
    comparison = _Comparison(arms, keys, target, evaluations, scales, labels_of(arms), measured)
    rows = tuple(_row(comparison, arm) for arm in arms)
    problems = [problem for arm in arms for run in arm.runs for problem in run.problems]
    on_records = at_most(problems, MOST_NOTES, "problems with records")
    arms = told_apart(arms)
    on_arms = (*on_same_functions(arms), *on_unfinished(arms), *on_environments(arms))
    on_usual = () if measured.points else (*on_lagging(arms), *on_averages(arms))
    on_figures = (*on_usual, *on_curves(arms, scales, comparison.labels))
    notes = (
        *on_data(arms),
        *on_seeds(arms, intervals=bool(measured.points)),
        *on_diverged(arms),
        *on_lengths(arms),
        *on_tuning(arms),
        *on_lengthened(arms),
        *on_figures,
        *on_arms,
        *on_records,
    )
    return Table(_columns(comparison), rows, notes, layout="arms")


def _with_evaluations(arms: Sequence[Arm], *, everything: bool) -> tuple[list[Arm], dict[str, Sequence[Evaluation]]]:
    """Read the evaluations of all runs, or only of those without a summary; returns arms with the problems found."""
    evaluations: dict[str, Sequence[Evaluation]] = {}

    def read(run: Run) -> Run:
        if not everything and run.status in COMPLETE:
            return run
        own, problem = read_evaluations(run.metrics_path, run.rows_seal)
        evaluations[str(run.folder)] = own
        problem = problem or _gap(run, own)
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
    averages = AVERAGES if known & set(AVERAGED) else ()
    device = replace(DEVICE_MIB, audience="all" if DEVICE_MIB.key in known else "machines")
    always = (device if column == DEVICE_MIB else column for column, _ in FIGURES)
    usual = [*always, *balanced, *RECOMPUTED, *averages]
    figures = list(map(point_column, comparison.measured.points)) or usual
    if comparison.target is not None:
        target = f"to {100 * comparison.target:g} % val"
        figures.append(Column(TARGET_KEY, f"epochs {target}", "sample", give_up=8))
        figures.append(Column(SECONDS_KEY, f"seconds {target}", "sample", give_up=1))
    all_finished = all(arm.finished == arm.runs for arm in comparison.arms)
    status = replace(STATUS, give_up=1) if all_finished else STATUS
    environment = [Column(name, name, audience="machines") for name in ENVIRONMENT]
    curve = [CURVE] if comparison.scales else []
    sizes = {arm.parameters for arm in comparison.arms} - {None}
    parameters = replace(PARAMETERS, audience="all" if len(sizes) > 1 else "machines")
    several = len(comparison.labels) > 1
    first = (NAME, *([DATA] if several else []), *_key_columns(comparison.keys), parameters)
    last = (*environment, SCORED_ON, *([] if several else [replace(DATA, audience="machines")]))
    return (*first, *curve, *figures, SEEDS, DIVERGED, status, *last)


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
        SEEDS.key: Cell(str(len(arm.samples)), len(arm.samples)),
        DIVERGED.key: Cell(str(len(arm.diverged)), len(arm.diverged)),
        STATUS.key: word(arm.status),
        PARAMETERS.key: Cell() if arm.parameters is None else Cell(f"{arm.parameters:,}", arm.parameters),
    }
    cells |= {_column_key(key): _value_cell((arm.config or {}).get(key)) for key in comparison.keys}
    for name in ENVIRONMENT:
        values = sorted({run.environment[name] for run in arm.runs if name in run.environment})
        cells[name] = Cell(" | ".join(values) or NOTHING, " | ".join(values) or None)
    for point in comparison.measured.points:
        cells[str(point)] = point_cell(arm, point, comparison.measured.values[point])
    percents = (*BALANCED, *RECOMPUTED, *AVERAGES)
    for column, shown in (*FIGURES, *((column, percent) for column in percents)):
        cells[column.key] = _figure_cell(comparison, arm, column.key, shown)
    if comparison.target is not None:
        cells[TARGET_KEY] = _target_cell(comparison, arm, comparison.target, _epochs, epochs)
        cells[SECONDS_KEY] = _target_cell(comparison, arm, comparison.target, _seconds, seconds)
    if scale := comparison.scales.get(arm.scored_on):
        cells[CURVE.key] = Cell(scale.draw(_curve(arm, comparison.evaluations)) or NOTHING)
    return cells


def _value_cell(value: object) -> Cell:
    return Cell() if value is None else Cell(value if isinstance(value, str) else json.dumps(value), value)


def _figure_cell(comparison: _Comparison, arm: Arm, key: str, shown: Callable[..., str]) -> Cell:
    """Show mean and spread over finished runs; in parentheses, the figure of the newest run of an arm that has none."""
    sample = sample_of(arm.sampled(lambda run: run.figures.get(key)))
    if sample is not None:
        return _sample_cell(sample, arm, shown)
    if arm.finished or arm.diverged or not arm.unfinished:
        return Cell()
    so_far = _so_far(comparison.evaluations.get(str(arm.shown[0].folder), ())).get(key)
    return Cell() if so_far is None else Cell(f"({shown(so_far)})")


def _sample_cell(sample: Sample, arm: Arm, shown: Callable[..., str]) -> Cell:
    """Show a mean with its spread; where not all seeds have the figure, how many do."""
    spread = "" if sample.std is None else f" ± {shown(sample.std, beside=sample.mean)}"
    part = "" if sample.n == len(arm.samples) else f" ({sample.n} of {len(arm.samples)})"
    return Cell(shown(sample.mean) + spread + part, sample=sample)


def _so_far(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return what an unfinished run has reached: the last evaluation, and the earliest of the best ones."""
    known = [(evaluation, evaluation.accuracy) for evaluation in evaluations if evaluation.accuracy is not None]
    if not known:
        return {}
    best, best_accuracy = max(known, key=lambda pair: pair[1])
    figures = {"val_accuracy": known[-1][1], "val_accuracy_best": best_accuracy}
    return figures | ({"best_epoch": best.epoch} if best.epoch is not None else {})


def _target_cell(
    comparison: _Comparison,
    arm: Arm,
    target: float,
    cost: Callable[[Run, Evaluation], float | None],
    shown: Callable[..., str],
) -> Cell:
    """Show the cost of the target, as the mean over the seeds that got there."""

    def reached(run: Run) -> float | None:
        own = comparison.evaluations.get(str(run.folder), ())
        first = next((one for one in own if one.accuracy is not None and one.accuracy >= target), None)
        return None if first is None else cost(run, first)

    sample = sample_of(arm.sampled(reached))
    if sample is None:
        status = arm.shown[0].status
        return Cell("never" if status == "finished" else f"{NOTHING} ({status})")
    return _sample_cell(sample, arm, shown)


def _epochs(run: Run, evaluation: Evaluation) -> float | None:
    return evaluation.epoch


def _seconds(run: Run, evaluation: Evaluation) -> float | None:
    """Return the seconds that the steps up to an evaluation took, without measuring and evaluating."""
    step_ms = run.figures.get("step_ms")
    return None if step_ms is None else evaluation.step * step_ms / 1000


def _curve(arm: Arm, evaluations: Mapping[str, Sequence[Evaluation]]) -> list[float | None]:
    return mean_curve([evaluations.get(str(run.folder), ()) for run in arm.shown])
