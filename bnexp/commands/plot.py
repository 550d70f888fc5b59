"""`bnexp plot`: a figure of runs, for a paper, a page or a slide."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from bnexp.analysis.selection import where
from bnexp.document.plots import Form, Plot, SizeName
from bnexp.document.show import remark
from bnexp.document.writing import at_most, readable
from bnexp.errors import BnexpError, ConfigError, did_you_mean
from bnexp.files import with_advice, write_atomically
from bnexp.runs.find import find_runs
from bnexp.runs.run import Run, read_run
from bnexp.streams import encodable

Kind = Literal["curves", "axis", "heatmap", "percentiles", "landscape", "paired"]
FORMS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
"""Forms of a file, by its suffix, and how a file of each begins."""
KINDS: dict[Kind, tuple[str, ...]] = {
    "curves": ("metric", "x"),
    "axis": ("metric", "x"),
    "heatmap": ("metric",),
    "percentiles": ("metric",),
    "landscape": (),
    "paired": ("metric", "baseline"),
}
"""The options that each kind takes."""
_MOST_NOTES = 8


def plot(
    paths: list[str],
    *,
    kind: Kind,
    output: Path | None = None,
    metric: str | None = None,
    x: str | None = None,
    baseline: str | None = None,
    conditions: Sequence[str] = (),
    size: SizeName = "page",
    runs_dir: Path = Path("runs"),
) -> None:
    """Draw a figure of runs into a file, and print its caption; what it leaves out is said on stderr.

    The arguments are those of `bnexp plot --help`.

    Raises:
        ConfigError: an option that this kind does not take, no form of this name, or nothing to draw.
        BnexpError: the file cannot be written.
    """
    output = output or Path(f"{kind}.png")
    form = form_of(output)
    _refuse_unused(kind, metric=metric, x=x, baseline=baseline)
    for path in paths:
        if path in KINDS and not any((place / path).exists() for place in (Path(), runs_dir)):
            raise ConfigError(f"{path}: no such folder; what is drawn is an option: --kind {path}")
    runs, left_out = where([read_run(folder) for folder in find_runs(paths, runs_dir)], conditions)
    figure = make_plot(kind, runs, metric=metric, x=x, baseline=baseline)
    write_plot(figure, form, output, size)
    for note in [*left_out, *figure_notes(figure, runs)]:
        remark("note", readable(note))
    sys.stdout.write(encodable(f"{output}: {readable(figure.caption)}\n", sys.stdout.encoding))


def write_plot(figure: Plot, form: Form, output: Path, size: SizeName) -> None:
    """Write a plot into a file.

    Raises:
        ConfigError: no such size.
        BnexpError: it cannot be written.
    """
    from bnexp.document.drawing import SIZES, to_bytes  # matplotlib takes half a second to load

    if size not in SIZES:
        raise ConfigError(f"--size {size}: no such size.{did_you_mean(size, SIZES)} Sizes: {', '.join(SIZES)}")
    try:
        write_atomically(output, [to_bytes(figure, form, size)])
    except OSError as error:
        raise BnexpError(f"{output}: cannot be written: {with_advice(error)}") from None


def figure_notes(figure: Plot, runs: Sequence[Run]) -> list[str]:
    """Return what a plot leaves out, what it cannot write, and what is wrong with the records of its runs."""
    from bnexp.document.drawing import letters_without_a_glyph

    boxes = letters_without_a_glyph(figure)
    on_letters = [f"no glyph for {boxes}: png and pdf show boxes, svg the font of the reader"] if boxes else []
    problems = [problem for run in runs for problem in run.problems]
    return at_most([*figure.notes, *on_letters, *dict.fromkeys(problems)], _MOST_NOTES, "notes")


def _refuse_unused(kind: Kind, **options: str | None) -> None:
    for name, value in options.items():
        if value is not None and name not in KINDS[kind]:
            takers = ", ".join(f"--kind {other}" for other, options in KINDS.items() if name in options)
            raise ConfigError(f"--{name} {value}: --kind {kind} takes none; it goes with {takers}")


def make_plot(
    kind: Kind, runs: list[Run], *, metric: str | None = None, x: str | None = None, baseline: str | None = None
) -> Plot:
    """Return the plot of one kind of some runs.

    Raises:
        ConfigError: an option that this kind does not take, or nothing to draw.
    """
    if kind not in KINDS:
        raise ConfigError(f"--kind {kind}: no such kind.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}")
    _refuse_unused(kind, metric=metric, x=x, baseline=baseline)
    from bnexp.analysis import axis_figure, figures, probe_figures

    if kind == "curves":
        if x not in (None, "step", "epoch"):
            raise ConfigError(f"--x {x}: curves are over step or epoch; --kind axis is over a key of the config")
        return figures.curves(runs, metric or "accuracy/val", "epoch" if x == "epoch" else "step")
    made: dict[str, Callable[[], Plot]] = {
        "axis": lambda: axis_figure.axis(runs, metric or "accuracy/val", x),
        "paired": lambda: figures.paired(runs, metric or "accuracy/val", baseline),
        "heatmap": lambda: probe_figures.heat_map(runs, metric or "gradient_norm"),
        "percentiles": lambda: probe_figures.percentiles(runs, metric),
        "landscape": lambda: probe_figures.landscape(runs),
    }
    return made[kind]()


def form_of(output: Path) -> Form:
    """Return the form of a file by its suffix.

    Raises:
        ConfigError: no form of this name, or another kind of file lies there.
    """
    form = output.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise ConfigError(f"-o {output}: expected a name that ends with .png, .svg or .pdf")
    if output.is_dir() or not output.absolute().parent.is_dir():
        what = "a folder" if output.is_dir() else f"there is no folder {output.absolute().parent}"
        raise ConfigError(f"-o {output}: {what}; expected the name of a file")
    if output.is_file():
        with output.open("rb") as file:
            start = file.read(16)
        if start and not start.lstrip().startswith((FORMS[form], b"<svg")):
            raise ConfigError(f"-o {output}: a file lies there that is no {form}; choose another name, or remove it")
    return form  # type: ignore[return-value]
