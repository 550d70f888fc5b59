"""`bnexp train`: one run per config, one after the other."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.config.lint import warnings_of
from bnexp.config.loading import load_config
from bnexp.config.plan import make_plan
from bnexp.config.refusals import refuse_degenerate
from bnexp.config.schema import Config
from bnexp.data.sources.facts import dataset_info
from bnexp.data.sources.place import data_folder
from bnexp.errors import BnexpError, ConfigError, Interrupted, visible, visible_lines
from bnexp.runs.resuming import newest_run_of, other_unfinished
from bnexp.runs.run import COMPLETE

if TYPE_CHECKING:
    from bnexp.session.session import RunResult


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
    """Train each config in turn; all are checked before the first starts.

    Args:
        configs: YAML files.
        overrides: `key=value` pairs for all of them.
        seed: replaces the seed of all of them.
        device: auto, cpu, cuda, cuda:N or mps.
        data_dir: where datasets lie (default: BNEXP_DATA, else `data`).
        runs_dir: folder of all runs.
        name: replaces the name, with a single config only.
        quiet: print no progress, only what came out.
        resume: continue the newest unfinished run of each config; train anew only where there is none at all.

    Returns:
        The runs that came to an end, in order.

    Raises:
        ConfigError: a config or an argument is wrong; nothing was written.
        Interrupted: by Ctrl-C or a signal, which ends the others, too.
        BnexpError: a run failed; with several configs, after the others had their turn.
    """
    if name is not None and len(configs) > 1:
        raise ConfigError(
            f"--name {name}: {len(configs)} configs cannot share one name; give --name with a single config"
        )
    loaded = [load_config(path, overrides, name=name, seed=seed) for path in configs]
    for config in loaded:
        _warn(config, data_folder(data_dir), several=len(loaded) > 1)

    results, failures = [], []
    for position, config in enumerate(loaded, start=1):
        try:
            result = _train_one(config, runs_dir, data_dir, device, quiet=quiet, resume=resume)
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}{_not_begun(len(loaded) - position)}", stopped.exit_code) from None
        except BnexpError as error:
            if len(loaded) == 1:
                raise
            failures.append(f"{config.name}: {error}")
            print(f"error: {failures[-1]}", file=sys.stderr)
            continue
        if result is not None:
            results.append(result)
    if failures:
        raise BnexpError(f"{len(failures)} of {len(loaded)} runs failed:\n" + "\n".join(failures))
    return results


def _train_one(
    config: Config, runs_dir: Path, data_dir: Path | None, device: str, *, quiet: bool, resume: bool
) -> "RunResult | None":
    """Train one config and print what came out; None where `resume` finds that it has been done."""
    former = newest_run_of(config, runs_dir) if resume else None
    if former is not None and former.status in COMPLETE:
        print(f"{visible(str(former.folder))}: {former.status} already, nothing is left to do")
        return None
    if resume and former is None and (other := other_unfinished(config, runs_dir)):
        _say_warning(f"{other}; a new run begins")

    # Only what trains pays for loading torch, and only after every config was found good.
    from bnexp.session.begin import run_experiment
    from bnexp.session.display import display_for, say
    from bnexp.session.report import report
    from bnexp.session.resume import resume_experiment
    from bnexp.session.session import show_nothing

    show, argv = show_nothing if quiet else display_for, sys.argv
    if former is not None:
        same_device = None if device == "auto" else device
        result = resume_experiment(
            former.folder, data_dir=data_dir, device=same_device, show=show, argv=argv, warn=_say_warning
        )
    else:
        place = data_folder(data_dir)
        result = run_experiment(config, runs_dir=runs_dir, data_dir=place, device=device, show=show, argv=argv)
    say(report(result))
    return result


def _not_begun(count: int) -> str:
    """Say how the configs after an interrupted one come to their turn."""
    return f"\n{count} more not begun: the same command with --resume goes on with all" if count else ""


def _warn(config: Config, data_dir: Path, *, several: bool) -> None:
    info = dataset_info(config.data, data_dir)
    plan = make_plan(config, info)
    refuse_degenerate(config, info)
    for warning in [*info.notes, *warnings_of(config, plan)]:
        print(f"warning: {config.name + ': ' if several else ''}{visible_lines(warning)}", file=sys.stderr)


def _say_warning(words: str) -> None:
    print(f"warning: {visible(words)}", file=sys.stderr)
