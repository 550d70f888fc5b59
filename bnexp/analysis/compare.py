"""Compares arms: which config keys differ, and what each arm reached, as mean and spread over its seeds."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bnexp.analysis.arms import Arm, differing_keys
from bnexp.analysis.compare_notes import notes_of
from bnexp.analysis.curve import Scale, common_scale, mean_curve
from bnexp.document.table import NOTHING, Cell, Column, Row, Sample, Table, sample_of, word
from bnexp.document.writing import epochs, loss, milliseconds, percent
from bnexp.runs.reading import Evaluation, read_evaluations
from bnexp.runs.run import COMPLETE, ENVIRONMENT, Run

DEFAULT_SORT = "val_accuracy"
"""Accuracy on the test set with the last weights: no choice went into it, neither of an epoch nor of a run."""

NAME = Column("name", "arm")
CURVE = Column("curve", "curve", "curve", give_up=6, audience="people")
SEEDS = Column("n", "n", "number", descending=True)
STATUS = Column("status", "status")
FIGURES: tuple[tuple[Column, Callable[..., str]], ...] = (
    (Column("test_accuracy", "test %", "sample", "fraction", descending=True), percent),
    (Column("test_accuracy_best", "test % of best", "sample", "fraction", descending=True, give_up=3), percent),
    (Column("val_accuracy", "val % final", "sample", "fraction", descending=True, give_up=2), percent),
    (Column("val_accuracy_best", "val % best", "sample", "fraction", descending=True, give_up=4), percent),
    (Column("best_epoch", "best at epoch", "sample", give_up=1), epochs),
    (Column("train_loss", "train loss", "sample", give_up=0), loss),
    (Column("step_ms", "step ms", "sample", give_up=5), milliseconds),
)
TARGET_KEY = "epochs_to_target"


@dataclass(frozen=True)
class _Comparison:
    """What the cells are made from."""

    arms: Sequence[Arm]
    keys: Sequence[str]
    target: float | None
    evaluations: Mapping[str, Sequence[Evaluation]]
    """by the run's folder"""
    scale: Scale | None


def compare_arms(arms: Sequence[Arm], *, target: float | None = None, with_curves: bool = True) -> Table:
    """Return one row per arm, in the order given.

    Args:
        arms: what `gather_arms` made of the runs.
        target: validation accuracy, a fraction; adds the epochs that it took to reach it.
        with_curves: add a curve of the validation accuracy; this reads every run's metrics.jsonl.
    """
    arms, evaluations = _with_evaluations(arms, everything=with_curves or target is not None)
    curves = [_curve(arm, evaluations) for arm in arms] if with_curves else []
    comparison = _Comparison(arms, differing_keys(arms), target, evaluations, common_scale(curves))
    rows = tuple(_row(comparison, arm) for arm in arms)
    return Table(_columns(comparison), rows, notes_of(arms, comparison.scale), layout="arms")


def _with_evaluations(arms: Sequence[Arm], *, everything: bool) -> tuple[list[Arm], dict[str, Sequence[Evaluation]]]:
    """Read evaluations where they are needed: everywhere, or only where no summary tells what was reached."""
    evaluations: dict[str, Sequence[Evaluation]] = {}

    def read(run: Run) -> Run:
        if not everything and run.status in COMPLETE:
            return run
        found, problem = read_evaluations(run.metrics_path)
        evaluations[str(run.folder)] = found
        problem = problem or _gap(run, found)
        return replace(run, problems=(*run.problems, problem)) if problem else run

    read_arms = [
        replace(
            arm,
            finished=tuple(map(read, arm.finished)),
            diverged=tuple(map(read, arm.diverged)),
            unfinished=tuple(map(read, arm.unfinished)),
        )
        for arm in arms
    ]
    return read_arms, evaluations


def _gap(run: Run, found: Sequence[Evaluation]) -> str | None:
    """Say where the rows of a complete run do not go as far as its summary says."""
    expected = run.figures.get("last_evaluated_step")
    last = found[-1].step if found else None
    if run.status not in COMPLETE or expected is None or last == expected:
        return None
    reached = "holds no evaluation" if last is None else f"last evaluation at step {last}"
    return f"{run.metrics_path}: {reached}, while summary.json tells of one at step {expected:.0f}"


def _columns(comparison: _Comparison) -> tuple[Column, ...]:
    figures = [column for column, _ in FIGURES]
    if comparison.target is not None:
        header = f"epochs to {100 * comparison.target:g} % val"
        figures.append(Column(TARGET_KEY, header, "sample", give_up=7))
    all_finished = all(arm.finished == arm.runs for arm in comparison.arms)
    status = replace(STATUS, give_up=-1, redundant=True) if all_finished else STATUS
    environment = [Column(name, name, audience="machines") for name in ENVIRONMENT]
    keys = _key_columns(comparison.keys)
    curve = [CURVE] if comparison.scale else []
    return (NAME, *keys, *curve, *figures, SEEDS, status, *environment)


def _key_columns(keys: Sequence[str]) -> Iterator[Column]:
    """Make a column per config key; its last part is its short name where no other column has that."""
    taken = [NAME.key, NAME.header, STATUS.key, *ENVIRONMENT, *(key.rpartition(".")[2] for key in keys)]
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
        SEEDS.key: Cell(str(len(arm.finished)), len(arm.finished)),
        STATUS.key: word(arm.status),
    }
    cells |= {_column_key(key): _value_cell((arm.config or {}).get(key)) for key in comparison.keys}
    for name in ENVIRONMENT:
        values = sorted({run.environment[name] for run in arm.runs if name in run.environment})
        cells[name] = Cell(" | ".join(values) or NOTHING, " | ".join(values) or None)
    for column, shown in FIGURES:
        cells[column.key] = _figure_cell(comparison, arm, column.key, shown)
    if comparison.target is not None:
        cells[TARGET_KEY] = _target_cell(comparison, arm, comparison.target)
    if comparison.scale:
        drawn = comparison.scale.draw(_curve(arm, comparison.evaluations))
        cells[CURVE.key] = Cell(drawn or NOTHING)
    return cells


def _value_cell(value: object) -> Cell:
    if value is None:
        return Cell()
    return Cell(value if isinstance(value, str) else json.dumps(value), value)


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
    known = [(one, one.accuracy) for one in evaluations if one.accuracy is not None]
    if not known:
        return {}
    best, best_accuracy = max(known, key=lambda pair: pair[1])
    figures = {"val_accuracy": known[-1][1], "val_accuracy_best": best_accuracy}
    return figures | ({"best_epoch": best.epoch} if best.epoch is not None else {})


def _target_cell(comparison: _Comparison, arm: Arm, target: float) -> Cell:
    """Show the epochs to the target, as the mean over the seeds that got there."""
    reached = [_epochs_to(comparison.evaluations.get(str(run.folder), ()), target) for run in arm.finished]
    sample = sample_of([value for value in reached if value is not None])
    if sample is None:
        status = arm.shown[0].status
        return Cell("never" if status == "finished" else f"{NOTHING} ({status})")
    return _sample_cell(sample, arm, epochs)


def _epochs_to(evaluations: Sequence[Evaluation], target: float) -> float | None:
    """Return the epoch of the first evaluation whose accuracy reaches the target."""
    return next((one.epoch for one in evaluations if one.accuracy is not None and one.accuracy >= target), None)


def _curve(arm: Arm, evaluations: Mapping[str, Sequence[Evaluation]]) -> list[float | None]:
    return mean_curve([evaluations.get(str(run.folder), ()) for run in arm.shown])
