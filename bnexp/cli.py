"""The command line: flags and help. A command is imported when it is called, so that --help never loads torch."""

# ruff: noqa: E402  Ctrl-C is seen to first

import signal

_AT_CTRL_C = signal.getsignal(signal.SIGINT)
if _AT_CTRL_C is signal.default_int_handler:  # while the rest is loaded, Ctrl-C ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import atexit
import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it reads what every package says of itself

import typer

from bnexp import __version__
from bnexp.cli_look import look
from bnexp.errors import BnexpError, Interrupted
from bnexp.flags import (
    ChangedPlugin,
    Csv,
    DataDir,
    Device,
    FailOnDivergence,
    FormatOption,
    Json,
    Markdown,
    Overrides,
    Plugins,
    Quiet,
    RunFolder,
    RunsDir,
    Strict,
    Verbose,
    chosen_format,
)
from bnexp.option_values import read_names, read_seeds, read_shard, read_stack, read_workers
from bnexp.options import DATA, LEARN, RUN, HonestTyper, PanelGroup, refuse_to_repeat
from bnexp.streams import take_every_text

app = HonestTyper(
    name="bnexp",
    cls=PanelGroup,
    help="Which normalization, where in the network, and why? Train networks from YAML and compare the runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its drawing of --help takes longer to load than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(short_help="See it work: three networks in half a minute.", rich_help_panel=RUN)
def demo() -> None:
    """Train a network without normalization, with bn and with ln, on digits that come with bnexp, and compare them."""
    from bnexp.commands import demo as command

    command.demo()


@app.command(short_help="Write a config to edit.", rich_help_panel=RUN)
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A new name, or a config of bnexp, which is copied.")
    ] = "experiment",
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
) -> None:
    """Write NAME.yaml into this folder: a config to edit, and its schema for an editor."""
    from bnexp.commands import init as command

    command.init(name, force=force)


@app.command(short_help="Train networks, a run per CONFIG and seed.", rich_help_panel=RUN)
def train(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG", help="YAML files, or names such as mnist_mlp_bn, in turn.")
    ],
    overrides: Overrides = [],  # noqa: B006  Typer copies it
    seed: Annotated[
        list[str], typer.Option(metavar="N,N|N-N", help="Seeds in place of the config's, such as 0-4. Repeatable.")
    ] = [],  # noqa: B006  Typer copies it
    device: Device = "auto",
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Replaces the config's name.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the newest unfinished run of each CONFIG, if there is one.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Repeat what is finished already, in a folder of its own.")
    ] = False,
    strict: Strict = False,
    fail_on_divergence: FailOnDivergence = False,
    profile: Annotated[
        int, typer.Option(metavar="N", min=0, help="Profile N steps: a trace for Perfetto, and what costs most.")
    ] = 0,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Train the network of each CONFIG, once per seed, as far as that is not done; each run has a folder of its own."""
    from bnexp.commands import train as command

    command.train(
        configs,
        overrides=overrides,
        seed=read_seeds(seed),
        device=device,
        data_dir=data_dir,
        runs_dir=runs_dir,
        name=name,
        quiet=quiet,
        verbose=verbose,
        resume=resume,
        again=again,
        strict=strict,
        profile=profile,
        fail_on_divergence=fail_on_divergence,
    )


@app.command(short_help="Train arms x seeds, on every core.", rich_help_panel=RUN)
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE|CONFIG", help="A sweep file; or a config, with --axis.")],
    axis: Annotated[
        list[str], typer.Option(metavar="KEY=A,B", help="A key and its values, of which each is an arm. Repeatable.")
    ] = [],  # noqa: B006  Typer copies it
    seeds: Annotated[str | None, typer.Option(metavar="N|N,N|N-N", help="How many, or which. [default: 5]")] = None,
    overrides: Overrides = [],  # noqa: B006  Typer copies it
    name: Annotated[str | None, typer.Option(help="Replaces the sweep's name, that of its file.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the sweep as a sweep file.")] = None,
    workers: Annotated[str, typer.Option(metavar="N|auto", help="Runs side by side.")] = "auto",
    stack: Annotated[
        str, typer.Option(metavar="K|auto|off", help="Train K seeds of an arm as one vectorized network.")
    ] = "off",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is done and what is left, and stop.")] = False,
    ray: Annotated[
        str | None, typer.Option(metavar="auto|HOST:PORT", help="Train on a Ray cluster (docs/cluster.md).")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do only part I of N, such as 1/4; the others run elsewhere.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Resume a run that fails so often.")] = 0,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop all when a run has failed.")] = False,
    fail_on_divergence: FailOnDivergence = False,
    device: Device = "auto",
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="The table, or with --dry-run the plan, as JSON.")] = False,
    quiet: Quiet = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Train every arm of a sweep with every seed, as far as that is not done; the same command continues."""
    from bnexp.commands import sweep as command

    command.sweep(
        file,
        command.SweepOptions(
            runs_dir,
            data_dir,
            device,
            workers=read_workers(workers),
            retries=retries,
            fail_fast=fail_fast,
            fail_on_divergence=fail_on_divergence,
            shard=read_shard(shard),
            quiet=quiet,
            ray=ray,
            stack=read_stack(stack),
        ),
        axes=axis,
        seeds=seeds,
        overrides=overrides,
        name=name,
        save=save,
        dry_run=dry_run,
        as_json=json,
    )


@app.command(short_help="Continue a RUN that stopped.", rich_help_panel=RUN)
def resume(
    run: RunFolder,
    runs_dir: RunsDir = Path("runs"),
    data_dir: Annotated[Path | None, typer.Option(help="Where datasets lie. [default: where they lay]")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda|cuda:N|mps", help="Where to compute. [default: as before]")
    ] = None,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="data.eval_batch_size, checkpoints.*, more epochs or steps."),
    ] = [],  # noqa: B006  Typer copies it
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin anew in the same folder.")] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Take the lock of a process that gives no sign of life.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    plugins: Plugins = [],  # noqa: B006
    changed_plugin: ChangedPlugin = False,
) -> None:
    """Continue RUN from its last whole checkpoint: on the CPU, bit for bit as if it had never stopped."""
    from bnexp.commands import resume as command

    command.resume(
        run,
        overrides=overrides,
        runs_dir=runs_dir,
        data_dir=data_dir,
        device=device,
        from_start=from_start,
        break_lock=break_lock,
        quiet=quiet,
        verbose=verbose,
    )


@app.command(short_help="Show what a CONFIG means, without training.", rich_help_panel=RUN)
def check(
    configs: Annotated[
        list[Path],
        typer.Argument(metavar="CONFIG", help="YAML files or names of configs, also sweeps; or folders."),
    ],
    overrides: Overrides = [],  # noqa: B006  Typer copies it
    data_dir: DataDir = None,
    signal: Annotated[
        bool, typer.Option("--signal", help="Push a real batch through the fresh network, and show each layer.")
    ] = False,
    speed: Annotated[
        bool, typer.Option("--speed", help="Train for a moment in each precision, compiled and not: what is fastest?")
    ] = False,
    device: Device = "auto",
    strict: Strict = False,
    json: Annotated[
        bool, typer.Option("--json", help="An object per file, as JSON, with its warnings or error.")
    ] = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Validate CONFIG and show the network, the batches and the warnings, without training; of several, a line each.

    The exit code is 2 where a file is wrong, and with --strict where one has a warning.
    """
    from bnexp.commands import check as command

    command.check(
        configs,
        overrides=overrides,
        data_dir=data_dir,
        device=device,
        signal=signal,
        speed=speed,
        strict=strict,
        output="json" if json else "table",
    )


app.registered_commands += look.registered_commands  # here: a message names commands in this order


@app.command(short_help="List norms, models, datasets and the rest.", rich_help_panel=LEARN)
def catalog(
    word: Annotated[
        str | None, typer.Argument(metavar="WORD", help="A kind, such as norm, or a word of the lines. [default: all]")
    ] = None,
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """List norms, activations, models, datasets and optimizers, one line each."""
    from bnexp.commands import catalog as command

    command.catalog(chosen_format(format, csv=csv, json=json, markdown=markdown), word=word)


@app.command(short_help="Explain a normalization with numbers.", rich_help_panel=LEARN)
def explain(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="A lesson. [default: lists them]")] = None,
    example: Annotated[str | None, typer.Option(metavar="000|002", help="The matrix of a published example.")] = None,
    input: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Your own matrix: a line per example, features in columns.")
    ] = None,
    gamma: Annotated[str | None, typer.Option(metavar="1.5,1,0.5", help="Scale, a number per feature.")] = None,
    beta: Annotated[str | None, typer.Option(metavar="0.5,0,-0.5", help="Shift, a number per feature.")] = None,
    eps: Annotated[float | None, typer.Option(help="Added to the variance. [default: 1e-5]")] = None,
    momentum: Annotated[float | None, typer.Option(help="Weight of the new batch. [default: 0.1]")] = None,
    groups: Annotated[int | None, typer.Option(help="Groups of channels, in groupnorm.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn. [default: 0]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Every number to stdout, in full precision.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page to share; with --all, a folder of pages.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Write each figure as SVG, described.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every lesson, for --html and --figures.")] = False,
) -> None:
    """Explain a normalization step by step, with numbers computed on the spot."""
    from bnexp.commands import explain as command
    from bnexp.lessons.request import LessonOptions

    options = LessonOptions(example, input, gamma, beta, eps, momentum, groups, seed)
    command.explain(topic, options, json=json, html=html, figures=figures, all=all)


data = HonestTyper(help="List, fetch and verify datasets; list and clear decoded images.", no_args_is_help=True)
app.add_typer(data, name="data", rich_help_panel=DATA)


@data.command("list")
def list_datasets(
    data_dir: DataDir = None,
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """List the datasets, whether they are here, and where."""
    from bnexp.commands import data as command

    command.list_datasets(data_dir=data_dir, output=chosen_format(format, csv=csv, json=json, markdown=markdown))


@data.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Datasets, as in data.dataset.")],
    data_dir: DataDir = None,
) -> None:
    """Download datasets that are missing, and check every byte."""
    from bnexp.commands import data as command

    command.fetch(read_names(names), data_dir=data_dir)


@data.command()
def verify(
    name: Annotated[str, typer.Argument(metavar="NAME|CONFIG", help="A dataset, as in data.dataset, or a YAML file.")],
    path: Annotated[str | None, typer.Option(help="Where an image_folder or npz lies.")] = None,
    overrides: Overrides = [],  # noqa: B006  Typer copies it
    data_dir: DataDir = None,
    strict: Strict = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Read a dataset whole, without downloading, and say what it holds."""
    from bnexp.commands import data as command

    command.verify(name, path=path, overrides=overrides, data_dir=data_dir, strict=strict)


@data.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete them; the next run decodes its images again.")] = False,
) -> None:
    """List the decoded images that are kept in your cache folder."""
    from bnexp.commands import data as command

    command.list_cache(clear=clear)


@app.command(short_help="Print the JSON Schema of a config.", rich_help_panel=LEARN)
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The reference of all keys, as in docs/config.md.")
    ] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Of a sweep file, as in docs/sweep.md.")] = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Print the JSON Schema of a config, or of a sweep file, for editors."""
    from bnexp.commands import schema as command

    command.schema(markdown=markdown, sweep=sweep)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"bnexp {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold what every command shares."""
    refuse_to_repeat(context.invoked_subcommand, os.environ)


def main() -> None:
    """Run the command line; an error that a person can mend is a message, not a traceback."""
    take_every_text()
    atexit.register(gc.freeze)  # what is loaded is no garbage: to look for some in it at the end takes a quarter second
    try:
        app()
    except KeyboardInterrupt:  # before a command could take it
        _leave(Interrupted("interrupted"))
    except SystemExit as end:
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):  # the parser took it, silently
            _leave(Interrupted("interrupted"))
        raise
    except Interrupted as stopped:
        _leave(stopped)
    except BnexpError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


def _leave(stopped: Interrupted) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C held down would break into the end of the process
    _say(str(stopped))
    sys.exit(stopped.exit_code)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(message, file=sys.stderr)


if _AT_CTRL_C is signal.default_int_handler:
    signal.signal(signal.SIGINT, _AT_CTRL_C)
