"""Compare arms: which config keys differ, what each arm reached over its seeds, and what limits the comparison."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bnexp.analysis.arm_rows import SCORED_ON, Comparison, accuracies_of, columns_of, row_of
from bnexp.analysis.arms import Arm, differing_keys, gather_arms, told_apart
from bnexp.analysis.curve import common_scale, on_curves
from bnexp.analysis.datasets import labels_of, on_data
from bnexp.analysis.differences import DEFAULT_POINTS, with_differences
from bnexp.analysis.lagging import on_averages, on_lagging
from bnexp.analysis.notes import (
    MOST_NOTES,
    on_diverged,
    on_environments,
    on_lengthened,
    on_lengths,
    on_same_functions,
    on_seeds,
    on_stacked,
    on_tuning,
    on_unfinished,
)
from bnexp.analysis.point_columns import Measured, measure
from bnexp.analysis.points import figure_of
from bnexp.analysis.rates import rate_axes, rate_table
from bnexp.analysis.selection import config_key, pool, where, without_tuning
from bnexp.document.table import Column, Table, find_column, sort_rows
from bnexp.document.writing import at_most
from bnexp.errors import ConfigError
from bnexp.runs.columns import Evaluation, of_each_file, read_evaluations
from bnexp.runs.folder import METRICS
from bnexp.runs.run import COMPLETE, Run

DEFAULT_SORT = "val_accuracy"
"""Mean accuracy on the validation part with the last weights, over finished runs: those that diverged do not lower it.

To order by the test set would be to choose on it. The order is no verdict: arms closer than their scatter stand in some
order, too."""

_NOTHING_MEASURED = Measured()


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
    arms, keys, on_choice = _arms_of(list(runs), conditions, keys, group_by)
    rates = None if group_by else rate_table(arms)
    measured, on_points = measure(arms, columns or (DEFAULT_POINTS if baseline else ""))
    shown = measured if columns else Measured()
    table = compare_arms(arms, target=target, with_curves=with_curves and not columns, keys=keys, measured=shown)
    differences = None
    if baseline:
        axes = [] if group_by else rate_axes(arms)
        table, differences = with_differences(table, told_apart(arms), axes, baseline, measured)
    table = replace(table, notes=(*notes, *on_choice, *on_points, *table.notes))
    by_default = str(measured.points[0]) if columns else DEFAULT_SORT
    table = sort_rows(table, _order_of(table, sort or by_default, shown), SCORED_ON)
    return [table, *filter(None, [differences, rates])]


def _order_of(table: Table, sort: str, shown: Measured) -> Column:
    """Return the column to sort by; a point of a metric may be called by the column that has its value.

    Raises:
        ConfigError: there is none.
    """
    sortable = [column for column in table.columns if column.kind != "curve"]
    try:
        return find_column(sortable, sort)
    except ConfigError as error:
        figure = figure_of(sort)
        if figure in [column.key for column in sortable]:
            return find_column(sortable, str(figure))
        if "/" not in sort:
            raise
        points = ",".join([*map(str, shown.points), sort])
        raise ConfigError(f"{error}. A metric is a column by: --columns {points}") from None


def _arms_of(
    runs: Sequence[Run], conditions: Sequence[str], keys: Sequence[str], group_by: Sequence[str]
) -> tuple[Sequence[Arm], Sequence[str], list[str]]:
    """Return the arms of the runs that are asked for, the keys that have a column, and notes on what was left out."""
    chosen, on_choice = where(runs, conditions)
    kept, left_out = without_tuning(chosen)
    arms, on_pool = gather_arms(kept), list[str]()
    if group_by:
        keys = [config_key(name, kept, f"--group-by {name}") for name in group_by]
        arms, on_pool = pool(arms, keys)
    return arms, keys, [*on_choice, *left_out, *on_pool]


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
    curves = [accuracies_of(arm, evaluations) for arm in arms] if with_curves else []
    scales = {
        data: scale
        for data in dict.fromkeys(arm.scored_on for arm in arms)
        if (scale := common_scale([curve for arm, curve in zip(arms, curves, strict=False) if arm.scored_on == data]))
    }
    keys = list(dict.fromkeys([*differing_keys(arms), *keys]))
    comparison = Comparison(arms, keys, target, evaluations, scales, labels_of(arms), measured)
    rows = tuple(row_of(comparison, arm, told.name) for arm, told in zip(arms, told_apart(arms), strict=True))
    return Table(columns_of(comparison), rows, tuple(_notes(comparison)), layout="arms")


def _notes(comparison: Comparison) -> Iterator[str]:
    """Say what limits the comparison, and what its figures are."""
    arms, points = told_apart(comparison.arms), comparison.measured.points
    yield from on_data(arms)
    yield from on_seeds(arms, intervals=bool(points))
    for notes in (on_diverged, on_lengths, on_tuning, on_lengthened, *(() if points else (on_lagging, on_averages))):
        yield from notes(arms)
    yield from on_curves(arms, comparison.scales, comparison.labels)
    for notes in (on_same_functions, on_unfinished, on_environments):
        yield from notes(arms)
    if not points or any(point.metric.startswith("step_ms/") for point in points):
        yield from on_stacked(arms)
    problems = [problem for arm in arms for run in arm.runs for problem in run.problems]
    yield from at_most(problems, MOST_NOTES, "problems with records")


def _with_evaluations(arms: Sequence[Arm], *, everything: bool) -> tuple[list[Arm], dict[str, Sequence[Evaluation]]]:
    """Read the evaluations of all runs, or only of those without a summary; returns arms with the problems found."""
    chosen = [run for arm in arms for run in arm.runs if everything or run.status not in COMPLETE]
    seals = {run.folder: run.rows_seal for run in chosen}
    found = of_each_file(lambda folder: read_evaluations(folder / METRICS, seals[folder]), list(seals), METRICS)
    by_folder = dict(zip(seals, found, strict=True))

    def with_problem(run: Run) -> Run:
        own, problem = by_folder.get(run.folder, ((), None))
        problem = problem or (_gap(run, own) if run.folder in by_folder else None)
        return replace(run, problems=(*run.problems, problem)) if problem else run

    with_problems = [replace(arm, runs=tuple(map(with_problem, arm.runs))) for arm in arms]
    return with_problems, {str(folder): own for folder, (own, _) in by_folder.items()}


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
