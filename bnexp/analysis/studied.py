"""Gather runs for a plot: arms with one run a seed, their metrics, and what cannot be drawn in words."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.analysis.arms import Arm, gather_arms, told_apart
from bnexp.analysis.over_seeds import one_a_seed
from bnexp.analysis.points import MetricPoint, logged_metrics
from bnexp.analysis.selection import without_tuning
from bnexp.config.metrics import OF_PROBES
from bnexp.document.plots import Axis
from bnexp.document.writing import counted, first_few
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.columns import Columns, read_columns
from bnexp.runs.run import COMPLETE, Run

_PARTS = {"val": "validation", "train": "training", "test": "test"}
_SHOWN = 6


@dataclass(frozen=True)
class Studied:
    """The arms of a plot, with one run a seed, and sentences on the runs that are not drawn as the others are."""

    arms: Sequence[tuple[Arm, Sequence[Run]]]
    notes: Sequence[str]

    @property
    def runs(self) -> list[Run]:
        """All runs, in the order of their arms."""
        return [run for _, runs in self.arms for run in runs]


def studied(runs: Iterable[Run]) -> Studied:
    """Gather runs into arms with names of their own, without the runs that only tuned a sweep."""
    kept, notes = without_tuning(runs)
    arms = told_apart(gather_arms(kept))
    notes += [
        f"{arm.name}: {counted(len(arm.left_out), 'older run')} of the same seeds left out"
        for arm in arms
        if arm.left_out
    ]
    return Studied([(arm, one_a_seed(arm)) for arm in arms], notes)


def unfinished_notes(study: Studied, how: str) -> list[str]:
    """Say which runs have not come to their end, and how they count."""
    notes = []
    for arm, runs in study.arms:
        by_status = defaultdict[str, list[str]](list)
        for run in runs:
            if run.status not in COMPLETE:
                by_status[run.status].append("?" if run.seed is None else str(run.seed))
        notes += [f"{arm.name}: seed {first_few(seeds, _SHOWN)} {status}: {how}" for status, seeds in by_status.items()]
    return notes


def on_silent(study: Studied, logged: Mapping[Path, object], what: str) -> list[str]:
    """Say which runs logged nothing of what is drawn; `logged` has what each did, by folder."""
    silent = {arm.name: [run for run in runs if not logged.get(run.folder)] for arm, runs in study.arms}
    counts = {arm.name: len(runs) for arm, runs in study.arms}
    return [
        f"{name}: {len(own)} of {counted(counts[name], 'run')} logged no {what}" for name, own in silent.items() if own
    ]


def not_logged(metric: str, runs: Sequence[Run]) -> ConfigError:
    """Return the error that none of some runs has a metric; it names the probe that measures it."""
    known = dict.fromkeys(name for run in runs[:3] for name in logged_metrics(run))
    kind = metric.partition("/")[0]
    probe = next((probe for probe, kinds in OF_PROBES.items() if kind in kinds), None)
    found = f"{metric}: none of {counted(len(runs), 'run')} logged it."
    ends = [run.divergence for run in runs if run.divergence]
    found += f" All diverged, one at {ends[0]}." if len(ends) == len(runs) else ""
    if probe and not any(name.partition("/")[0] == kind for name in known):
        return ConfigError(f"{found} The probe {probe} measures it: train with --set probes.{probe}.per_decade=10")
    hint = did_you_mean(metric, known) or f" Logged are such as {first_few(list(known), 4)}" if known else ""
    return ConfigError(found + hint)


def described(metric: str) -> Axis:
    """Return the axis of a metric: `validation accuracy (%)` for accuracy/val."""
    return described_at(MetricPoint(metric))


def described_at(point: MetricPoint) -> Axis:
    """Return the axis of a metric at a point: `validation accuracy, best (%)` for accuracy/val:best."""
    if point.goal is not None:
        return Axis(point.header)
    metric = point.metric
    quantity, _, where = metric.partition("/")
    name = f"{_PARTS[where]} {quantity.replace('_', ' ')}" if where in _PARTS else metric.replace("_", " ")
    name += "" if point.point == "last" else f", {point.point}"
    unit = "nats" if quantity in ("loss", "loss_by_mode") else {"fraction": "%", "ms": "ms"}.get(point.unit, "")
    return Axis(f"{name} ({unit})" if unit else name, percent=point.unit == "fraction")


def columns_by_run(runs: Sequence[Run], names: Sequence[str]) -> tuple[dict[Path, Columns], list[str]]:
    """Read metrics of runs, by their folders, and say what is wrong with the files."""
    folders = [run.folder for run in runs]
    read = read_columns(folders, names, {run.folder: run.rows_seal for run in runs})
    return dict(zip(folders, read, strict=True)), [columns.problem for columns in read if columns.problem]


def capital(text: str) -> str:
    """Return text with a capital letter first."""
    return text[:1].upper() + text[1:]
