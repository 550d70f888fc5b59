"""Which run of a config can go on."""

from pathlib import Path

from bnexp.analysis.find import runs_below
from bnexp.analysis.runs import COMPLETE, Run, read_run
from bnexp.config.dotted import dotted
from bnexp.config.loading import dump_config
from bnexp.config.schema import Config
from bnexp.config.yaml_text import read_yaml


def newest_run_of(config: Config, runs_dir: Path) -> Run | None:
    """Return the newest unfinished run of a config and its seed; where all are finished, the newest; else None."""
    runs = [run for run in map(read_run, runs_below(runs_dir / config.name)) if _is_of(run, config)]
    unfinished = [run for run in runs if run.status not in COMPLETE]
    return max(unfinished or runs, key=_age, default=None)


def _is_of(run: Run, config: Config) -> bool:
    """Tell whether a run has this config; when checkpoints are written may differ."""
    if run.config is None or run.seed != config.seed:
        return False
    values, _ = read_yaml(dump_config(config), "the config")
    return _what_counts(dict(dotted(values))) == _what_counts(dict(run.config))


def _what_counts(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if key != "seed" and not key.startswith("checkpoints.")}


def _age(run: Run) -> tuple[float, int]:
    return (run.started.timestamp() if run.started else 0.0), run.repeat
