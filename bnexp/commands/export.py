"""`bnexp export`: runs, or what they logged, as a file for other programs."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal, get_args

from bnexp.analysis.run_rows import CURVES, WHOLE, Curves, run_rows
from bnexp.analysis.selection import where
from bnexp.document.exports import csv_lines, json_lines
from bnexp.document.parquet import arrow, as_typed, parquet_parts, types_of
from bnexp.document.show import page_file, remark, write_out
from bnexp.document.writing import at_most, counted, readable
from bnexp.errors import BnexpError, ConfigError, did_you_mean
from bnexp.files import with_advice, write_atomically
from bnexp.runs.find import find_runs
from bnexp.runs.run import Run, read_run

Form = Literal["csv", "parquet", "json"]
_MOST_NOTES = 8
_LINES = 1000
"""Lines that are written at a time."""
_TYPES = ("category", "category", "int64", "int64", "double", "category", "double")
"""Of `CURVES`, in pyarrow."""


def export(
    paths: Sequence[str],
    *,
    runs_dir: Path = Path("runs"),
    conditions: Sequence[str] = (),
    form: Form | None = None,
    curves: bool = False,
    to: Path | None = None,
) -> None:
    """Write a row per run, or with `curves` a row per run, step and metric, to a file or to standard output.

    The arguments are those of `bnexp export --help`. Curves are read and written a run at a time.

    Raises:
        ConfigError: no such runs, or no such form; or Parquet without pyarrow, or without a file.
        BnexpError: the file cannot be written.
    """
    form = form or _form_of(to)
    if form == "parquet":
        arrow()
        if to is None:
            raise ConfigError("--format parquet: no text for a terminal or a pipe; expected -o FILE.parquet")
    file = None if to is None else page_file(to, "--output")
    runs, notes = where([read_run(folder) for folder in find_runs(paths, runs_dir)], conditions)
    parts = _curves(runs, form, notes) if curves else _runs(runs, form, notes)
    if file is None:
        for part in parts:
            if not write_out(part.decode()):  # nobody reads on
                break
    else:
        try:
            write_atomically(file, parts)
        except OSError as error:
            raise BnexpError(f"{file}: {with_advice(error)}") from None
        print(f"{to}: {counted(len(runs), 'run')}, {form}", file=sys.stderr)
    if form != "json":
        for note in at_most(notes, _MOST_NOTES, "such notes"):
            remark("note", readable(note))


def _form_of(file: Path | None) -> Form:
    """Return the form that the ending of a file says; CSV where there is no file."""
    ending = "csv" if file is None else file.suffix.removeprefix(".").lower()
    for form in get_args(Form):
        if ending == form:
            return form  # type: ignore[no-any-return]
    known = ", ".join(f".{form}" for form in get_args(Form))
    hint = did_you_mean(ending, get_args(Form))
    raise ConfigError(f"--output {file}: expected a name that ends with {known}, or --format.{hint}")


def _runs(runs: Sequence[Run], form: Form, notes: list[str]) -> Iterable[bytes]:
    """Write a row per run; what is wrong with their records is among the notes."""
    names, rows = run_rows(runs)
    notes += [problem for run in runs for problem in run.problems]
    if form == "parquet":
        types = types_of(names, rows) | dict.fromkeys(WHOLE, "int64")
        return parquet_parts(types, [[[as_typed(row.get(name), types[name]) for name in names] for row in rows]])
    return _text(form, names, ([row.get(name) for name in names] for row in rows), notes)


def _curves(runs: Sequence[Run], form: Form, notes: list[str]) -> Iterable[bytes]:
    """Write a row per run, step and metric; the notes grow by what is wrong with the files, as they are read."""
    curves = Curves(runs, notes)
    if form == "parquet":
        return parquet_parts(dict(zip(CURVES, _TYPES, strict=True)), curves.of_each_run())
    return _text(form, CURVES, chain.from_iterable(curves.of_each_run()), notes)


def _text(form: Form, names: Sequence[str], rows: Iterable[Iterable[object]], notes: list[str]) -> Iterator[bytes]:
    lines = csv_lines(names, rows) if form == "csv" else json_lines(names, rows, notes)
    while block := "".join(islice(lines, _LINES)):
        yield block.encode()
