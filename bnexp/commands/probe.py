"""`bnexp probe`: the expensive probes on the stored weights of a run, and the test set class by class."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.config.wording import brief, one_of
from bnexp.data.sources.place import data_folder
from bnexp.document.show import Output, show
from bnexp.document.table import NOTHING, Cell, Column, Table, word
from bnexp.document.writing import counted, percent
from bnexp.errors import BnexpError, ConfigError
from bnexp.runs.data import recorded_data_dir
from bnexp.runs.find import find_run
from bnexp.runs.run import COMPLETE, Run, read_run
from bnexp.runs.seal import read_config

if TYPE_CHECKING:
    from bnexp.inspection.classes import Confusion

WEIGHTS = ("final", "best", "ema")
_STEP = re.compile(r"step\d+")
_SO_FAR = {
    "final": "not finished, its newest weights",
    "best": "not finished, its best weights so far",
    "ema": "not finished, its averaged weights so far",
}
_NOT_FINITE = "nan, inf: what these finite weights do not define, such as a ratio to 0, or a value beyond the precision"
_MOST_IN_A_MATRIX = 12
"""Classes whose confusion matrix fits a terminal; of more, the most frequent confusions are listed."""
_MOST_CONFUSIONS = 12


def probe(
    path: str,
    *,
    probes: Sequence[str] = (),
    weights: str = "final",
    overrides: Sequence[str] = (),
    runs_dir: Path = Path("runs"),
    data_dir: Path | None = None,
    device: str = "auto",
    output: Output = "table",
) -> None:
    """Measure the stored weights of one run and print a figure per line.

    The arguments are those of `bnexp probe --help`.
    """
    if weights not in WEIGHTS and not _STEP.fullmatch(weights):
        raise ConfigError(f'--weights: expected {one_of((*WEIGHTS, "stepN"))}, found "{weights}"')
    folder = find_run(path, runs_dir)
    run = read_run(folder)

    # Only what computes pays for loading torch.
    from bnexp.inspection.classes import measure_classes
    from bnexp.inspection.stored import CLASSES, EXPENSIVE, probe_run

    _refuse_without_effect(overrides, probes or EXPENSIVE)
    place = data_dir or recorded_data_dir(folder) or data_folder(None)
    changed = read_config(folder)[1]
    if list(probes) == [CLASSES]:
        classes = measure_classes(folder, weights=weights, overrides=overrides, data_dir=place, device=device)
        stated = (_named(run, weights, classes.step), classes.on_data, changed)
        show(_class_table(classes, *stated), output, _confusions(classes))
        return
    measured = probe_run(folder, probes=probes, weights=weights, overrides=overrides, data_dir=place, device=device)
    if not measured.figures:
        raise BnexpError(f"{folder}: there is nothing in this network that the probes asked could measure")
    strange = measured.strange or ("" if all(map(math.isfinite, measured.figures.values())) else _NOT_FINITE)
    notes = (_named(run, weights, measured.step), strange, measured.on_data, changed)
    show(_table(measured.figures, *filter(None, notes)), output)


_OF_A_STEP = ("optimizer", "schedule", "training.epochs", "training.steps", "training.grad_clip", "training.ema")
"""What decides how a step is taken; of the probes on stored weights, only `landscape` asks for its length."""


def _refuse_without_effect(overrides: Sequence[str], asked: Sequence[str]) -> None:
    """Refuse a --set that no probe which is asked looks at: the figures would be taken for those of the change."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        section, _, below = key.partition(".")
        other_probe = section == "probes" and below.split(".")[0] not in ("", *asked)
        of_a_step = "landscape" not in asked and f"{key}.".startswith(tuple(f"{own}." for own in _OF_A_STEP))
        if section in ("name", "checkpoints", "init") or other_probe or of_a_step:
            instead = f"--probe {below.split('.')[0]}" if other_probe else "a new run: bnexp train CONFIG --set ..."
            raise ConfigError(f"--set {brief(override)} changes no figure of {one_of(list(asked))}; expected {instead}")


def _named(run: Run, weights: str, step: int) -> str:
    """Name the weights by the step after which they were stored; the newest ones that are left may be older."""
    which, steps = _SO_FAR.get(weights, "not finished, its weights"), run.figures.get("steps")
    if run.status in COMPLETE:
        which = f"the {weights} weights"
        if weights in ("final", "ema") and steps is not None and step < steps:
            lost = f"not the {weights} weights, after {counted(int(steps), 'step')}, whose checkpoint is missing"
            which = f"{lost}, but the newest that are left"
    return f"{run.folder}: {which}, after {counted(step, 'step')}"


def _table(figures: dict[str, float], *notes: str) -> Table:
    columns = (Column("quantity", "quantity"), Column("where", "where"), Column("value", "value", kind="number"))
    rows = []
    for name, value in figures.items():
        quantity, _, where = name.partition("/")
        rows.append({"quantity": word(quantity), "where": word(where), "value": Cell(f"{value:.4g}", value)})
    return Table(columns, tuple(rows), notes, layout="arms")


def _class_table(classes: "Confusion", *said: str | None) -> Table:
    """Return a row per class; for programs its whole row of the confusion matrix, too."""
    labels = range(len(classes.counts))
    columns = (
        Column("label", "class", audience="people"),
        Column("class", "class", "number", audience="machines"),
        Column("name", "name", audience="machines"),
        Column("examples", "examples", "number"),
        Column("recall", "recall %", "number"),
        Column("precision", "precision %", "number"),
        Column("taken_for", "most often taken for (examples)", audience="people"),
        Column("confused_with", "", "number", audience="machines"),
        *(Column(f"predicted_{label}", "", "number", audience="machines") for label in labels),
    )
    worst = {true: (taken, count) for true, taken, count in reversed(classes.mistakes())}
    rows = []
    for label, counts in enumerate(classes.counts):
        taken, count = worst.get(label, (None, 0))
        rows.append(
            {
                "label": word(_label(classes, label)),
                "class": Cell(str(label), label),
                "name": word(classes.names[label] if classes.names else str(label)),
                "examples": Cell(f"{sum(counts):,}", sum(counts)),
                "recall": _percent(classes.recall(label)),
                "precision": _percent(classes.precision(label)),
                "taken_for": Cell() if taken is None else word(f"{_label(classes, taken)} ({count:,})"),
                "confused_with": Cell(NOTHING, taken),
                **{f"predicted_{other}": Cell(f"{number:,}", number) for other, number in enumerate(counts)},
            }
        )
    notes = (
        *filter(None, said),
        f"test accuracy {percent(classes.accuracy)} %, balanced {percent(classes.balanced_accuracy)} % (mean recall)",
        "the test set is for reporting: what was chosen by this table needs another one",
    )
    return Table(columns, tuple(rows), notes)


def _confusions(classes: "Confusion") -> Table:
    """Return the confusion matrix, or of many classes what they are most often taken for."""
    if len(classes.counts) <= _MOST_IN_A_MATRIX:
        columns = (
            Column("true", ""),
            *(Column(str(label), str(label), "number") for label in range(len(classes.counts))),
        )
        rows = tuple(
            {"true": word(_label(classes, label)), **{str(taken): Cell(f"{n:,}", n) for taken, n in enumerate(counts)}}
            for label, counts in enumerate(classes.counts)
        )
        return Table(columns, rows, title="examples of the class (row) taken for the class (column)", layout="numbers")
    columns = (Column("true", "class"), Column("taken", "taken for"), Column("examples", "examples", "number"))
    rows = tuple(
        {"true": word(_label(classes, true)), "taken": word(_label(classes, taken)), "examples": Cell(f"{n:,}", n)}
        for true, taken, n in classes.mistakes()[:_MOST_CONFUSIONS]
    )
    return Table(columns, rows, title="the most frequent confusions; --format csv and json have all")


def _label(classes: "Confusion", label: int) -> str:
    return f"{label} {classes.names[label]}" if classes.names else str(label)


def _percent(fraction: float | None) -> Cell:
    return Cell() if fraction is None else Cell(percent(fraction), fraction)
