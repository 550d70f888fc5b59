"""The command line: flags and help. A command is imported when it is called, so that --help never loads torch."""

# ruff: noqa: E402  Ctrl-C is seen to first

import signal

_AT_CTRL_C = signal.getsignal(signal.SIGINT)
if _AT_CTRL_C is signal.default_int_handler:  # while the rest is loaded, Ctrl-C ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it reads what every package says of itself

import typer

from bnexp import __version__
from bnexp.errors import BnexpError, ConfigError, Interrupted
from bnexp.options import (
    DATA,
    LEARN,
    LOOK,
    RUN,
    HonestTyper,
    PanelGroup,
    read_names,
    read_seeds,
    read_shard,
    read_stack,
    read_workers,
    refuse_to_repeat,
)
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
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name below the runs.")],
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

    command.check_files(
        configs,
        overrides=overrides,
        data_dir=data_dir,
        device=device,
        signal=signal,
        speed=speed,
        strict=strict,
        output="json" if json else "table",
    )


Format: TypeAlias = Literal["table", "csv", "json", "markdown", "latex"]
FormatOption = Annotated[Format | None, typer.Option("--format", help="How to write the table. [default: table]")]
Csv = Annotated[bool, typer.Option("--csv", help="Short for --format csv: to stdout, in full precision.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json: to stdout, in full precision.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Short for --format markdown.")]


def _format(chosen: Format | None, *, csv: bool, json: bool, markdown: bool) -> Format:
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


@app.command(short_help="Compare runs in a table, over their seeds.", rich_help_panel=LOOK)
def compare(
    paths: Annotated[list[str], typer.Argument(metavar="RUN|FOLDER|GLOB", help="Runs. [default: all]")] = [],  # noqa: B006
    runs_dir: RunsDir = Path("runs"),
    target: Annotated[
        float | None, typer.Option(metavar="ACCURACY", help="Add the epochs to this validation accuracy, such as 0.95.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Order the rows. [default: validation accuracy]")
    ] = None,
    columns: Annotated[
        list[str],
        typer.Option(
            metavar="METRIC:POINT,...",
            help="Any logged metrics instead, such as accuracy/val:best,loss/train:last: mean and interval.",
        ),
    ] = [],  # noqa: B006
    baseline: Annotated[
        str | None, typer.Option(metavar="ARM", help="Differences to this arm, paired by seed, with interval and p.")
    ] = None,
    where: Where = [],  # noqa: B006
    group_by: Annotated[
        list[str], typer.Option(metavar="KEY", help="Pool the arms that have equal values of this key. Repeatable.")
    ] = [],  # noqa: B006
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Compare runs: the keys that differ and what each arm reached, as mean and deviation over its seeds."""
    from bnexp.commands import compare as command

    command.compare(
        paths,
        runs_dir=runs_dir,
        target=target,
        sort=sort,
        conditions=where,
        group_by=read_names(group_by),
        columns=", ".join(columns),
        baseline=baseline,
        output=_format(format, csv=csv, json=json, markdown=markdown),
    )


@app.command(short_help="Judge the claims of a STUDY by its runs.", rich_help_panel=LOOK)
def verdict(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A sweep file with claims, or the folder of its runs.")],
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="The verdicts as JSON, in full precision.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown.")] = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Say of each claim whether it is supported, refuted or undecided, with effect, interval and p, paired by seed."""
    from bnexp.commands import verdict as command

    output = _format(None, csv=False, json=json, markdown=markdown)
    command.verdict(study, runs_dir=runs_dir, data_dir=data_dir, output=output)


@app.command(short_help="Draw a figure of runs for a paper.", rich_help_panel=LOOK)
def plot(
    paths: Annotated[list[str], typer.Argument(metavar="RUN|FOLDER|GLOB", help="Runs. [default: all]")] = [],  # noqa: B006
    kind: Annotated[
        Literal["curves", "axis", "heatmap", "percentiles", "landscape", "paired"],
        typer.Option("--kind", help="What is drawn (docs/plots.md)."),
    ] = "curves",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.png|svg|pdf", help="Where to. [default: KIND.png]"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Any logged metric; of axis and paired with its point. [default: accuracy/val]"),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option("--x", metavar="KEY", help="Of axis: a key that differs; of curves: step or epoch."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="ARM", help="Of paired: whose runs are subtracted. [default: the first]")
    ] = None,
    where: Where = [],  # noqa: B006
    size: Annotated[Literal["column", "page", "slide"], typer.Option(help="3.3, 6.9 or 10 inches wide.")] = "page",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Draw runs: a line an arm, its seeds as a band, diverged runs marked; the caption goes to stdout.

    curves: a metric over the training. axis: what arms came to over a swept key. paired: differences to a baseline,
    seed by seed. heatmap: gradient norms by layer and step. percentiles: those of an activation. landscape: loss and
    gradient along the gradient. The last three need probes, and say which.
    """
    from bnexp.commands import plot as command

    command.plot(
        paths,
        kind=kind,
        output=output,
        metric=metric,
        x=x,
        baseline=baseline,
        conditions=where,
        size=size,
        runs_dir=runs_dir,
    )


@app.command(short_help="Write runs as a file for other programs.", rich_help_panel=LOOK)
def export(
    paths: Annotated[list[str], typer.Argument(metavar="RUN|FOLDER|GLOB", help="Runs. [default: all]")] = [],  # noqa: B006
    form: Annotated[
        Literal["csv", "parquet", "json"] | None,
        typer.Option("--format", help="Of the file. [default: by the name of FILE, else csv]"),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="What was logged: a row per run, step and metric, instead of one per run.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to. [default: standard output]")
    ] = None,
    where: Where = [],  # noqa: B006
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write a row per run: its config, seed, status and every figure of its end; or its curves.

    Columns have the names of `bnexp compare --format csv` and of pandas (docs/export.md); accuracies are fractions.
    """
    from bnexp.commands import export as command

    command.export(paths, runs_dir=runs_dir, conditions=where, form=form, curves=curves, to=to)


@app.command(short_help="Write runs as a page to share.", rich_help_panel=LOOK)
def report(
    path: Annotated[
        str | None, typer.Argument(metavar="FOLDER|STUDY", help="Runs, or their sweep file. [default: all]")
    ] = None,
    to: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html", help="The page.")] = Path("report.html"),
    baseline: Annotated[
        str | None, typer.Option(metavar="ARM", help="What the others are held against. [default: the first arm]")
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """Write one page, which needs no other file and no network: what was asked, what came out, and how to redo it."""
    from bnexp.commands import report as command

    command.report(path, to=to, runs_dir=runs_dir, baseline=baseline, data_dir=data_dir, plugins=plugins)


@app.command(short_help="Measure the stored weights of a RUN.", rich_help_panel=LOOK)
def probe(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name below the runs.")],
    probes: Annotated[
        list[str],
        typer.Option(
            "--probe",
            metavar="NAME",
            help="A probe, repeatable; or classes: the test set class by class. [default: the expensive ones]",
        ),
    ] = [],  # noqa: B006  Typer copies it
    weights: Annotated[
        str, typer.Option(metavar="WHICH", help="final, best, ema (averaged), or stepN: those of a checkpoint.")
    ] = "final",
    overrides: Overrides = [],  # noqa: B006
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
    plugins: Plugins = [],  # noqa: B006
    changed_plugin: ChangedPlugin = False,
) -> None:
    """Look inside a finished RUN: the probes that cost too much while it trains, on its stored weights."""
    from bnexp.commands import probe as command

    command.probe(
        run,
        probes=read_names(probes),
        weights=weights,
        overrides=overrides,
        runs_dir=runs_dir,
        data_dir=data_dir,
        device=device,
        output=_format(format, csv=csv, json=json, markdown=markdown),
    )


@app.command(short_help="Fold the bn of a RUN into its layers.", rich_help_panel=LOOK)
def fold(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name below the runs.")],
    weights: Annotated[
        str, typer.Option(metavar="WHICH", help="final, best, or stepN: those of a checkpoint.")
    ] = "final",
    runs_dir: RunsDir = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
    plugins: Plugins = [],  # noqa: B006
    changed_plugin: ChangedPlugin = False,
) -> None:
    """Fold the bn of RUN into the layers before it: the same function at inference, without a norm."""
    from bnexp.commands import fold as command

    output = _format(format, csv=csv, json=json, markdown=markdown)
    command.fold(run, weights=weights, runs_dir=runs_dir, data_dir=data_dir, device=device, output=output)


@app.command(short_help="List runs and how far each has come.", rich_help_panel=LOOK)
def ls(
    folder: RunsAbove = Path("runs"),
    status: Annotated[
        list[str], typer.Option(metavar="STATUS", help="Only such runs, as failed,interrupted. Repeatable.")
    ] = [],  # noqa: B006
    where: Where = [],  # noqa: B006
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """List runs and their state, the newest first, also of a run in progress."""
    from bnexp.processes import uncollected

    output = _format(format, csv=csv, json=json, markdown=markdown)
    with uncollected():
        from bnexp.commands import ls as command

        command.ls(folder, statuses=read_names(status), conditions=where, output=output)


@app.command(short_help="Open TensorBoard on the runs.", rich_help_panel=LOOK)
def board(
    folder: RunsAbove = Path("runs"),
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond this machine, others can read the runs.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port. [default: the first free one from 6006]")] = None,
    open: Annotated[bool, typer.Option("--open", help="Open the page in your browser, too.")] = False,
) -> None:
    """Open TensorBoard on FOLDER, reachable from this machine only unless --host says otherwise.

    Curves have every point, up to 100,000 each; where that would take more than 2 GiB, a sample, and it says so.
    """
    from bnexp.commands import board as command

    command.board(folder, host=host, port=port, open=open)


@app.command(short_help="List norms, models, datasets and the rest.", rich_help_panel=LEARN)
def catalog(
    format: FormatOption = None,
    csv: Csv = False,
    json: Json = False,
    markdown: Markdown = False,
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """List norms, activations, models, datasets and optimizers, one line each."""
    from bnexp.commands import catalog as command

    command.catalog(_format(format, csv=csv, json=json, markdown=markdown))


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

    command.list_datasets(data_dir=data_dir, output=_format(format, csv=csv, json=json, markdown=markdown))


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
    try:
        app()
    except KeyboardInterrupt:  # before a command could take it
        sys.exit(128 + signal.SIGINT)
    except Interrupted as stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C held down would break into the end of the process
        _say(str(stopped))
        sys.exit(stopped.exit_code)
    except BnexpError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(message, file=sys.stderr)


if _AT_CTRL_C is signal.default_int_handler:
    signal.signal(signal.SIGINT, _AT_CTRL_C)
