"""Puts a document on standard output, in the form that was asked for.

Standard output may be a terminal of an old locale, a pipe whose reader left, or a file on a full disk.
"""

import os
import sys
from typing import Literal

from rich.console import Console

from bnexp.document.exports import to_csv, to_json, to_markdown, to_plain
from bnexp.document.table import Table
from bnexp.document.terminal import print_document, to_text
from bnexp.document.values import Document, Lesson
from bnexp.document.writing import readable
from bnexp.errors import BnexpError

Output = Literal["table", "csv", "json", "markdown"]


def show(table: Table, output: Output, *others: Table) -> None:
    """Print a table. The notes of CSV, which has no place for them, go to standard error.

    Args:
        table: what to print.
        output: `table` draws when standard output is a terminal, and writes plain text otherwise.
        others: further tables for people; CSV and JSON are of the first.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    if output == "table":
        show_document([table, *others])
    elif output == "markdown":
        write_out(to_markdown([table, *others]))
    else:
        write_out(to_csv(table) if output == "csv" else to_json(table))
    if output == "csv":
        sys.stderr.writelines(encodable(f"note: {readable(note)}\n", sys.stderr.encoding) for note in table.notes)


def show_document(document: Document) -> None:
    """Print a document: drawn for a terminal, a line per row into a pipe; there, a lesson is a page of 100 columns.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    console = Console(highlight=False)
    if console.is_terminal:
        print_document(console, document)
    else:
        write_out(to_text(document) if isinstance(document, Lesson) else to_plain(document))


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


def encodable(text: str, encoding: str | None) -> str:
    """Replace what the stream cannot write: an old locale must not end a command with a traceback."""
    if encoding is None or encoding.lower().replace("-", "") == "utf8":
        return text
    return text.replace("±", "+-").encode(encoding, errors="replace").decode(encoding)
