"""Puts a document on standard output, in the form that was asked for, or as a page into a file.

Standard output may be a terminal of an old locale, a pipe whose reader left, or a file on a full disk.
"""

import logging
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bnexp.document.exports import to_csv, to_json, to_latex, to_markdown, to_plain
from bnexp.document.table import Table
from bnexp.document.values import Document, Part
from bnexp.document.writing import readable
from bnexp.errors import BnexpError, ConfigError, visible_lines
from bnexp.files import write_text_atomically
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
        for note in notes:
            remark("note", readable(note))


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


def remark(lead: str, text: str) -> None:
    """Print a note or a warning, as the lead says, to standard error."""
    aside(f"{lead}: {text}")


def aside(text: str) -> None:
    """Print what is no result to standard error; a terminal gets lines that end between words."""
    if sys.stderr is None:  # it was closed before the process began
        return
    lines = visible_lines(text).split("\n")
    try:
        width = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):  # a pipe or a file
        width = 0
    for line in lines:
        wrapped = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) if width else []
        sys.stderr.writelines(encodable(f"{piece}\n", sys.stderr.encoding) for piece in wrapped or [line])


def terminal() -> "Console | None":
    """Return the terminal that standard output is, or None. A pipe loads no rich, unless a variable makes it one."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    if not (on_terminal or os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE")):
        return None
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else None


def write_out(text: str) -> bool:
    """Write text to standard output, and return whether anybody reads on: a reader such as `head` may have left.

    Raises:
        BnexpError: standard output takes nothing, such as on a full disk.
    """
    if sys.stdout is None:  # it was closed before the process began
        return False
    try:
        sys.stdout.write(encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
        return True
    except OSError as error:
        # Python would complain once more when it closes standard output.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            raise BnexpError(f"standard output cannot be written: {error.strerror}") from None
        return False


def page_file(path: Path, option: str) -> Path:
    """Return the file that a page is moved to, behind every link; what is there must be one that it may replace.

    Raises:
        ConfigError: it is no regular file, or there is no folder for it; `option` is how it was asked for.
    """
    try:
        page = path.resolve()
        page.with_name(f".{page.name}.{os.getpid()}.tmp").is_file()  # as long a name as is written aside
        if page.exists() and not page.is_file():
            raise ConfigError(f"{option} {path}: not a regular file, which a page could replace")
        if not page.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {page.parent}")
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
    return page


def write_page(page: Path, document: Document, command: str) -> None:
    """Write the page of a document that `command` made, in one move.

    Raises:
        BnexpError: the file cannot be written.
    """
    _quiet_drawing()
    from bnexp.document.page import to_html

    try:
        write_text_atomically(page, to_html(document, command))
    except OSError as error:
        raise BnexpError(f"{page}: {error.strerror}") from None


def figure_texts(parts: Iterable[Part]) -> Iterator[tuple[str, str]]:
    """Yield the key of each figure of a lesson and its text as an SVG file."""
    _quiet_drawing()
    from bnexp.document.svg_files import figure_files

    return figure_files(parts)


def write_files(folder: Path, files: Iterable[tuple[str, str]], option: str) -> None:
    """Write files by their names into a folder, which is made where there is none; all are ready before the first is.

    Raises:
        ConfigError: there can be no such folder; `option` is how it was asked for.
        BnexpError: a file cannot be written.
    """
    _quiet_drawing()
    ready = list(files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{option} {folder}: {error.strerror}") from None
    for name, text in ready:
        try:
            write_text_atomically(folder / name, text)
        except OSError as error:
            raise BnexpError(f"{folder / name}: {error.strerror}") from None


def _quiet_drawing() -> None:
    """Silence matplotlib, which complains where it cannot keep its fonts in the home."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
