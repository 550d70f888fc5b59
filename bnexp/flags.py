"""Options and arguments that several commands have, and what is done as they are read."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from bnexp.errors import ConfigError

Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as data.batch_size=32. Repeatable."),
]
DataDir = Annotated[Path | None, typer.Option(help="Where datasets lie. [default: BNEXP_DATA, else data]")]


def _runs_folder(context: typer.Context, parameter: typer.CallbackParam, folder: Path) -> Path:
    """Return the folder that was named; where none was, what the variable says."""
    from bnexp.runs.find import runs_folder

    source = context.get_parameter_source(parameter.name or "")
    return folder if source is not None and source.name == "COMMANDLINE" else runs_folder()


_RUNS: dict[str, Any] = {"callback": _runs_folder, "show_default": False}
RunsDir = Annotated[Path, typer.Option(help="Folder of all runs. [default: BNEXP_RUNS, else runs]", **_RUNS)]
RunsAbove = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Runs, or any folder above them. [default: BNEXP_RUNS, else runs]", **_RUNS),
]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name below the runs.")]
RunPaths = Annotated[list[str], typer.Argument(metavar="RUN|FOLDER|GLOB", help="Runs. [default: all]")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only what came out.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="All that log.txt of a run gets, as it comes.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop with exit code 2 where there is a warning.")]
FailOnDivergence = Annotated[
    bool, typer.Option("--fail-on-divergence", help="End with exit code 1 where a run diverged.")
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N|mps", help="Where to compute.")]


def _load_plugins(context: typer.Context, files: list[Path]) -> list[Path]:
    """Run the files that are given, before a config is read that says their names."""
    if files and not context.resilient_parsing:
        from bnexp.config.plugins import load

        for file in files:
            load(file)
    return files


Plugins = Annotated[
    list[Path],
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        callback=_load_plugins,
        help="Run a Python file that registers a norm or an activation of your own. Repeatable.",
    ),
]


def _accept_changed(context: typer.Context, wanted: bool) -> bool:
    """Let the commands of this process take another version of a run's own norms."""
    if wanted and not context.resilient_parsing:
        from bnexp.runs.plugins import accepting_other_code

        context.with_resource(accepting_other_code(accept=True))
    return wanted


ChangedPlugin = Annotated[
    bool,
    typer.Option(
        "--changed-plugin", callback=_accept_changed, help="Take a --plugin that is not the version RUN began with."
    ),
]


Format: TypeAlias = Literal["table", "csv", "json", "markdown", "latex"]
FormatOption = Annotated[Format | None, typer.Option("--format", help="How to write the table. [default: table]")]
Csv = Annotated[bool, typer.Option("--csv", help="Short for --format csv: to stdout, in full precision.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json: to stdout, in full precision.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Short for --format markdown.")]


def chosen_format(chosen: Format | None, *, csv: bool, json: bool, markdown: bool) -> Format:
    """Return the one form that the options ask for."""
    short: dict[Format, bool] = {"csv": csv, "json": json, "markdown": markdown}
    options: dict[Format, str] = {name: f"--{name}" for name, wanted in short.items() if wanted}
    if chosen is not None:
        options.setdefault(chosen, f"--format {chosen}")
    if len(options) > 1:
        raise ConfigError(f"{' and '.join(options.values())}: choose one of them")
    return next(iter(options), "table")


Where = Annotated[
    list[str],
    typer.Option(metavar="KEY=VALUE", help="Only runs of this config, such as model.norm=bn,ln. Repeatable."),
]
