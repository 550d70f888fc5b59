"""Writes documents for pipes, pages, papers and programs: plain text, Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import chain

from rich.cells import cell_len

from bnexp.document.table import Cell, Column, Table
from bnexp.document.values import CODE, Document, Heading, Lesson, Part, Play, Text, TryIt
from bnexp.document.writing import GAP, aligned, readable
from bnexp.errors import visible, visible_lines
from bnexp.files import finite_or_null

_MARKDOWN = re.compile(r"([\\|`*\[\]])")
_FORMULA = ("=", "+", "-", "@")
"""First letters of a cell that a spreadsheet takes for a formula."""


def to_plain(document: Document) -> str:
    """Write a document for pipes and `grep`: a line per row and per paragraph, however long; no title.

    A heading is an empty line between what stands above and below it. Columns are two spaces apart. The notes of a
    table follow it, each after `note: `. A lesson is a page of 100 columns, as a terminal draws it.
    """
    if isinstance(document, Lesson):
        return _drawn(document)
    text = ""
    for part in document:
        if isinstance(part, Heading):
            text += "\n" if text else ""
        elif isinstance(part, Table):
            text += _plain_table(part)
        elif isinstance(part, Text):
            text += visible_lines(part.whole) + "\n"
        else:
            text += _drawn([part])
    return text


def _drawn(document: Document) -> str:
    from bnexp.document.terminal import to_text

    return to_text(document)


def _plain_table(table: Table) -> str:
    columns = table.columns_for("people")
    lines = [[readable(column.header) for column in columns]] if table.headed else []
    lines += [[readable(table.cell(row, column).text) for column in columns] for row in table.rows]
    widths = [max([column.least, *(cell_len(line[index]) for line in lines)]) for index, column in enumerate(columns)]
    indent = " " * GAP if table.title else ""
    title = f"{readable(table.title)}\n" if table.title else ""
    rows = "".join(
        (indent + (" " * GAP).join(map(aligned, line, widths, (column.numeric for column in columns)))).rstrip() + "\n"
        for line in lines
    )
    return title + rows + "".join(f"note: {readable(note)}\n" for note in table.notes)


def to_csv(table: Table) -> str:
    """Write CSV with full precision: a sample as `_mean`, `_std` and `_n`."""
    columns = table.columns_for("machines")
    names = [name for column in columns for name in _csv_names(column)]
    rows = ([value for column in columns for value in _values(column, table.cell(row, column))] for row in table.rows)
    return "".join(csv_lines(names, rows))


def csv_lines(names: Sequence[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Write CSV in full precision, a line at a time; what has no value, or no finite one, is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in chain([names], rows):
        writer.writerow(map(_csv_value, row))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def json_lines(names: Sequence[str], rows: Iterable[Iterable[object]], notes: Sequence[str] = ()) -> Iterator[str]:
    """Write the JSON of `to_json` with a row a line, a line at a time; `notes` may grow until the rows end."""
    before = '{"rows": ['
    for row in rows:
        yield f"{before}\n  {json.dumps(finite_or_null(dict(zip(names, row, strict=True))), allow_nan=False)}"
        before = ","
    yield f'{before if before != "," else ""}\n], "notes": {json.dumps(list(notes), indent=2)}}}\n'


def to_records(table: Table) -> list[dict[str, object]]:
    """Return a table as one mapping per row, with the names of the columns in CSV and values in full precision."""
    columns = table.columns_for("machines")
    return [
        {
            name: value
            for column in columns
            for name, value in zip(_csv_names(column), _values(column, table.cell(row, column)), strict=True)
        }
        for row in table.rows
    ]


def _values(column: Column, cell: Cell) -> list[object]:
    return list(_statistics(column, cell).values()) if column.kind == "sample" else [cell.value]


def _csv_names(column: Column) -> list[str]:
    key = column.key
    return [f"{key}_{statistic}" for statistic in column.statistics] if column.kind == "sample" else [key]


def _csv_value(value: object) -> str:
    if isinstance(value, str):
        return _csv_text(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return "" if value is None else json.dumps(value)


def _statistics(column: Column, cell: Cell) -> dict[str, object]:
    known = {"n": 0, **(asdict(cell.sample) if cell.sample else {}), **cell.more}
    return {name: known.get(name) for name in column.statistics}


@lru_cache(maxsize=10_000)  # names come again in every row of curves
def _csv_text(text: str) -> str:
    """Return free text as a spreadsheet takes it for text, too: a name such as `=1+1` comes after an apostrophe.

    A run may come from somebody else, and its name be made to run when the table is opened. Numbers stay.
    """
    try:
        float(text)
    except ValueError:
        return f"'{visible(text)}" if text.startswith(_FORMULA) else visible(text)
    return visible(text)


def to_json(document: Table | Lesson, *others: Table) -> str:
    """Write strict JSON in full precision.

    A table gives its `rows`, a sample among them as mean, std and n, and its `notes`; further tables their rows by
    their keys, and their notes among the others. A lesson gives its `topic`, `title`, `numbers` by key, and the
    `commands` that test it; where it has read a file, how, in `read`.
    """
    if isinstance(document, Table):
        keyed = [other for other in others if other.key]
        notes = [note for table in (document, *keyed) for note in table.notes]
        rows = {"rows": _json_rows(document), **{other.key: _json_rows(other) for other in keyed}}
        return to_strict_json({**rows, "notes": notes})
    commands = document.experiment.commands
    about = {"topic": document.topic, "title": document.title, "numbers": document.numbers, "commands": commands}
    return to_strict_json({**about, "read": list(document.read)} if document.read else about)


def _json_rows(table: Table) -> list[dict[str, object]]:
    rows = []
    for row in table.rows:
        cells = [(column, table.cell(row, column)) for column in table.columns_for("machines")]
        rows.append({c.key: _statistics(c, cell) if c.kind == "sample" else cell.value for c, cell in cells})
    return rows


def to_strict_json(value: object) -> str:
    """Write a value as indented JSON; a number that is not finite becomes null."""
    return json.dumps(finite_or_null(value), indent=2, allow_nan=False) + "\n"


def to_markdown(document: Document) -> str:
    """Write Markdown, an empty line between the parts; figures and commands are drawn as in a terminal."""
    return "\n".join(_markdown_part(part) for part in document)


def _markdown_part(part: Part) -> str:
    if isinstance(part, Heading):
        return f"{'#' * part.level} {_inline(part.text)}\n"
    if isinstance(part, Text):
        return f"{_inline(part.whole)}\n"
    if isinstance(part, Play):
        return f"{_inline(part.line)}\n"
    if isinstance(part, Table):
        return _markdown_table(part)
    if isinstance(part, TryIt):
        return f"```\n{chr(10).join(part.commands)}\n```\n\n{_inline(part.look_for)}\n"
    return f"```\n{_drawn([part])}```\n"


def _markdown_table(table: Table) -> str:
    columns = table.columns_for("people")
    rules = ["---:" if column.numeric else "---" for column in columns]
    lines = [[_markdown(column.header) for column in columns], rules]
    lines += [[_markdown(table.cell(row, column).text) for column in columns] for row in table.rows]
    title = f"**{_markdown(table.title)}**\n\n" if table.title else ""
    notes = "".join(f"- {_markdown(note)}\n" for note in table.notes)
    return title + "".join(f"| {' | '.join(line)} |\n" for line in lines) + (f"\n{notes}" if notes else "")


def _inline(text: str) -> str:
    """Return a paragraph for Markdown, what stands between backticks as code."""
    pieces = CODE.split(readable(text))
    return "".join(f"`{piece}`" if number % 2 else _markdown(piece) for number, piece in enumerate(pieces))


def _markdown(text: str) -> str:
    # As entities, since not every reader of Markdown knows a backslash before `<`, and HTML would come through.
    return _MARKDOWN.sub(r"\\\1", readable(text).replace("&", "&amp;").replace("<", "&lt;"))


def to_latex(document: Document) -> str:
    """Write each table of a document as a tabular of the package booktabs; its notes are comments behind it."""
    return "\n".join(_latex_table(part) for part in document if isinstance(part, Table))


def _latex_table(table: Table) -> str:
    columns = [column for column in table.columns_for("people") if column.kind != "curve"]
    rows = [[_latex(table.cell(row, column).text) for column in columns] for row in table.rows]
    rows = [["{}" * row[0].startswith(("[", "*")) + row[0], *row[1:]] for row in rows]  # no option of the line before
    header = " & ".join(_latex(column.header) for column in columns)
    body = "".join(f"{' & '.join(row)} \\\\\n" for row in rows)
    sides = "".join("r" if column.numeric else "l" for column in columns)
    comments = [f"{table.title}; needs \\usepackage{{booktabs}}".lstrip("; "), *table.notes]
    above, *below = [f"% {readable(comment)}\n" for comment in comments]
    rules = f"\\toprule\n{header} \\\\\n\\midrule\n{body}\\bottomrule\n"
    return f"{above}\\begin{{tabular}}{{{sides}}}\n{rules}\\end{{tabular}}\n{''.join(below)}"


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "->": r"$\to$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "×": r"$\times$",
}
_LATEX_LETTERS = re.compile("|".join(re.escape(letters) for letters in sorted(_LATEX, key=len, reverse=True)))


def _latex(text: str) -> str:
    return _LATEX_LETTERS.sub(lambda letters: _LATEX[letters[0]], readable(text))
