"""Runs as tables of pandas: a row a run, and their logged rows in long form; pandas is loaded by the first of them."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bnexp.analysis.run_rows import FEW, WHOLE, label, read_metrics, run_rows
from bnexp.errors import ConfigError, did_you_mean
from bnexp.runs.columns import Columns, logged_names
from bnexp.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd


def frame_of_runs(runs: Sequence[Run]) -> "pd.DataFrame":
    """Return one row per run, with the columns of `run_rows`; what a run has not is missing."""
    import pandas as pd

    columns, rows = run_rows(runs)
    return pd.DataFrame.from_records(rows, columns=columns).astype(dict.fromkeys(WHOLE, "Int64"))


def frame_of_metrics(runs: Sequence[Run], patterns: Sequence[str] = ()) -> tuple["pd.DataFrame", list[str]]:
    """Return the logged rows of runs in long form, and a sentence for each file that is damaged.

    Args:
        runs: any; one without rows has none in the table.
        patterns: metrics, such as `accuracy/val`, or patterns of them, such as `gradient_norm/*`; none for all.

    Returns:
        One row per run, step and metric that a row of metrics.jsonl has: `run` and `metric` (categories), `step`,
        `epoch` and `value` (nan where it was not finite). 26 bytes a row.

    Raises:
        ConfigError: a pattern that fits no metric of any run.
    """
    exact = list(dict.fromkeys(patterns)) if len(patterns) <= FEW and not any(map(_is_magic, patterns)) else []
    names = {run.folder: exact or logged_names(run.metrics_path) for run in runs}
    wanted = _chosen(sorted({name for own in names.values() for name in own}), patterns)
    parts, problems = _Parts(), []
    for number, run in enumerate(runs):
        own = [name for name in names[run.folder] if name in wanted]
        columns, problem = read_metrics(run, own)
        problems += [problem] if problem else []
        for name in own:
            parts.add(number, wanted[name], columns, name)
    if missing := [name for name in exact if not parts.has(wanted[name])]:
        _chosen(sorted({name for run in runs for name in logged_names(run.metrics_path)}), missing)
    return parts.frame(list(map(label, runs)), list(wanted)), problems


def _is_magic(pattern: str) -> bool:
    return not {"*", "?", "["}.isdisjoint(pattern)


def _chosen(known: Sequence[str], patterns: Sequence[str]) -> dict[str, int]:
    """Return the metrics that patterns fit, numbered in the order of their names."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            hint = did_you_mean(pattern, known) if known else " The runs have logged none."
            raise ConfigError(f"metrics: no run has logged {pattern}.{hint}")
    fits = [name for name in known if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
    return {name: number for number, name in enumerate(fits)}


class _Parts:
    """Columns of a long table, as they are gathered; each is made whole in turn, so that few are there twice."""

    def __init__(self) -> None:
        self._runs, self._steps, self._epochs = list[Any](), list[Any](), list[Any]()
        self._metrics, self._values = list[Any](), list[Any]()

    def add(self, run: int, metric: int, columns: Columns, name: str) -> None:
        """Add the rows in which a run has a metric."""
        import numpy as np

        values = columns.values[name]
        there = ~np.isnan(values) | columns.nulls[name]
        self._values.append(values[there])
        self._steps.append(columns.steps[there])
        self._epochs.append(columns.epochs[there])
        count = len(self._values[-1])
        self._runs.append(np.full(count, run, dtype=np.int32))
        self._metrics.append(np.full(count, metric, dtype=np.int16))

    def has(self, metric: int) -> bool:
        """Tell whether any row of a metric was added."""
        return any(len(codes) and codes[0] == metric for codes in self._metrics)

    def frame(self, runs: list[str], metrics: list[str]) -> "pd.DataFrame":
        """Return the table."""
        import numpy as np
        import pandas as pd

        def whole(parts: list[Any], kind: Any) -> Any:
            array = np.concatenate(parts) if parts else np.empty(0, dtype=kind)
            parts.clear()
            return array

        made: Mapping[str, Any] = {
            "run": pd.Categorical.from_codes(whole(self._runs, np.int32), categories=runs),
            "step": whole(self._steps, np.int64),
            "epoch": whole(self._epochs, np.float64),
            "metric": pd.Categorical.from_codes(whole(self._metrics, np.int16), categories=metrics),
            "value": whole(self._values, np.float64),
        }
        return pd.DataFrame(made, copy=False)
