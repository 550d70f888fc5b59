"""Lay out the table of arms: its columns, and the cells of an arm from the figures of its runs or points of metrics."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bnexp.analysis.arms import Arm, column_key
from bnexp.analysis.curve import Scale, mean_curve
from bnexp.analysis.lagging import WITH_BOTH_STATISTICS
from bnexp.analysis.point_columns import Measured, point_cell, point_column
from bnexp.document.table import NOTHING, Cell, Column, Row, Sample, sample_of, word
from bnexp.document.writing import epochs, loss, mebibytes, milliseconds, percent, seconds
from bnexp.runs.columns import Evaluation
from bnexp.runs.run import AVERAGED, ENVIRONMENT, Run

NAME = Column("name", "arm")
"""The name in the config, which arms may share; `ARM` is a name that no other arm has, as in `bnexp export`."""
ARM = Column("arm", "arm", audience="machines")
DATA = Column("data_fingerprint", "data")
SCORED_ON = Column("scored_on", "scored on", audience="machines")
PARAMETERS = Column("parameters", "parameters", "number")
CURVE = Column("curve", "curve", "curve", give_up=7, audience="people")
SEEDS = Column("n", "n", "number", descending=True)
DIVERGED = Column("diverged", "diverged", "number", audience="machines")
STATUS = Column("status", "status")
DEVICE_MIB = Column("peak_device_mib", "GPU MiB", "sample", give_up=1)
RUN_MIB = Column("peak_run_mib", "peak MiB", "sample", give_up=1)
PROCESS_MIB = Column("peak_process_mib", "process MiB", "sample", audience="machines")
"""The largest memory on the GPU, of the process since the run began, and since it began itself: that only grows."""
FIGURES: tuple[tuple[Column, Callable[..., str]], ...] = (
    (Column("test_accuracy", "test %", "sample", descending=True), percent),
    (Column("test_accuracy_best", "test % of best", "sample", descending=True, give_up=4), percent),
    (Column("val_accuracy", "val % final", "sample", descending=True, give_up=6), percent),
    (Column("val_accuracy_best", "val % best", "sample", descending=True, give_up=5), percent),
    (Column("best_epoch", "best at epoch", "sample", give_up=3), epochs),
    (Column("train_loss", "train loss", "sample", give_up=2), loss),
    (Column("step_ms", "step ms", "sample", give_up=0), milliseconds),
    (DEVICE_MIB, mebibytes),
    (RUN_MIB, mebibytes),
    (PROCESS_MIB, mebibytes),
)
BALANCED = (
    Column("test_balanced_accuracy", "balanced test %", "sample", descending=True, give_up=9),
    Column("val_balanced_accuracy", "balanced val %", "sample", descending=True, give_up=6),
)
"""The mean recall of the classes, which runs have where these are unequal."""
RECOMPUTED = tuple(
    Column(f"{key}_recomputed", f"{header} recomputed", "sample", descending=True, audience="machines")
    for key, header in WITH_BOTH_STATISTICS.items()
)
AVERAGES = tuple(
    Column(key, header, "sample", descending=True, audience="machines")
    for key, header in ((key, key.replace("_accuracy", " %").replace("_", " ")) for key in AVERAGED)
)
TARGET_KEY, SECONDS_KEY = "epochs_to_target", "seconds_to_target"


@dataclass(frozen=True)
class Comparison:
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


def columns_of(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns of a table of arms: keys that differ, figures or points, and what programs want to know."""
    known = {name for arm in comparison.arms for run in arm.finished for name in run.figures}
    balanced = [column for column in BALANCED if column.key in known]
    averages = AVERAGES if known & set(AVERAGED) else ()
    shown = next((column for column in (DEVICE_MIB, RUN_MIB) if column.key in known), None)
    hidden = {column: replace(column, audience="machines") for column in (DEVICE_MIB, RUN_MIB) if column != shown}
    always = (hidden.get(column, column) for column, _ in FIGURES)
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
    last = (ARM, *environment, SCORED_ON, *([] if several else [replace(DATA, audience="machines")]))
    return (*first, *curve, *figures, SEEDS, DIVERGED, status, *last)


def _key_columns(keys: Sequence[str]) -> Iterator[Column]:
    """Make a column per config key; its last part is its short name where no other column has that."""
    taken = [NAME.key, NAME.header, PARAMETERS.key, STATUS.key, *ENVIRONMENT, *(key.rpartition(".")[2] for key in keys)]
    for key in keys:
        last = key.rpartition(".")[2]
        own = column_key(key)
        yield Column(own, own, short=last if taken.count(last) == 1 else own)


def row_of(comparison: Comparison, arm: Arm, name: str) -> Row:
    """Return the cells of an arm; no other has its `name`."""
    cells = {
        NAME.key: word(arm.name),
        ARM.key: word(name),
        DATA.key: Cell(comparison.labels[arm.data], arm.runs[0].data.fingerprint),
        SCORED_ON.key: word(arm.scored_on),
        SEEDS.key: Cell(str(len(arm.samples)), len(arm.samples)),
        DIVERGED.key: Cell(str(len(arm.diverged)), len(arm.diverged)),
        STATUS.key: word(arm.status),
        PARAMETERS.key: Cell() if arm.parameters is None else Cell(f"{arm.parameters:,}", arm.parameters),
    }
    cells |= {column_key(key): _value_cell((arm.config or {}).get(key)) for key in comparison.keys}
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
        cells[CURVE.key] = Cell(scale.draw(accuracies_of(arm, comparison.evaluations)) or NOTHING)
    return cells


def _value_cell(value: object) -> Cell:
    return Cell() if value is None else Cell(value if isinstance(value, str) else json.dumps(value), value)


def _figure_cell(comparison: Comparison, arm: Arm, key: str, shown: Callable[..., str]) -> Cell:
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
    comparison: Comparison,
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


def accuracies_of(arm: Arm, evaluations: Mapping[str, Sequence[Evaluation]]) -> list[float | None]:
    """Return the curve of an arm: the mean validation accuracy at each evaluation of its runs that are shown."""
    return mean_curve([evaluations.get(str(run.folder), ()) for run in arm.shown])
