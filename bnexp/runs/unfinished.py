"""Which run of a config can go on."""

from collections.abc import Iterator
from pathlib import Path

from bnexp.config.loading import load_config
from bnexp.config.schema import Config
from bnexp.errors import ConfigError
from bnexp.runs.find import runs_below
from bnexp.runs.folder import CONFIG
from bnexp.runs.identity import first_difference
from bnexp.runs.run import COMPLETE, Run, read_run


def newest_run_of(config: Config, runs_dir: Path) -> Run | None:
    """Return the newest unfinished run of a config and its seed; where all are finished, the newest; else None."""
    runs = [run for run, its in _runs_of_seed(config, runs_dir) if first_difference(its, config) is None]
    unfinished = [run for run in runs if run.status not in COMPLETE]
    return max(unfinished or runs, key=lambda run: run.recency, default=None)


def other_unfinished(config: Config, runs_dir: Path) -> str | None:
    """Say of the newest unfinished run of this name and seed what its config has other than this one, if it has."""
    runs = [(run, its) for run, its in _runs_of_seed(config, runs_dir) if run.status not in COMPLETE]
    for run, its in sorted(runs, key=lambda pair: pair[0].recency, reverse=True):
        if (difference := first_difference(its, config)) is not None:
            key, theirs, ours = difference
            return f"{run.folder} did not finish, but has another config: {key} is {theirs}, here {ours}"
    return None


def _runs_of_seed(config: Config, runs_dir: Path) -> Iterator[tuple[Run, Config]]:
    """Yield the runs of a config's name and seed, each with its own config, where that can be read."""
    for folder in runs_below(runs_dir / config.name):
        run = read_run(folder)
        if run.seed == config.seed:
            try:
                yield run, load_config(folder / CONFIG)
            except ConfigError:
                continue
