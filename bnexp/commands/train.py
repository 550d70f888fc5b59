"""`bnexp train`: one run per config, one after the other."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.blueprint import Blueprint, draw
from bnexp.config.loading import load_config
from bnexp.data.sources.place import data_folder
from bnexp.errors import ConfigError, visible, visible_lines
from bnexp.session.executor import Complete, run_all
from bnexp.session.terms import Terms, on_the_command_line

if TYPE_CHECKING:
    from bnexp.session.life import RunResult


def train(
    configs: Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    name: str | None = None,
    quiet: bool = False,
    resume: bool = False,
) -> list["RunResult"]:
    """Train each config in turn, and return the runs that came to an end; all are checked before the first starts.

    The arguments are those of `bnexp train --help`.

    Raises:
        ConfigError: a config or an argument is wrong; nothing was written.
        Interrupted: by Ctrl-C or a signal, which ends the others, too.
        BnexpError: a run failed; with several configs, after the others had their turn.
    """
    if name is not None and len(configs) > 1:
        found = f"{len(configs)} configs cannot share one name"
        raise ConfigError(f"--name {name}: {found}; give --name with a single config")
    loaded = [load_config(path, overrides, name=name, seed=seed) for path in configs]
    blueprints, told = [], [tuple[str, ...]()]
    for config in loaded:
        blueprints.append(draw(config, data_folder(data_dir)))
        of_which = f"{config.name}: " if len(loaded) > 1 else ""
        if not quiet and (facts := _of_data(blueprints[-1])) not in told:
            print(*(f"data: {of_which}{visible_lines(line)}" for line in facts), sep="\n", file=sys.stderr)
            told.append(facts)
        for warning in blueprints[-1].warnings:
            print(f"warning: {of_which}{visible_lines(warning)}", file=sys.stderr)

    same_device = None if device == "auto" else device
    terms = on_the_command_line(Terms(runs_dir, data_dir, same_device, resume=resume), quiet=quiet)
    results = []
    for result in run_all([(blueprint, terms) for blueprint in blueprints], _print_failure):
        if isinstance(result, Complete):
            print(f"{visible(str(result.folder))}: {result.status} already, nothing is left to do")
            continue
        from bnexp.session.display import say
        from bnexp.session.report import report  # by now, torch is loaded

        say(report(result))
        results.append(result)
    return results


def _of_data(blueprint: Blueprint) -> tuple[str, ...]:
    """Return what a set of one's own is told to hold: of what was found, what is used, left out and changed."""
    info = blueprint.info
    return (*(info.account.lines() if info.account else ()), *info.notes)


def _print_failure(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
