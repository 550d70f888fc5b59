"""Puts a table on standard output, in the form that was asked for."""

import sys

from rich.console import Console

from bnexp.document.output import encodable, write_out
from bnexp.document.render import Output, readable, to_csv, to_json, to_markdown, to_plain
from bnexp.document.table import Table
from bnexp.document.terminal import print_table


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
    write_out(write(table))
    if output == "csv":
        sys.stderr.writelines(encodable(f"note: {readable(note)}\n", sys.stderr.encoding) for note in table.notes)
