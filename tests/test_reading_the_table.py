"""docs/reading_the_table.md explains every column of the tables, by the name that people and programs see."""

import re
from collections.abc import Iterator
from pathlib import Path

from bnexp.analysis import arm_rows, differences, listing, rates, verdict
from bnexp.document.table import Column
from bnexp.runs.run import ENVIRONMENT

GUIDE = (Path(__file__).parent.parent / "docs" / "reading_the_table.md").read_text()
ROWS = [set(re.findall(r"`([^`]+)`", line)) for line in GUIDE.splitlines() if line.startswith("| ")]


def columns_in(value: object) -> Iterator[Column]:
    """Return the columns within what a module holds."""
    if isinstance(value, Column):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from columns_in(part)


def columns_of_modules() -> Iterator[tuple[str, str]]:
    """Return header and key of every column, those that people do not see without a header."""
    for module in (arm_rows, listing, rates, verdict):
        for column in (column for value in vars(module).values() for column in columns_in(value)):
            yield ("" if column.audience == "machines" else column.header), column.key
    yield f"epochs {(goal := 'to 80 % val')}", arm_rows.TARGET_KEY
    yield f"seconds {goal}", arm_rows.SECONDS_KEY
    yield from (("", name) for name in ENVIRONMENT)


def test_every_column_is_explained_by_both_its_names() -> None:
    wanted = set(columns_of_modules())
    assert len(wanted) > 50
    unread = {"curve", "interval", "works"}  # keys of what programs get otherwise, or not at all
    assert [
        (header, key)
        for header, key in sorted(wanted)
        if not any((not header or header in row) and (key in row or key in unread) for row in ROWS)
    ] == []


def test_every_column_of_the_differences_is_explained() -> None:
    made = re.findall(r'Column\("(\w+)", "([^"]+)"', Path(differences.__file__ or "").read_text())
    assert len(made) == 6
    assert [header for _, header in made if not any(header in row for row in ROWS)] == []
