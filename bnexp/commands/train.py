"""`bnexp train`: one run per config, one after the other."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bnexp.config.degenerate import refuse_degenerate
from bnexp.config.lint import warnings_of
from bnexp.config.loading import load_config
from bnexp.config.plan import Plan, make_plan
from bnexp.config.schema import Config
from bnexp.errors import BnexpError, ConfigError, Interrupted, visible, visible_lines
from bnexp.sources.info import dataset_info
from bnexp.sources.place import data_folder

if TYPE_CHECKING:
    from bnexp.training.display import Display
    from bnexp.training.run import RunResult


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

    Returns:
        The runs that came to an end, in order.

    Raises:
        ConfigError: a config or an argument is wrong; nothing was written.
        BnexpError: a run failed; with several configs, after the others had their turn.
    """
    if name is not None and len(configs) > 1:
        raise ConfigError(
            f"--name {name}: {len(configs)} configs cannot share one name; give --name with a single config"
        )
    loaded = [load_config(path, overrides, name=name, seed=seed) for path in configs]
    for config in loaded:
        _warn(config, data_folder(data_dir), several=len(loaded) > 1)

    # Only what trains pays for loading torch, and only after every config was found good.
    from bnexp.training.run import run_experiment

    results, failures = [], []
    for config in loaded:
        try:
            result = run_experiment(
                config,
                runs_dir=runs_dir,
                data_dir=data_folder(data_dir),
                device=device,
                show=_silent if quiet else _display,
                argv=sys.argv,
            )
        except Interrupted:
            raise
        except BnexpError as error:
            if len(loaded) == 1:
                raise
            failures.append(f"{config.name}: {error}")
            print(f"error: {visible_lines(failures[-1])}", file=sys.stderr)
            continue
        _say(_report(result))
        results.append(result)
    if failures:
        raise BnexpError(f"{len(failures)} of {len(loaded)} runs failed:\n" + "\n".join(failures))
    return results


def _warn(config: Config, data_dir: Path, *, several: bool) -> None:
    info = dataset_info(config.data, data_dir)
    plan = make_plan(config, info)
    refuse_degenerate(config, info)
    for warning in [*info.notes, *warnings_of(config, plan)]:
        print(f"warning: {config.name + ': ' if several else ''}{visible_lines(warning)}", file=sys.stderr)


def _display(name: str, plan: Plan) -> "Display":
    from bnexp.training.display import LineDisplay, LiveDisplay

    console = Console()
    if console.is_terminal:
        return LiveDisplay(name, plan, console)
    return LineDisplay(name, plan, _say)


def _say(text: str) -> None:
    """Print, unless nobody listens any more: a pipe that `head` has closed must not end a training."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  it stays open to the end


def _silent(name: str, plan: Plan) -> "Display":
    from bnexp.training.display import SilentDisplay

    return SilentDisplay()


def _report(result: "RunResult") -> str:
    """Return what came out, in a few aligned lines."""
    from bnexp.training.display import duration, loss_in_words

    summary = result.summary
    took = duration(summary["time"]["total_s"])
    lines = [f"{summary['status']} after {summary['steps']:,} steps ({summary['epochs']:.4g} epochs) in {took}"]
    if divergence := summary["divergence"]:
        place = f"{divergence['quantity']} of {divergence['layer']}"
        lines.append(f"diverged     at step {divergence['step']:,}: the first that is not finite is the {place}")
    if summary["train"]:
        train = summary["train"]
        lines.append(f"training     loss {loss_in_words(train['loss'])}   accuracy {train['accuracy']:.2%}")
    if summary["final"] and summary["best"]:
        final, best = summary["final"], summary["best"]
        lines.append(
            f"validation   final {final['accuracy']:.2%}   best {best['accuracy']:.2%} at epoch {best['epoch']:.4g}"
        )
    if test := summary["test"]:
        lines.append(f"test         final {test['final']['accuracy']:.2%}   of the best {test['best']['accuracy']:.2%}")
    lines.append(f"folder       {visible(str(result.folder))}")
    return "\n  ".join(lines)
