"""Puts a document on standard output, in the form that was asked for.

Standard output may be a terminal of an old locale, a pipe whose reader left, or a file on a full disk.
"""

import os
import sys
from typing import TYPE_CHECKING, Literal

from bnexp.document.exports import to_csv, to_json, to_latex, to_markdown, to_plain
from bnexp.document.table import Table
from bnexp.document.values import Document
from bnexp.document.writing import readable
from bnexp.errors import BnexpError
from bnexp.streams import encodable

if TYPE_CHECKING:
    from rich.console import Console

Output = Literal["table", "csv", "json", "markdown", "latex"]


def show(table: Table, output: Output, *others: Table) -> None:
    """Print a table; `table` draws in a terminal, and writes plain text into a pipe. Notes of CSV go to standard error.

    `others` are further tables; CSV is of the first, and JSON has those with a key.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    if output == "table":
        show_document([table, *others], exported=True)
    elif output in ("markdown", "latex"):
        write_out((to_markdown if output == "markdown" else to_latex)([table, *others]))
    else:
        write_out(to_csv(table) if output == "csv" else to_json(table, *others))
    if output == "csv":
        notes = [*table.notes, *(f"CSV has one table; --format json also has {one.key}" for one in others if one.key)]
        sys.stderr.writelines(encodable(f"note: {readable(note)}\n", sys.stderr.encoding) for note in notes)


def show_document(document: Document, *, exported: bool = False) -> None:
    """Print a document: drawn for a terminal, a line per row into a pipe; there, a lesson is a page of 100 columns.

    A narrow terminal leaves columns out; what is said of them names CSV where the command is able to write it.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    if console := terminal():
        from bnexp.document.terminal import WHOLE, print_document

        print_document(console, document, whole=f"{WHOLE}, --format csv every figure" if exported else WHOLE)
    else:
        write_out(to_plain(document))


def terminal() -> "Console | None":
    """Return the terminal that standard output is, or None. A pipe loads no rich, unless a variable makes it one."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    if not (on_terminal or os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE")):
        return None
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else None


def write_out(text: str) -> None:
    """Write text to standard output.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    if sys.stdout is None:  # it was closed before the process began
        return
    try:
        sys.stdout.write(encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        # Python would complain once more when it closes standard output.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            raise BnexpError(f"standard output cannot be written: {error.strerror}") from None
