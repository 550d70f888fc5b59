"""Runs as plain rows, for files and pandas: a row per run, or a row per run, step and metric that it logged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bnexp.analysis.arms import arm_of_each, column_key
from bnexp.runs.columns import Columns, logged_names, read_columns
from bnexp.runs.run import ENVIRONMENT, Run
from bnexp.runs.seal import changed_rows

FIRST = (
    *("run", "name", "arm", "seed", "repeat", "status", "role", "diverged_step", "diverged_layer", "parameters"),
    *("started", "took_s", "data_fingerprint"),
)
WHOLE = ("seed", "diverged_step", "parameters")
"""The columns of whole numbers that a run may lack."""
CURVES = ("run", "arm", "seed", "step", "epoch", "metric", "value")
FEW = 8
"""Metrics up to which it is faster to search a file for each than to parse its rows."""
_AT_ONCE = 64
"""Metrics of one run that are in memory at the same time."""


def label(run: Run) -> str:
    """Return the name of a run in every table: its folder."""
    return run.folder.as_posix()


def run_rows(runs: Sequence[Run]) -> tuple[list[str], list[dict[str, object]]]:
    """Return the names of the columns, and a row per run: `FIRST`, its config, its figures, its environment.

    Keys of the config are dotted, such as `model.norm`; those without a section, but for name and seed, come after
    `config.`. Lists are tuples. Accuracies are fractions; a row lacks what its run has not.
    """
    arms, configs = arm_of_each(runs), list(map(_config, runs))
    rows = [
        {**_first(run, arms[run.folder]), **config, **run.figures, **run.environment}
        for run, config in zip(runs, configs, strict=True)
    ]
    keys = dict.fromkeys(key for config in configs for key in config)
    figures = dict.fromkeys(name for run in runs for name in run.figures)
    return [*FIRST, *keys, *figures, *ENVIRONMENT], rows


def _first(run: Run, arm: str) -> dict[str, object]:
    divergence = (run.divergence.step, run.divergence.layer) if run.divergence else (None, None)
    who = (label(run), run.name, arm, run.seed, run.repeat, run.status, run.role, *divergence, run.parameters)
    started = run.started.isoformat() if run.started else None
    return dict(zip(FIRST, (*who, started, run.took_s, run.data.fingerprint), strict=True))


def _config(run: Run) -> dict[str, object]:
    values = {key: _hashable(value) for key, value in (run.config or {}).items() if key not in ("name", "seed")}
    return {column_key(key): value for key, value in values.items()}


def _hashable(value: object) -> object:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


@dataclass
class Curves:
    """What runs logged, in long form; `problems` has a sentence for each damaged file that was read until now."""

    runs: Sequence[Run]
    problems: list[str] = field(default_factory=list)

    def of_each_run(self) -> Iterator[list[tuple[object, ...]]]:
        """Yield the rows of some metrics of one run, by `CURVES`, at a time; a value that was not finite is None."""
        arms = arm_of_each(self.runs)
        for run in self.runs:
            who, names = (label(run), arms[run.folder], run.seed), logged_names(run.metrics_path)
            for first in range(0, max(len(names), 1), _AT_ONCE):
                columns, problem = read_metrics(run, own := names[first : first + _AT_ONCE])
                self.problems += [problem] if problem and problem not in self.problems else []
                yield [
                    (*who, step, epoch, name, value) for name in own for step, epoch, value in _points(columns, name)
                ]


def _points(columns: Columns, name: str) -> Iterator[tuple[int, float | None, float | None]]:
    """Yield step, epoch and value of each row that has a metric, in their order."""
    steps, epochs, values, nulls = columns.steps, columns.epochs, columns.values[name], columns.nulls[name]
    there = (values == values) | nulls  # nan is not equal to itself
    for step, epoch, value in zip(steps[there].tolist(), epochs[there].tolist(), values[there].tolist(), strict=True):
        yield step, None if epoch != epoch else epoch, None if value != value else value


def read_metrics(run: Run, names: Sequence[str]) -> tuple[Columns, str | None]:
    """Return some metrics of a run, and what is wrong with its file; a run that has not begun has none."""
    seal = run.rows_seal if len(names) <= FEW else {}
    (columns,) = read_columns([run.folder], names, {run.folder: seal})
    if not run.metrics_path.exists() and run.status == "running":
        return columns, None
    return columns, columns.problem or (changed_rows(run.metrics_path, run.rows_seal) if not seal else None)
