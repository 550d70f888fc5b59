"""How figures are written for people. A spread is written with the decimals of the mean `beside` it."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Literal

from rich.cells import cell_len

from bnexp.config.wording import brief
from bnexp.document.table import Cell, Column, Row, Sample, Table
from bnexp.errors import visible
from bnexp.files import finite_or_null


def percent(fraction: float, beside: float | None = None) -> str:
    """Write a fraction in percent, two decimals, without the sign."""
    return f"{100 * fraction:.2f}"


def loss(value: float, beside: float | None = None) -> str:
    """Write a loss with four decimals, or three digits where these would hide it."""
    size = abs(value if beside is None else beside)
    return f"{value:.4f}" if size == 0 or 0.001 <= size < 1000 else f"{value:.3g}"


def milliseconds(value: float, beside: float | None = None) -> str:
    """Write a time in ms, with two decimals below 100 ms and none from a second on."""
    size = abs(value if beside is None else beside)
    decimals = 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:.{decimals}f}" if size < 1e7 else f"{value:.3g}"


def epochs(value: float, beside: float | None = None) -> str:
    """Write epochs with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.3g}"


Output = Literal["table", "csv", "json", "markdown"]

_MOST_LETTERS = 1000
_MARKDOWN = re.compile(r"([\\|`*\[\]])")
_FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet takes for a formula."""


def readable(text: str) -> str:
    """Return visible text, cut where nobody would read on: a damaged record may hold a word of a million letters."""
    return brief(text, _MOST_LETTERS)


def to_plain(table: Table) -> str:
    """Write one line per row, columns two spaces apart, for pipes and `grep`; notes follow, each after `note: `."""
    columns = table.columns_for("people")
    lines = [[readable(column.header) for column in columns]]
    lines += [[readable(table.cell(row, column).text) for column in columns] for row in table.rows]
    widths = [max(map(cell_len, texts)) for texts in zip(*lines, strict=True)]
    text = "".join(_aligned(line, widths, columns) for line in lines)
    return text + "".join(f"note: {readable(note)}\n" for note in table.notes)


def _aligned(texts: list[str], widths: list[int], columns: list[Column]) -> str:
    padded = []
    for text, width, column in zip(texts, widths, columns, strict=True):
        space = " " * (width - cell_len(text))
        padded.append(space + text if column.kind in ("number", "sample") else text + space)
    return "  ".join(padded).rstrip() + "\n"


def to_csv(table: Table) -> str:
    """Write CSV with full precision: a sample as `_mean`, `_std` and `_n`, units in the names of the columns."""
    columns = table.columns_for("machines")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_csv_text(name) for column in columns for name in _csv_names(column)])
    for row in table.rows:
        writer.writerow([value for column in columns for value in _csv_values(column, table.cell(row, column))])
    return buffer.getvalue()


def _csv_names(column: Column) -> Iterator[str]:
    if column.kind == "sample":
        yield from (f"{column.machine_key}_{statistic}" for statistic in ("mean", "std", "n"))
    else:
        yield column.machine_key


def _csv_values(column: Column, cell: Cell) -> Iterator[str]:
    if column.kind == "sample":
        sample = cell.sample or Sample(float("nan"), None, 0)
        yield repr(sample.mean) if sample.n else ""
        yield "" if sample.std is None else repr(sample.std)
        yield str(sample.n)
    elif isinstance(cell.value, str):
        yield _csv_text(cell.value)
    else:
        yield "" if cell.value is None else json.dumps(cell.value)


def _csv_text(text: str) -> str:
    """Return free text as a spreadsheet takes it for text, too: a name such as `=1+1` comes after an apostrophe.

    A run may come from somebody else, and its name be made to run when the table is opened. Numbers stay.
    """
    return f"'{visible(text)}" if text.startswith(_FORMULA) and not _is_number(text) else visible(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_json(table: Table) -> str:
    """Write strict JSON: `rows` with full precision, a sample as mean, std and n, and `notes`."""
    columns = table.columns_for("machines")
    rows = [
        {column.machine_key: _json_value(column, table.cell(row, column)) for column in columns} for row in table.rows
    ]
    return json.dumps(finite_or_null({"rows": rows, "notes": list(table.notes)}), indent=2, allow_nan=False) + "\n"


def _json_value(column: Column, cell: Cell) -> object:
    if column.kind != "sample":
        return cell.value
    if cell.sample is None:
        return {"mean": None, "std": None, "n": 0}
    return {"mean": cell.sample.mean, "std": cell.sample.std, "n": cell.sample.n}


def to_markdown(table: Table) -> str:
    """Write a Markdown table, then the notes as a list."""
    columns = table.columns_for("people")
    rules = ["---:" if column.kind in ("number", "sample") else "---" for column in columns]
    lines = [[_markdown(column.header) for column in columns], rules]
    lines += [_markdown_row(table, row, columns) for row in table.rows]
    notes = "".join(f"- {_markdown(note)}\n" for note in table.notes)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + (f"\n{notes}" if notes else "")


def _markdown_row(table: Table, row: Row, columns: list[Column]) -> list[str]:
    return [_markdown(table.cell(row, column).text) for column in columns]


def _markdown(text: str) -> str:
    # As entities, since not every reader of Markdown knows a backslash before `<`, and HTML would come through.
    return _MARKDOWN.sub(r"\\\1", readable(text).replace("&", "&amp;").replace("<", "&lt;"))
