"""The commands that look at runs, in the panel Look of `bnexp --help`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bnexp.flags import (
    ChangedPlugin,
    Csv,
    DataDir,
    Device,
    FormatOption,
    Json,
    Markdown,
    Overrides,
    Plugins,
    RunFolder,
    RunPaths,
    RunsAbove,
    RunsDir,
    Where,
    chosen_format,
)
from bnexp.option_values import read_names
from bnexp.options import LOOK, HonestTyper

look = HonestTyper()


@look.command(short_help="Compare runs in a table, over their seeds.", rich_help_panel=LOOK)
def compare(
    paths: RunPaths = [],  # noqa: B006
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
        output=chosen_format(format, csv=csv, json=json, markdown=markdown),
    )


@look.command(short_help="Judge the claims of a STUDY by its runs.", rich_help_panel=LOOK)
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

    output = chosen_format(None, csv=False, json=json, markdown=markdown)
    command.verdict(study, runs_dir=runs_dir, data_dir=data_dir, output=output)


@look.command(short_help="Draw a figure of runs for a paper.", rich_help_panel=LOOK)
def plot(
    paths: RunPaths = [],  # noqa: B006
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


@look.command(short_help="Write runs as a file for other programs.", rich_help_panel=LOOK)
def export(
    paths: RunPaths = [],  # noqa: B006
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


@look.command(short_help="Write runs as a page to share.", rich_help_panel=LOOK)
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


@look.command(short_help="Measure the stored weights of a RUN.", rich_help_panel=LOOK)
def probe(
    run: RunFolder,
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
        output=chosen_format(format, csv=csv, json=json, markdown=markdown),
    )


@look.command(short_help="Fold the bn of a RUN into its layers.", rich_help_panel=LOOK)
def fold(
    run: RunFolder,
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

    output = chosen_format(format, csv=csv, json=json, markdown=markdown)
    command.fold(run, weights=weights, runs_dir=runs_dir, data_dir=data_dir, device=device, output=output)


@look.command(short_help="List runs and how far each has come.", rich_help_panel=LOOK)
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
    from bnexp.commands import ls as command

    output = chosen_format(format, csv=csv, json=json, markdown=markdown)
    command.ls(folder, statuses=read_names(status), conditions=where, output=output)


@look.command(short_help="Open TensorBoard on the runs.", rich_help_panel=LOOK)
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
