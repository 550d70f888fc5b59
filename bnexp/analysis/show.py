"""Puts a table on standard output, in the form that was asked for."""

import os
import sys

from rich.console import Console

from bnexp.analysis.render import Output, readable, to_csv, to_json, to_markdown, to_plain
from bnexp.analysis.table import Table
from bnexp.analysis.terminal import print_table
from bnexp.errors import BnexpError


def show(table: Table, output: Output, *, transposable: bool = True) -> None:
    """Print a table. The notes of CSV, which has no place for them, go to standard error.

    Args:
        table: what to print.
        output: `table` draws when standard output is a terminal, and writes plain text otherwise.
        transposable: see `terminal.print_table`.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    console = Console(highlight=False)
    if output == "table" and console.is_terminal:
        print_table(console, table, transposable=transposable)
        return
    write = {"table": to_plain, "csv": to_csv, "json": to_json, "markdown": to_markdown}[output]
    _write(write(table))
    if output == "csv":
        sys.stderr.writelines(_encodable(f"note: {readable(note)}\n", sys.stderr.encoding) for note in table.notes)


def _write(text: str) -> None:
    if sys.stdout is None:  # it was closed before the process began
        return
    try:
        sys.stdout.write(_encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        # Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            raise BnexpError(f"standard output cannot be written: {error.strerror}") from None


def _encodable(text: str, encoding: str | None) -> str:
    """Replace what the stream cannot write: an old locale must not end a comparison with a traceback."""
    if encoding is None or encoding.lower().replace("-", "") == "utf8":
        return text
    return text.replace("±", "+-").encode(encoding, errors="replace").decode(encoding)
