"""Makes the report of some runs: question, verdicts, table, figures, configs, environment and how to reproduce it."""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bnexp.analysis.arms import Arm, differing_keys, gather_arms, told_apart
from bnexp.analysis.compare import compare_runs, without_tuning
from bnexp.config.wording import brief, one_of, shown
from bnexp.document.figure import Lines
from bnexp.document.table import NOTHING, Cell, Column, Row, Table, facts, word
from bnexp.document.values import Heading, Listing, Part, Text, TryIt
from bnexp.document.writing import clock_duration, counted, first_few, percent
from bnexp.errors import ConfigError, did_you_mean
from bnexp.files import read_file
from bnexp.runs.columns import read_evaluations
from bnexp.runs.folder import CONFIG, MAX_RECORD_BYTES
from bnexp.runs.run import COMPLETE, ENVIRONMENT, Run

_MOST_COMMANDS, _MOST_NAMED = 40, 4
_LONGEST_VALUE, _LONGEST_FILE = 200, 100_000
"""Letters of a value and of a file that are shown."""


@dataclass(frozen=True)
class Study:
    """What runs were made for.

    Attributes:
        name: the title of the report.
        question: in words; empty where none was written.
        file: the sweep file, as a command takes it; None where there is none.
        text: what stands in it.
    """

    name: str
    question: str = ""
    file: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Report:
    """The report as a document."""

    parts: Sequence[Part] = field(repr=False)

    def __iter__(self) -> Iterator[Part]:
        """Yield every part of the document."""
        return iter(self.parts)


def report_on(runs: Sequence[Run], study: Study, *, baseline: str | None = None) -> Report:
    """Return the report of runs, one at least, those left out that only tuned a sweep.

    Args:
        runs: as `read_run` reads them, in any state.
        study: what they were made for.
        baseline: the arm that the others are described against; by default the first.

    Raises:
        ConfigError: there is no arm called `baseline`.
    """
    kept, _ = without_tuning(runs)
    arms = told_apart(gather_arms(kept))
    first = _arm_named(arms, baseline) if baseline is not None else arms[0]
    return Report(
        (
            Heading(study.name, level=1),
            Text(study.question or "no question was written", lead="Question"),
            Text(_count(arms)),
            *_on_state(arms),
            Heading("What each arm reached"),
            compare_runs(runs, with_curves=False),
            Heading("Figures"),
            *_figures(arms),
            Heading("What differs between the arms"),
            *_differences(arms, first),
            Heading("Runs"),
            _table_of_runs(arms),
            Heading("Environment"),
            _environment(arms),
            _how_to_reproduce(arms, study),
            *([Listing(f"The sweep file, {study.file}", _cut(study.text))] if study.file is not None else []),
        )
    )


def _arm_named(arms: Sequence[Arm], name: str) -> Arm:
    names = [arm.name for arm in arms]
    if name not in names:
        raise ConfigError(
            f"--baseline {name}: no such arm.{did_you_mean(name, names)} Expected {one_of(list(map(shown, names)), 12)}"
        )
    return arms[names.index(name)]


def _count(arms: Sequence[Arm]) -> str:
    runs = [run for arm in arms for run in arm.runs]
    seeds = sorted({len(arm.runs) for arm in arms})
    each = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    moments = sorted(str(run.started.date()) for run in runs if run.started is not None)
    span = f", from {moments[0]} to {moments[-1]}" if moments and moments[0] != moments[-1] else ""
    day = f", of {moments[0]}" if moments and not span else ""
    return f"{counted(len(runs), 'run')} of {counted(len(arms), 'arm')}, {each} an arm{span or day}."


def _on_state(arms: Sequence[Arm]) -> Iterator[Text]:
    """Say which runs have not come to an end, which may change the page, and which diverged, which is a result."""
    runs = [(arm, run) for arm in arms for run in arm.runs]
    if unfinished := [(arm, run) for arm, run in runs if run.status not in COMPLETE]:
        states = Counter(run.status for _, run in unfinished)
        named = ", ".join(f"{number:,} {status}" for status, number in states.items())
        yield Text(
            f"{len(unfinished):,} of {counted(len(runs), 'run')} have not come to their end ({named}) and enter no "
            "mean; a page made later may say something else.",
            lead="Not complete",
        )
    if diverged := [(arm, run) for arm, run in runs if run.status == "diverged"]:
        by_arm = Counter(arm.name for arm, _ in diverged)
        sizes = {arm.name: len(arm.runs) for arm in arms}
        named = first_few([f"{number} of {sizes[name]} in {name}" for name, number in by_arm.items()], 8)
        yield Text(f"{named}. Means are over the runs that finished.", lead="Diverged")


def _figures(arms: Sequence[Arm]) -> Iterator[Part]:
    """Yield the curve of the validation accuracy of each arm, as the mean over its seeds."""
    curves: dict[str, dict[float, float]] = {}
    for arm in arms:
        at: dict[float, list[float]] = defaultdict(list)
        for run in arm.shown:
            for one in read_evaluations(run.metrics_path)[0]:
                if one.epoch is not None and one.accuracy is not None:
                    at[one.epoch].append(one.accuracy)
        if at:
            curves[arm.name] = {epoch: sum(values) / len(values) for epoch, values in sorted(at.items())}
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    if not epochs:
        yield Text("No run has been evaluated yet.")
        return
    nowhere = float("nan")
    series = {name: [100 * curve.get(epoch, nowhere) for epoch in epochs] for name, curve in curves.items()}
    yield Lines("validation", "Validation accuracy in percent, mean over the seeds of an arm", "epoch", epochs, series)


def _differences(arms: Sequence[Arm], baseline: Arm) -> Iterator[Part]:
    """Yield the keys in which each arm differs from the baseline, and the config of that."""
    keys = differing_keys(arms)
    columns = (Column("arm", "arm"), Column("difference", f"differs from {baseline.name} in"))
    own = baseline.config or {}
    rows: list[Row] = []
    for arm in (baseline, *(arm for arm in arms if arm is not baseline)):
        if arm.config is None:
            text = "its config cannot be read"
        elif arm is baseline:
            text = ", ".join(_setting(arm.config, key) for key in keys) or "nothing varies"
            text = f"the baseline: {text}"
        else:
            differing = [key for key in keys if repr(arm.config.get(key)) != repr(own.get(key))]
            text = ", ".join(_setting(arm.config, key) for key in differing) or "nothing in its config"
        rows.append({"arm": word(arm.name), "difference": word(text)})
    yield Table(columns, tuple(rows), layout="arms")
    run = baseline.runs[0]
    if (whole := _config_text(run)) is not None:
        seed = "" if run.seed is None else f", seed {run.seed}"
        yield Listing(f"The whole config of the baseline, {baseline.name}{seed}", _cut(whole))


def _setting(config: dict[str, Any], key: str) -> str:
    if key not in config:
        return f"no {key}"
    value = config[key]
    return f"{key} = {brief(value if isinstance(value, str) else json.dumps(value), _LONGEST_VALUE)}"


def _config_text(run: Run) -> str | None:
    try:
        return read_file(run.folder / CONFIG, MAX_RECORD_BYTES, links=False).decode("utf-8", "replace")
    except OSError:
        return None


def _cut(text: str) -> str:
    more = len(text) - _LONGEST_FILE
    return text if more <= 0 else f"{text[:_LONGEST_FILE]}\n... and {more:,} more letters"


def _table_of_runs(arms: Sequence[Arm]) -> Table:
    """Return a row per run, with the folder where its numbers can be found again."""
    columns = (
        Column("arm", "arm"),
        Column("seed", "seed", "number"),
        Column("status", "status"),
        Column("steps", "steps", "number"),
        Column("val_accuracy", "val % final", "number", descending=True),
        Column("test_accuracy", "test %", "number", descending=True),
        Column("time", "time", "number"),
        Column("folder", "folder"),
    )
    rows = tuple(_row_of_run(arm, run) for arm in arms for run in arm.runs)
    note = "`metrics.jsonl` in a run's folder holds every logged number, `summary.json` the final ones"
    return Table(columns, rows, (note,), layout="arms")


def _row_of_run(arm: Arm, run: Run) -> Row:
    cells = {"arm": word(arm.name), "status": word(_state(run)), "folder": word(str(run.folder))}
    cells["seed"] = Cell() if run.seed is None else Cell(str(run.seed), run.seed)
    if (steps := run.figures.get("steps")) is not None:
        cells["steps"] = Cell(f"{steps:,.0f}", steps)
    for name in ("val_accuracy", "test_accuracy"):
        if (value := run.figures.get(name)) is not None:
            cells[name] = Cell(percent(value), value)
    if (seconds := _seconds(run)) is not None:
        cells["time"] = Cell(clock_duration(seconds), seconds)
    return cells


def _state(run: Run) -> str:
    return f"{run.status} at {run.divergence}" if run.divergence else run.status


def _seconds(run: Run) -> float | None:
    """Return how long a run took over all its sessions; None where that is not known."""
    began = run.continued or run.started
    return None if began is None or run.ended is None else run.earlier_s + (run.ended - began).total_seconds()


def _environment(arms: Sequence[Arm]) -> Table:
    """Return what of the machine and the versions can move a figure, with how many runs had it where they differ."""
    runs = [run for arm in arms for run in arm.runs]
    pairs = []
    for key in ENVIRONMENT:
        values = Counter(run.environment.get(key, "not recorded") for run in runs)
        pairs.append((key, _of_each(values)))
    pairs.append(("data", _of_each(Counter(str(run.data) for run in runs))))
    if seconds := [own for run in runs if (own := _seconds(run)) is not None]:
        pairs.append(("time", f"{clock_duration(sum(seconds))} in all, of {counted(len(seconds), 'run')}"))
    return facts(pairs)


def _of_each(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values)) or NOTHING
    return first_few([f"{value} ({counted(number, 'run')})" for value, number in values.most_common()], 8)


def _how_to_reproduce(arms: Sequence[Arm], study: Study) -> TryIt:
    """Return the commands that train the runs once more, and the one that makes this page of them."""
    again = "again"
    if study.file is not None:
        commands = [f"bnexp sweep {shlex.quote(study.file)} --runs-dir {again}"]
        how = "The sweep file stands below; the configs that it is based on come with it."
    else:
        commands = [_training(arm, again) for arm in arms[:_MOST_COMMANDS] if arm.runs[0].config is not None]
        more = len(arms) - len(commands)
        how = "Each run's folder holds its config." + (f" {counted(more, 'more arm')} in the same way." if more else "")
    versions = [f"{key} {value}" for key in ("bnexp", "torch") for value in _versions(arms, key)]
    commands.append(f"bnexp report {again} -o report.html")
    same = "On a processor of the same kind and with the same versions, a seed gives the same numbers"
    of_which = f": {', '.join(versions)}" if versions else ""
    return TryIt(commands, f"{how} {same}{of_which}.", "How to reproduce it")


def _versions(arms: Sequence[Arm], key: str) -> list[str]:
    return sorted({run.environment[key] for arm in arms for run in arm.runs if key in run.environment})


def _training(arm: Arm, runs_dir: str) -> str:
    seeds = sorted({run.seed for run in arm.runs if run.seed is not None})
    which = f" --seed {','.join(map(str, seeds))}" if seeds else ""
    return f"bnexp train {shlex.quote(str(arm.runs[0].folder / CONFIG))}{which} --runs-dir {runs_dir}"
