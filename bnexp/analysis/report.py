"""Make the report of some runs: question, verdicts, table, figures, configs, environment and how to reproduce it."""

import contextlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bnexp.analysis import axis_figure, figures, probe_figures
from bnexp.analysis.arms import Arm, differing_keys, gather_arms, no_such_baseline, told_apart, written
from bnexp.analysis.claims import Claim
from bnexp.analysis.compare import compare_runs
from bnexp.analysis.selection import without_tuning
from bnexp.analysis.studied import capital
from bnexp.analysis.verdict import ClaimVerdict, verdict_table
from bnexp.config.naming import run_name_of
from bnexp.document.plots import Plot
from bnexp.document.table import NOTHING, Cell, Column, Row, Table, facts, word
from bnexp.document.values import Heading, Listing, Part, Text, TryIt
from bnexp.document.writing import clock_duration, counted, first_few, percent, span
from bnexp.errors import ConfigError
from bnexp.files import read_file
from bnexp.runs.folder import CONFIG, MAX_RECORD_BYTES
from bnexp.runs.run import COMPLETE, ENVIRONMENT, Run

_MOST_COMMANDS, _MOST_PAIRED = 40, 3
_LONGEST_FILE = 100_000
"""Letters of a file that are shown."""
_SWEPT = ("optimizer.lr", "data.batch_size")
"""Keys that are drawn as an axis where arms differ in them."""
_SAID = {
    "supported": "the runs support it",
    "refuted": "the runs speak against it",
    "undecided": "the runs do not decide it",
}
_UNITS = {"fraction": " percentage points", "epochs": " epochs", "ms": " ms"}


@dataclass(frozen=True)
class Study:
    """What runs were made for, and what they say about that.

    Attributes:
        name: the title of the report.
        question: in words; empty where none was written.
        file: the sweep file, as a command takes it; None where there is none.
        text: what stands in it; `base` is the config that it changes, whole.
        verdicts: on its claims; `on_claims` are notes on all of these, such as that they were changed.
        unjudged: why there is no verdict.
        tuned: keys that have a column where no arm differs in them, too.
        notes: sentences about the runs as a whole.
    """

    name: str
    question: str = ""
    file: str | None = None
    text: str = ""
    base: str = ""
    verdicts: Sequence[ClaimVerdict] = ()
    on_claims: Sequence[str] = ()
    unjudged: str = "no claims were written down for these runs: this page shows what came out, and judges nothing"
    tuned: Sequence[str] = ()
    notes: Sequence[str] = ()


def report_on(runs: Sequence[Run], study: Study, *, baseline: str | None = None) -> list[Part]:
    """Return the report of runs, one at least, those left out that only tuned a sweep.

    Args:
        runs: as `read_run` reads them, in any state.
        study: what they were made for.
        baseline: the arm that the others are held against; by default that of the claims, else the first.

    Raises:
        ConfigError: there is no arm called `baseline`.
    """
    kept, _ = without_tuning(runs)
    arms = told_apart(gather_arms(kept))
    base = _baseline(arms, study, baseline)
    return [
        Heading(study.name, level=1),
        Text(study.question or "none was written down", lead="Question"),
        Text(_count(arms)),
        *_on_state(arms),
        Heading("Verdicts"),
        *_verdicts(study),
        Heading("What each arm reached"),
        *_tables(runs, arms, base, study),
        Heading("Figures"),
        *_figures(kept, arms, base, study),
        Heading("What differs between the arms"),
        *_differences(arms, base),
        Heading("Runs"),
        _table_of_runs(arms),
        Heading("Environment"),
        _environment(arms),
        _how_to_reproduce(arms, study),
        *_listings(study),
    ]


def _baseline(arms: Sequence[Arm], study: Study, name: str | None) -> Arm:
    names = {arm.name: arm for arm in arms}
    if name is not None and name not in names:
        raise no_such_baseline(name, list(names))
    claimed = (verdict.claim.arms[-1] for verdict in study.verdicts if verdict.claim.kind == "pair")
    return names.get(name or next(claimed, ""), arms[0])


def _verdicts(study: Study) -> Iterator[Part]:
    """Yield each claim with what the runs say about it in words, then the numbers of all."""
    if not study.verdicts:
        yield Text(study.unjudged, lead="No verdict")
        return
    for note in study.on_claims:
        yield Text(f"{capital(note)}.", lead="Not said beforehand")
    yield from map(_verdict, study.verdicts)
    table = verdict_table(study.verdicts)
    note = "an effect is in the unit of its metric, such as 0.02 for two percentage points of accuracy"
    orders = (
        " (of an order, that of its weakest step)" if any(one.claim.kind == "order" for one in study.verdicts) else ""
    )
    method = (
        f"the difference paired by seed with its 95 % interval{orders}; p of the exact sign-flip test, Holm over all"
    )
    yield replace(table, notes=(note, method), layout="arms")


def _verdict(verdict: ClaimVerdict) -> Text:
    claim, judged = verdict.claim, verdict.judgement
    unit = _UNITS.get(claim.point.unit, "")
    said = f"“{claim.sentence}”: {_SAID[judged.verdict]}."
    if judged.effect is not None:
        low, high = judged.low, judged.high
        name = "interval" if claim.kind == "order" else "95 % interval"  # the reason names the confidence of an order
        interval = "" if low is None or high is None else f" ({name} {_effect(claim, low)} to {_effect(claim, high)})"
        seeds = counted(judged.n, "seed")
        said += f" {_what(claim)}: {_effect(claim, judged.effect)}{unit}{interval} over {seeds}"
        said += f"; at least {claim.point.text(claim.at_least)} was claimed."
    more = f" About {counted(judged.more_seeds, 'more seed')} an arm would decide." if judged.more_seeds else ""
    return Text(f"{said} {capital(verdict.reason)}.{more}", lead=capital(judged.verdict))


def _what(claim: Claim) -> str:
    if claim.kind == "trend":
        return f"Change of `{claim.point}` from {claim.arms[0]} to {claim.arms[-1]}, as claimed"
    arms = f"{claim.arms[0]} over {claim.arms[1]}" if claim.kind == "pair" else "each arm over the next, at the weakest"
    return f"In favour of {arms}, by `{claim.point}`"


def _effect(claim: Claim, value: float) -> str:
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{claim.point.text(abs(value))}"


def _tables(runs: Sequence[Run], arms: Sequence[Arm], base: Arm, study: Study) -> list[Table]:
    """Return the tables of `compare`, with the differences to the baseline where there is one to differ from."""
    tables = None
    if len(arms) > 1:
        with contextlib.suppress(ConfigError):  # no arm shares a seed with it, or none was scored on the test set
            tables = compare_runs(runs, keys=study.tuned, notes=study.notes, baseline=base.name)
    tables = tables or compare_runs(runs, keys=study.tuned, notes=study.notes)
    return [replace(table, title=capital(table.title)) for table in tables]


def _count(arms: Sequence[Arm]) -> str:
    runs = [run for arm in arms for run in arm.runs]
    each = span(len(arm.runs) for arm in arms)
    moments = sorted(str(run.started.date()) for run in runs if run.started is not None)
    days = f", from {moments[0]} to {moments[-1]}" if moments and moments[0] != moments[-1] else ""
    day = f", of {moments[0]}" if moments and not days else ""
    return f"{counted(len(runs), 'run')} of {counted(len(arms), 'arm')}, {each} an arm{days or day}."


def _on_state(arms: Sequence[Arm]) -> Iterator[Text]:
    """Say which runs have not come to an end, which may change the page, and which diverged, which is a result."""
    runs = [(arm, run) for arm in arms for run in arm.runs]
    if states := Counter(run.status for _, run in runs if run.status not in COMPLETE):
        named = ", ".join(f"{number:,} {status}" for status, number in states.items())
        text = f"{named}, of {counted(len(runs), 'run')}: no mean has them, and a later page may say something else."
        yield Text(text, lead="Not complete")
    if diverged := [(arm, run) for arm, run in runs if run.status == "diverged"]:
        by_arm = Counter(arm.name for arm, _ in diverged)
        sizes = {arm.name: len(arm.runs) for arm in arms}
        named = first_few([f"{number} of {sizes[name]} in {name}" for name, number in by_arm.items()], 8)
        yield Text(f"{named}. Means are over the runs that finished.", lead="Diverged")


def _figures(runs: Sequence[Run], arms: Sequence[Arm], baseline: Arm, study: Study) -> Iterator[Part]:
    """Yield every figure that the runs logged something for."""
    points = dict.fromkeys(str(one.claim.point) for one in study.verdicts) or {"accuracy/val": None}
    keys = [key for key in _SWEPT if key in differing_keys(arms)]
    makers: list[Callable[[], Plot]] = [
        partial(figures.curves, runs, "accuracy/val", "epoch"),
        partial(figures.curves, runs, "loss/train", "epoch"),
        *(partial(axis_figure.axis, runs, "accuracy/val", key) for key in keys),
        *(partial(figures.paired, runs, point, baseline.name) for point in list(points)[:_MOST_PAIRED]),
        partial(probe_figures.heat_map, runs, "gradient_norm"),
        partial(probe_figures.percentiles, runs, None),
        partial(probe_figures.landscape, runs),
    ]
    drawn = 0
    for make in makers:
        try:
            figure = make()
        except ConfigError:  # nothing was logged for it, or nothing is there to be paired
            continue
        drawn += 1
        yield replace(figure, title=capital(figure.title))
    if not drawn:
        yield Text("the runs have logged nothing yet that is drawn")


def _differences(arms: Sequence[Arm], baseline: Arm) -> Iterator[Part]:
    """Yield the keys in which each arm differs from the baseline, and the config of that."""
    keys = differing_keys(arms)
    columns = (Column("arm", "arm"), Column("config", f"differs from {baseline.name} in"))
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
        rows.append({"arm": word(arm.name), "config": word(text)})
    yield Table(columns, tuple(rows), layout="arms")
    run = baseline.runs[0]
    if (whole := _config_text(run)) is not None:
        seed = "" if run.seed is None else f", seed {run.seed}"
        yield Listing(f"The whole config of the baseline, {baseline.name}{seed}", _cut(whole))


def _setting(config: dict[str, Any], key: str) -> str:
    if key not in config:
        return f"no {key}"
    return f"{key} = {written(config[key])}"


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
    if (seconds := run.took_s) is not None:
        cells["time"] = Cell(clock_duration(seconds), seconds)
    return cells


def _state(run: Run) -> str:
    return f"{run.status} at {run.divergence}" if run.divergence else run.status


def _environment(arms: Sequence[Arm]) -> Table:
    """Return what of the machine and the versions can move a figure, with how many runs had it where they differ."""
    runs = [run for arm in arms for run in arm.runs]
    pairs = []
    for key in ENVIRONMENT:
        values = Counter(run.environment.get(key, "not recorded") for run in runs)
        pairs.append((key, _of_each(values)))
    pairs.append(("data", _of_each(Counter(str(run.data) for run in runs))))
    if seconds := [own for run in runs if (own := run.took_s) is not None]:
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
        name = "" if run_name_of(Path(study.file).stem) == study.name else f" --name {shlex.quote(study.name)}"
        code = _plugins(arms)
        commands = [f"bnexp sweep {shlex.quote(study.file)}{name} --runs-dir {again}{code}"]
        commands.append(f"bnexp report {shlex.quote(f'{again}/{study.name}')} -o report.html{code}")
        how = "The sweep file and the config that it changes stand below."
    else:
        commands = [_training(arm, again) for arm in arms[:_MOST_COMMANDS] if arm.runs[0].config is not None]
        more = len(arms) - len(commands)
        commands.append(f"bnexp report --runs-dir {again} -o report.html")
        how = "Each run's folder holds its config." + (f" {counted(more, 'more arm')} in the same way." if more else "")
    versions = [f"{key} {value}" for key in ("bnexp", "torch") for value in _versions(arms, key)]
    same = "On a processor of the same kind and with the same versions, a seed gives the same numbers"
    of_which = f": {', '.join(versions)}" if versions else ""
    return TryIt(commands, f"{how} {same}{of_which}.", "How to reproduce it")


def _listings(study: Study) -> Iterator[Listing]:
    if study.file is not None:
        yield Listing(f"The sweep file, {study.file}", _cut(study.text))
    if study.base:
        yield Listing("The config that it changes, with all that it is based on", _cut(study.base))


def _versions(arms: Sequence[Arm], key: str) -> list[str]:
    return sorted({run.environment[key] for arm in arms for run in arm.runs if key in run.environment})


def _training(arm: Arm, runs_dir: str) -> str:
    seeds = sorted({run.seed for run in arm.runs if run.seed is not None})
    which = f" --seed {','.join(map(str, seeds))}" if seeds else ""
    return f"bnexp train {shlex.quote(str(arm.runs[0].folder / CONFIG))}{which} --runs-dir {runs_dir}{_plugins([arm])}"


def _plugins(arms: Sequence[Arm]) -> str:
    """Return the options that name the files of the norms of some arms that bnexp does not have."""
    code = [one for arm in arms for run in arm.runs for one in run.code.values()]
    names = sorted({Path(one.path).name for one in code if one.distribution is None})
    return "".join(f" --plugin {shlex.quote(name)}" for name in names)
