"""Which run of a config can go on."""

from pathlib import Path

from bnexp.analysis.find import runs_below
from bnexp.analysis.runs import COMPLETE, Run, read_run
from bnexp.config.difference import first_difference
from bnexp.config.loading import load_config
from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.store.run_folder import CONFIG


def newest_run_of(config: Config, runs_dir: Path) -> Run | None:
    """Return the newest unfinished run of a config and its seed; where all are finished, the newest; else None."""
    runs = [run for run in map(read_run, runs_below(runs_dir / config.name)) if _is_of(run, config)]
    unfinished = [run for run in runs if run.status not in COMPLETE]
    return max(unfinished or runs, key=lambda run: run.recency, default=None)


def _is_of(run: Run, config: Config) -> bool:
    """Tell whether a run has this config."""
    if run.seed != config.seed:
        return False
    try:
        return first_difference(load_config(run.folder / CONFIG), config) is None
    except ConfigError:
        return False
